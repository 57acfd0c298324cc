/**
 * Providers that differ from the standards (OIDC_PROVIDER). A preset changes Seed's requests to the provider and how it
 * reads the responses; `generic` follows the standards.
 */
export const PRESET_NAMES = ['google', 'entra', 'okta', 'auth0', 'keycloak', 'authentik', 'generic'] as const
export type PresetName = typeof PRESET_NAMES[number]

export interface Preset {
  name: PresetName
  /** Added to each authorization request. */
  authorizationParameters: Readonly<Record<string, string>>
  /** OIDC_AUDIENCE is sent as `audience` with each authorization, token and refresh request. */
  sendsAudience: boolean
  /** Scopes that are never sent, since the provider refuses or misreads them. */
  unknownScopes: readonly string[]
  /** Scopes that are sent besides OIDC_SCOPES if the discovery document lists them. */
  extraScopes: readonly string[]
  /** All of OIDC_SCOPES are requested in proxy mode, whatever the client requests, and again at each refresh. */
  alwaysAllScopes: boolean
  /** Other spellings in which the provider names scopes. */
  scopeAliases: Readonly<Record<string, string>>
  /** The default of OIDC_GROUPS_CLAIM. */
  groupsClaim: string
  /** Groups are paths: `/engineering` means engineering. */
  groupPaths: boolean
  /** `email` comes from the operator's own directory, although `email_verified` is false. */
  trustsEmail: boolean
  /** The userinfo endpoint accepts the access token of a sign-in, and is about this provider's user. */
  usesUserinfo: boolean
  /** The reason why OAUTH_MODE=proxy cannot work, for the error at start. */
  brokerOnly: string | undefined
  /** Claims that tell its access tokens from its ID tokens, where all of them are present. */
  accessTokenClaims: readonly string[]
  /** The way to get a token for another API: RFC 8693, or Microsoft's older form. */
  delegation: 'token-exchange' | 'on-behalf-of'
  /** The provider requires a client secret (or key) in spite of PKCE. */
  needsCredential: boolean
}

const GENERIC: Preset = {
  name: 'generic',
  authorizationParameters: {},
  sendsAudience: false,
  unknownScopes: [],
  extraScopes: [],
  alwaysAllScopes: false,
  scopeAliases: {},
  groupsClaim: 'groups',
  groupPaths: false,
  trustsEmail: false,
  usesUserinfo: true,
  brokerOnly: undefined,
  accessTokenClaims: [],
  delegation: 'token-exchange',
  needsCredential: false
}

const PRESETS: Record<PresetName, Preset> = {
  generic: GENERIC,
  google: {
    ...GENERIC,
    name: 'google',
    // Google issues a refresh token only for these two, and refuses the standard's scope.
    authorizationParameters: { access_type: 'offline', prompt: 'consent' },
    unknownScopes: ['offline_access'],
    scopeAliases: {
      'https://www.googleapis.com/auth/userinfo.email': 'email',
      'https://www.googleapis.com/auth/userinfo.profile': 'profile'
    },
    brokerOnly: 'its access tokens are opaque, and redirect URIs are fixed',
    needsCredential: true
  },
  entra: {
    ...GENERIC,
    name: 'entra',
    // A request for openid alone returns a token for Microsoft Graph, and so does a refresh without scope.
    alwaysAllScopes: true,
    // The userinfo endpoint is Microsoft Graph's and needs another token. The ID token has everything.
    usesUserinfo: false,
    delegation: 'on-behalf-of'
  },
  okta: { ...GENERIC, name: 'okta', extraScopes: ['groups'] },
  auth0: { ...GENERIC, name: 'auth0', sendsAudience: true },
  keycloak: { ...GENERIC, name: 'keycloak', groupPaths: true },
  authentik: {
    ...GENERIC,
    name: 'authentik',
    // Since 2025.10 email_verified is false by default.
    trustsEmail: true,
    // Its access tokens are its ID tokens, nonce included, with these two.
    accessTokenClaims: ['uid', 'azp']
  }
}

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

/**
 * Returns the scopes to request from the provider.
 *
 * @param wanted scopes of OIDC_SCOPES
 * @param supported `scopes_supported` of the discovery document
 */
export function upstreamScopes (
  preset: Preset, wanted: readonly string[], supported: readonly string[] | undefined
): string[] {
  const extra = preset.extraScopes.filter((scope) => supported?.includes(scope))
  return [...new Set([...wanted, ...extra])].filter((scope) => !preset.unknownScopes.includes(scope))
}
