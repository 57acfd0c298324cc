import type { CryptoKey, JWK, KeyObject } from 'jose'

/** A refusal: a status, and a JSON body if there is one. */
export interface Refusal {
  status: number
  json?: Record<string, string>
}

export interface DevUser {
  /** Also the `sub` of the user's tokens. */
  login: string
  password: string
  name: string
  email: string
  groups: string[]
}

export type SigningKey = CryptoKey | KeyObject | JWK | Uint8Array

/** A token that differs from the usual one: its claims, header parameters and key. */
export interface TokenOverrides {
  claims: Record<string, unknown>
  /** Added to the usual parameters. With `alg: 'none'` the token is not signed. */
  header?: Record<string, unknown>
  /** The provider's own if left out. */
  key?: SigningKey
}

/** Deviations of real providers. Every request reads them, so a test may change them while the provider runs. */
export interface Quirks {
  /** Access tokens are opaque strings, as Google's and Okta's are. */
  opaqueTokens: boolean
  /** No refresh token, whatever was asked for. */
  noRefreshToken: boolean
  /** Refresh tokens without `offline_access` too; if false, only with it, and only with `prompt=consent`. */
  refreshWithoutConsent: boolean
  /** Tokens carry no `groups`. */
  missingGroups: boolean
  /** The value of `email_verified`. authentik: false. */
  emailVerified: boolean
  /** Sends and advertises the `iss` authorization response parameter (RFC 9207). */
  issParameter: boolean
  /** glewlwyd: sends `iss` and does not advertise it. */
  unpromisedIss: boolean
  /** Refuses `openid` requests without a `nonce`, in the code flow too. */
  requireNonce: boolean
  /** ID tokens carry the claims of their scopes; when false, only userinfo does. */
  idTokenClaims: boolean
  /** glewlwyd: no ID token in the response to a refresh. */
  refreshWithoutIdToken: boolean
  /** No revocation endpoint: discovery names none, and its path answers 404. */
  noRevocation: boolean
  /** django-oauth-toolkit: discovery does not list the revocation endpoint that there is. */
  unlistedRevocation: boolean

  /**
   * The grant type with which a confidential client gets a token for another API: RFC 8693 as in Keycloak, or Entra's
   * on-behalf-of. The other one, or both if undefined, is an `unsupported_grant_type`.
   */
  delegation: 'token-exchange' | 'on-behalf-of' | undefined
  /** The audiences of such tokens; any other is an `invalid_target`. */
  exchangeAudiences: readonly string[]
  /** Lifetime of such a token, in seconds. */
  exchangedTtlSeconds: number
  /** Each use of a refresh token gives a new one, to confidential clients too. */
  rotateAlways: boolean
  /** Token responses do not say how long the access token lives. */
  noExpiresIn: boolean

  /** Google: the scope `offline_access` is an `invalid_scope`, and not in `scopes_supported`. */
  refuseOfflineAccess: boolean
  /** Google: a refresh token only for an authorization request with `access_type=offline` and `prompt=consent`. */
  offlineByParameter: boolean
  /** Google: token responses spell the scopes `email` and `profile` as URLs; refresh requests may do so too. */
  scopeAliases: boolean
  /** Google Workspace: the `hd` claim. */
  hostedDomain: string | undefined

  /** Entra: any `resource`, at the authorization and at the token endpoint, is AADSTS9010010. */
  refuseResource: boolean
  /** Entra: a refresh without `scope` gives an access token for another API. */
  refreshNeedsScope: boolean
  /**
   * Entra: the tenant's id. Tokens have it as `tid` and in their `iss`, `<issuer>/<tid>/v2.0`. Discovery says
   * `<issuer>/{tenantid}/v2.0`, also under `/common/v2.0` and the like, and the tenant's issuer only under
   * `/<tid>/v2.0`.
   */
  issuerTemplate: string | undefined
  /** Entra: too many groups for a token, which refers to another endpoint instead. */
  groupsOverage: boolean

  /** Auth0: access tokens are opaque unless the authorization request had `audience` with the option's value. */
  audienceParameter: boolean
  /**
   * better-auth: access tokens are opaque unless both requests have the option's audience as `resource` (RFC 8707).
   * Another resource is an `invalid_target`.
   */
  resourceParameter: boolean
  /** Auth0, authentik: the issuer ends with a slash. */
  trailingSlashIssuer: boolean

  /** Okta: groups only for the scope `groups`; when false, whatever the scopes. */
  groupsByScope: boolean

  /** Keycloak: groups are paths, `/engineering`. */
  groupPaths: boolean
  /** Keycloak: groups come as `realm_access: { roles }`. */
  rolesClaim: boolean

  /** authentik without a signing key: the key set is empty. */
  emptyJwks: boolean

  /** glewlwyd, LemonLDAP::NG, Doorkeeper: Basic credentials are compared as they come, not decoded. */
  undecodedBasic: boolean
  /** better-auth: a client that uses the other of `client_secret_basic` and `client_secret_post` gets this answer. */
  refuseOtherAuthMethod: Refusal | undefined
  /** better-auth: the authorization code of a request whose client is refused is used up. */
  refusalEndsCode: boolean
  /** glewlwyd: the only audience of client assertions, as a path below the issuer; others get 403 without a body. */
  assertionAudience: string | undefined

  /** django-oauth-toolkit: the discovery document's URL has a slash at its end; the usual one redirects there. */
  discoveryWithSlash: boolean
  /** LemonLDAP::NG: `id_token_signing_alg_values_supported` lists these. */
  idTokenAlgorithms: string[] | undefined
  /** LemonLDAP::NG: the userinfo response is a signed JWT. */
  signedUserinfo: boolean
  /** LemonLDAP::NG: a person's only group comes as a string. */
  singleGroupAsString: boolean
  /** LemonLDAP::NG, glewlwyd: this answer to a refresh token that has ended, in place of `invalid_grant`. */
  deadRefreshToken: Refusal | undefined

  /**
   * Only pushed authorization requests are accepted (RFC 9126); for one of this client alone discovery does not say so.
   */
  pushedRequests: 'required' | 'required-of-client' | undefined

  /** Called with the claims of each ID token; what it returns is issued instead. */
  idToken: ((claims: Record<string, unknown>) => TokenOverrides | undefined) | undefined
}

export const QUIRKS: Quirks = {
  opaqueTokens: false,
  noRefreshToken: false,
  refreshWithoutConsent: true,
  missingGroups: false,
  emailVerified: true,
  issParameter: false,
  unpromisedIss: false,
  requireNonce: true,
  idTokenClaims: true,
  refreshWithoutIdToken: false,
  noRevocation: false,
  unlistedRevocation: false,
  delegation: 'token-exchange',
  exchangeAudiences: [],
  exchangedTtlSeconds: 300,
  rotateAlways: false,
  noExpiresIn: false,
  refuseOfflineAccess: false,
  offlineByParameter: false,
  scopeAliases: false,
  hostedDomain: undefined,
  refuseResource: false,
  refreshNeedsScope: false,
  issuerTemplate: undefined,
  groupsOverage: false,
  audienceParameter: false,
  resourceParameter: false,
  trailingSlashIssuer: false,
  groupsByScope: false,
  groupPaths: false,
  rolesClaim: false,
  emptyJwks: false,
  undecodedBasic: false,
  refuseOtherAuthMethod: undefined,
  refusalEndsCode: false,
  assertionAudience: undefined,
  discoveryWithSlash: false,
  idTokenAlgorithms: undefined,
  signedUserinfo: false,
  singleGroupAsString: false,
  deadRefreshToken: undefined,
  pushedRequests: undefined,
  idToken: undefined
}

/** Google's names of the scopes `email` and `profile`. */
const SCOPE_ALIASES = new Map([
  ['email', 'https://www.googleapis.com/auth/userinfo.email'],
  ['profile', 'https://www.googleapis.com/auth/userinfo.profile']
])
const ALIASED_SCOPES = new Map([...SCOPE_ALIASES].map(([scope, alias]) => [alias, scope]))

export function toAliases (scopes: string): string {
  return scopes.split(' ').map((scope) => SCOPE_ALIASES.get(scope) ?? scope).join(' ')
}

export function fromAliases (scopes: string): string {
  return scopes.split(' ').map((scope) => ALIASED_SCOPES.get(scope) ?? scope).join(' ')
}

/** The claims about a user in tokens and userinfo, for these scopes. */
export function claimsOf (user: DevUser, scopes: Set<string>, quirks: Quirks): Record<string, unknown> {
  return {
    ...(scopes.has('profile') ? { name: user.name, preferred_username: user.login } : {}),
    ...(scopes.has('email') ? { email: user.email, email_verified: quirks.emailVerified } : {}),
    ...(scopes.has('groups') || !quirks.groupsByScope ? groupsOf(user, quirks) : {})
  }
}

function groupsOf ({ login, groups }: DevUser, quirks: Quirks): Record<string, unknown> {
  if (quirks.missingGroups) return {}
  if (quirks.groupsOverage) {
    const endpoint = `https://graph.example.com/v1.0/users/${login}/getMemberObjects`
    return { hasgroups: true, _claim_names: { groups: 'src1' }, _claim_sources: { src1: { endpoint } } }
  }
  if (quirks.rolesClaim) return { realm_access: { roles: groups } }
  if (quirks.singleGroupAsString && groups.length === 1) return { groups: groups[0] }
  return { groups: quirks.groupPaths ? groups.map((group) => `/${group}`) : groups }
}
