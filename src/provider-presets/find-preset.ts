import { auth0 } from './auth0.ts'
import { authentik } from './authentik.ts'
import { entra } from './entra.ts'
import { google } from './google.ts'
import { keycloak } from './keycloak.ts'
import { okta } from './okta.ts'
import { GENERIC } from './preset.ts'
import type { Preset, PresetName } from './preset.ts'

const PRESETS: Record<PresetName, Preset> = { google, entra, okta, auth0, keycloak, authentik, generic: GENERIC }

/** Issuers by which a provider is recognised. */
const ISSUERS: Array<[pattern: RegExp, name: PresetName]> = [
  [/^https:\/\/accounts\.google\.com\/?$/, 'google'],
  [/^https:\/\/(login\.microsoftonline\.(com|us)|login\.partner\.microsoftonline\.cn|sts\.windows\.net)\//, 'entra'],
  [/^https:\/\/[^/]+\.(okta|oktapreview|okta-emea)\.com(\/|$)/, 'okta'],
  [/^https:\/\/[^/]+\.auth0\.com(\/|$)/, 'auth0'],
  [/^https?:\/\/[^/]+(\/[^/]+)*\/realms\/[^/]+\/?$/, 'keycloak'],
  [/^https?:\/\/[^/]+(\/[^/]+)*\/application\/o\/[^/]+\/?$/, 'authentik']
]

/**
 * Returns a preset by name, or the one for the issuer.
 *
 * @param name OIDC_PROVIDER
 */
export function findPreset (name: PresetName | undefined, issuer: string): Preset {
  return PRESETS[name ?? ISSUERS.find(([pattern]) => pattern.test(issuer))?.[1] ?? 'generic']
}
