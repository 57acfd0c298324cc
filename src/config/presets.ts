/**
 * What providers do differently from the standards, by name (OIDC_PROVIDER). A preset changes how Seed asks the
 * provider and reads its answers; with `generic` it does what the standards say.
 */
export const PRESET_NAMES = ['google', 'entra', 'okta', 'auth0', 'keycloak', 'authentik', 'generic'] as const
export type PresetName = typeof PRESET_NAMES[number]

export interface Preset {
  name: PresetName
  /** Added to each authorization request. */
  authorizationParameters: Readonly<Record<string, string>>
  /** OIDC_AUDIENCE is sent as `audience` with each authorization, token and refresh request. */
  sendsAudience: boolean
  /** Scopes that are never sent, as the provider refuses or misreads them. */
  unknownScopes: readonly string[]
  /** Scopes that are sent besides OIDC_SCOPES where the discovery document lists them. */
  extraScopes: readonly string[]
  /** In proxy mode all of OIDC_SCOPES are asked for, whatever the client asked, and again at each refresh. */
  alwaysAllScopes: boolean
  /** Other spellings in which the provider names scopes. */
  scopeAliases: Readonly<Record<string, string>>
  /** OIDC_GROUPS_CLAIM's default. */
  groupsClaim: string
  /** Groups are paths: `/engineering` is engineering. */
  groupPaths: boolean
  /** `email` is the operator's own directory entry although `email_verified` says false. */
  trustsEmail: boolean
  /** The userinfo endpoint is about this provider's user, and answers to the access token of a sign-in. */
  usesUserinfo: boolean
  /** Why OAUTH_MODE=proxy cannot work, for the start's message. */
  brokerOnly: string | undefined
  /** How a token is exchanged for one for another API: RFC 8693, or the form that Microsoft made before it was. */
  delegation: 'token-exchange' | 'on-behalf-of'
  /** Demands a client secret (or key) although PKCE is used. */
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
  delegation: 'token-exchange',
  needsCredential: false
}

const PRESETS: Record<PresetName, Preset> = {
  generic: GENERIC,
  google: {
    ...GENERIC,
    name: 'google',
    // A refresh token comes only for these two, and by the scope of the standard it is refused.
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
    // A request that names openid alone gives a token for Microsoft Graph, and so does a refresh without scope.
    alwaysAllScopes: true,
    // It is Microsoft Graph's, for another token; everything is in the ID token.
    usesUserinfo: false,
    delegation: 'on-behalf-of'
  },
  okta: { ...GENERIC, name: 'okta', extraScopes: ['groups'] },
  auth0: { ...GENERIC, name: 'auth0', sendsAudience: true },
  keycloak: { ...GENERIC, name: 'keycloak', groupPaths: true },
  // Since 2025.10 email_verified is false unless a mapping says otherwise.
  authentik: { ...GENERIC, name: 'authentik', trustsEmail: true }
}

/** Where the issuer gives the provider away. */
const ISSUERS: Array<[pattern: RegExp, name: PresetName]> = [
  [/^https:\/\/accounts\.google\.com\/?$/, 'google'],
  [/^https:\/\/(login\.microsoftonline\.(com|us)|login\.partner\.microsoftonline\.cn|sts\.windows\.net)\//, 'entra'],
  [/^https:\/\/[^/]+\.(okta|oktapreview|okta-emea)\.com(\/|$)/, 'okta'],
  [/^https:\/\/[^/]+\.auth0\.com(\/|$)/, 'auth0'],
  [/^https?:\/\/[^/]+(\/[^/]+)*\/realms\/[^/]+\/?$/, 'keycloak'],
  [/^https?:\/\/[^/]+(\/[^/]+)*\/application\/o\/[^/]+\/?$/, 'authentik']
]

/** @param name OIDC_PROVIDER; when absent, the issuer decides */
export function findPreset (name: PresetName | undefined, issuer: string): Preset {
  return PRESETS[name ?? ISSUERS.find(([pattern]) => pattern.test(issuer))?.[1] ?? 'generic']
}

/**
 * The scopes to ask the provider for.
 *
 * @param wanted of OIDC_SCOPES
 * @param supported `scopes_supported` of the discovery document, if it says
 */
export function upstreamScopes (preset: Preset, wanted: readonly string[], supported: readonly string[] | undefined): string[] {
  const extra = preset.extraScopes.filter((scope) => supported?.includes(scope))
  return [...new Set([...wanted, ...extra])].filter((scope) => !preset.unknownScopes.includes(scope))
}
