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
  /** It issues ID-JAGs (Enterprise-Managed Authorization, Cross App Access). */
  issuesIdentityAssertions: boolean
  /** The provider requires a client secret (or key) in spite of PKCE. */
  needsCredential: boolean
}

/** Follows the standards. The other presets say only where they differ. */
export const GENERIC: Preset = {
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
  issuesIdentityAssertions: false,
  needsCredential: false
}
