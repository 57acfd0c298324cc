import { GENERIC } from './preset.ts'
import type { Preset } from './preset.ts'

/** Keycloak. */
export const keycloak: Preset = {
  ...GENERIC,
  name: 'keycloak',
  groupPaths: true
}
