import { GENERIC } from './preset.ts'
import type { Preset } from './preset.ts'

/** Auth0. */
export const auth0: Preset = {
  ...GENERIC,
  name: 'auth0',
  sendsAudience: true
}
