/** The remedy of a cause, for an operator or a person. */
export interface Cause {
  /** One or two sentences without a full stop at the end. */
  remedy: string
  /** The settings that are involved; none where it is not this server's to change. */
  settings?: readonly string[]
}

const RECONNECT = 'Connect again from the application'
const AT_PROVIDER = 'at the provider'

/**
 * The causes for which sign-ins and requests fail, and what helps: the one place for these sentences. Errors name their
 * cause (`causeCode`); log lines show its code, and `seed trace` the remedy.
 */
export const CAUSES = {
  // The application's request
  client_unknown: {
    remedy: 'Remove the server in the application and connect it again, so that it registers anew. If it happens to ' +
      'everybody, the store was emptied, or clients are kept for too short a time',
    settings: ['REDIS_URL', 'DCR_CLIENT_TTL', 'OAUTH_CLIENTS']
  },
  redirect_uri_not_registered: {
    remedy: 'The application must use a redirect URI that it registered: remove the server in it and connect it ' +
      'again, or add the redirect URI to the configured client',
    settings: ['OAUTH_CLIENTS']
  },
  redirect_uri_not_acceptable: {
    remedy: 'The application must use https, http on localhost, or a scheme that is listed',
    settings: ['REDIRECT_URI_SCHEMES']
  },
  resource_wrong: {
    remedy: 'Give the application the address under which clients reach this server, which is BASE_URL with /mcp ' +
      'behind it, or with the path of a further endpoint',
    settings: ['BASE_URL', 'SEED_ENDPOINTS']
  },
  request_not_supported: {
    remedy: 'The application asks for something that this server does not support: update it, or report it to its ' +
      'vendor'
  },
  request_invalid: {
    remedy: 'See the reason: the request of the application is not valid. Update it, or report it to its vendor'
  },
  pkce_missing: { remedy: 'The application must use PKCE with S256: update it, or report it to its vendor' },
  scope_refused: {
    remedy: 'The application may ask for fewer scopes than it was granted, and not for more: ' + RECONNECT.toLowerCase()
  },
  client_authentication: {
    remedy: 'Check the method and the secret or key of the client, in the application and here',
    settings: ['OAUTH_CLIENTS']
  },
  client_not_allowed: {
    remedy: 'See the reason: this client may not get tokens in this way. Change its grant types, or let the ' +
      'application use the client that was made for it',
    settings: ['OAUTH_CLIENTS']
  },
  metadata_document: {
    remedy: 'See the reason: the document at the client\'s URL must be valid, and this server must be able to fetch it',
    settings: ['CIMD_ENABLED', 'CIMD_HOSTS', 'HTTPS_PROXY']
  },

  // The person and the browser
  consent_denied: { remedy: `None, if the person meant it. Otherwise: ${RECONNECT.toLowerCase()} and choose Allow` },
  consent_expired: { remedy: `${RECONNECT}, and answer the page within 15 minutes and once` },
  consent_other_site: {
    remedy: 'The form was sent by another web site, which may be an attack. If a proxy in front of this server ' +
      'changes host or scheme, correct it',
    settings: ['BASE_URL']
  },
  other_browser: {
    remedy: `${RECONNECT} and stay in one browser, with cookies allowed. If somebody was sent a link by somebody ` +
      'else, it may be an attack'
  },
  callback_unknown: {
    remedy: `${RECONNECT}, and sign in at the provider within ten minutes and once. If it happens to everybody, the ` +
      'replicas do not share one store, or their secrets differ',
    settings: ['REDIS_URL', 'SEED_SECRET']
  },
  connections_sign_in_unknown: {
    remedy: 'Open /connections again, and sign in at the provider within ten minutes and once. If it happens to ' +
      'everybody, the replicas do not share one store, or their secrets differ',
    settings: ['REDIS_URL', 'SEED_SECRET']
  },
  connections_other_browser: {
    remedy: 'Open /connections again and stay in one browser, with cookies allowed. If somebody was sent a link by ' +
      'somebody else, it may be an attack'
  },
  connections_not_signed_in_again: {
    remedy: `Sign out ${AT_PROVIDER}, then open /connections again: the provider did not ask the person to sign in ` +
      'anew, although it was asked to (prompt=login, max_age). If its ID token has no auth_time that would say so ' +
      '(Google), sign out at /connections instead, and in again'
  },
  connections_form_invalid: {
    remedy: 'Open /connections again: the form was of an earlier session there, or it was sent by another web site, ' +
      'which may be an attack'
  },
  limit_reached: {
    remedy: 'Wait a minute. If many people share one address, tell this server where its proxy is, or raise the limit',
    settings: ['TRUST_PROXY', 'OAUTH_LIMIT_PER_ADDRESS', 'OAUTH_LIMIT_PER_CLIENT']
  },

  // The provider
  provider_unavailable: {
    remedy: 'See whether the provider is up and can be reached from this server: seed doctor. Then: ' +
      `${RECONNECT.toLowerCase()}`,
    settings: ['OIDC_ISSUER', 'HTTPS_PROXY']
  },
  provider_denied: {
    remedy: `The person cancelled, or may not use this application ${AT_PROVIDER}: assign it to them there`
  },
  provider_needs_person: {
    remedy: `${RECONNECT}: the provider wants to ask the person something`
  },
  provider_authentication: {
    remedy: 'The person was to sign in anew or at a level (max_age, acr_values, prompt=login), and the ID token does ' +
      `not say so. Let the provider honour these parameters, and put auth_time and acr into ID tokens ${AT_PROVIDER} ` +
      '(Entra ID: optional claims)',
    settings: ['TOKEN_CLOCK_SKEW_SECONDS']
  },
  sign_in_demanded: {
    remedy: 'None, if the application sends the person to sign in: a tool demands it (maxAge, acr). Otherwise: ' +
      RECONNECT.toLowerCase()
  },
  provider_refused_request: {
    remedy: 'See the provider\'s words: its client for this server does not allow something that is asked for, ' +
      'often a scope',
    settings: ['OIDC_SCOPES', 'OIDC_CLIENT_ID']
  },
  provider_refused_client: {
    remedy: `Check client id and secret (or key) against those ${AT_PROVIDER}: seed doctor tries them`,
    settings: ['OIDC_CLIENT_ID', 'OIDC_CLIENT_SECRET', 'OIDC_CLIENT_KEY']
  },
  provider_refused_grant: {
    remedy: `${RECONNECT}. If it happens each time, see the provider's words, and whether BASE_URL/oauth/callback is ` +
      `registered ${AT_PROVIDER} byte for byte`,
    settings: ['BASE_URL']
  },
  provider_response: {
    remedy: 'See the reason: the provider\'s answer cannot be used. seed doctor checks what can be checked without ' +
      'a person',
    settings: ['OIDC_ISSUER', 'OIDC_PROVIDER']
  },
  no_id_token: {
    remedy: 'openid must be among the scopes that the client may ask for',
    settings: ['OIDC_SCOPES']
  },
  id_token_audience: {
    remedy: `The ID token is for another client: the client id here must be the one ${AT_PROVIDER}`,
    settings: ['OIDC_CLIENT_ID']
  },
  id_token_issuer: {
    remedy: 'The ID token is of another issuer: set the issuer exactly as the provider writes it, with or without a ' +
      'slash',
    settings: ['OIDC_ISSUER', 'OIDC_TENANTS']
  },
  id_token_nonce: {
    remedy: `${RECONNECT}. The provider answered with an ID token of another sign-in: if it happens each time, its ` +
      'cache or a proxy repeats answers, or somebody replays them'
  },
  id_token_signature: {
    remedy: 'Let the provider sign the ID tokens of this client with RS256 or ES256, with a key that it publishes',
    settings: ['OIDC_ALGORITHMS']
  },
  id_token_refused: {
    remedy: `See the reason: the ID token is not as OpenID Connect requires. Correct the client ${AT_PROVIDER}`
  },
  clock: {
    remedy: 'Synchronize the clocks of this server and of the provider (NTP); seed doctor compares them',
    settings: ['TOKEN_CLOCK_SKEW_SECONDS']
  },

  // Access rules
  access_groups: {
    remedy: `Put the person into one of the groups ${AT_PROVIDER}, let it send the groups, or change the rule`,
    settings: ['ACCESS_GROUPS', 'SEED_ENDPOINTS', 'OIDC_GROUPS_CLAIM', 'OIDC_SCOPES']
  },
  access_email: {
    remedy: 'The person must sign in with an address of a listed domain that the provider has verified, or change ' +
      'the rule',
    settings: ['ACCESS_EMAIL_DOMAINS', 'SEED_ENDPOINTS', 'ACCESS_EMAIL_UNVERIFIED']
  },
  access_hosted_domain: {
    remedy: 'The person must sign in with an account of a listed organisation, or change the rule',
    settings: ['ACCESS_HOSTED_DOMAINS', 'SEED_ENDPOINTS']
  },
  access_claims: {
    remedy: 'Let the provider send the claim with the value for this person, or change the rule',
    settings: ['ACCESS_CLAIMS', 'SEED_ENDPOINTS']
  },

  // The token endpoint
  code_unknown: {
    remedy: `${RECONNECT}. The application must redeem the code within a minute and once; if it happens to ` +
      'everybody, the replicas do not share one store',
    settings: ['REDIS_URL']
  },
  code_replayed: {
    remedy: `${RECONNECT}. The code was redeemed twice: by an application that repeats requests, or by somebody who ` +
      'intercepted it'
  },
  code_not_for_request: {
    remedy: `${RECONNECT}. The application mixed up two sign-ins: another client or redirect URI than at the start`
  },
  pkce_verifier: {
    remedy: `${RECONNECT}. The application mixed up two sign-ins, or somebody else tried the code: its PKCE ` +
      'verifier is wrong'
  },
  grant_ended: {
    remedy: `${RECONNECT}. The log says why the grant ended ("A grant has ended"), if it did not expire`,
    settings: ['REFRESH_TOKEN_TTL', 'GRANT_MAX_AGE', 'GRANT_MAX_AGE_UNCHECKED']
  },
  refresh_token_invalid: {
    remedy: `${RECONNECT}. See the reason: it is not the application's current refresh token`
  },
  refresh_token_replayed: {
    remedy: `${RECONNECT}. An old refresh token was used again: by a copied profile, or by somebody who stole it`
  },
  identity_assertion: {
    remedy: 'See the reason: let the provider issue the ID-JAG for this server, this client and this person ' +
      '(docs/enterprise.md)',
    settings: ['ENTERPRISE_AUTHORIZATION', 'OIDC_ISSUER', 'BASE_URL']
  },
  identity_assertion_replayed: {
    remedy: 'The application must get a new ID-JAG for each access token. It repeats requests, or somebody stole it'
  },
  workload_token: {
    remedy: 'See the reason: the token must be from a trusted issuer, for this server alone, and fit a rule for a ' +
      'service (docs/workloads.md)',
    settings: ['TRUSTED_ISSUERS', 'BASE_URL']
  },
  workload_token_replayed: {
    remedy: 'The workload must get a new token of its platform for each access token. It repeats requests, or ' +
      'somebody stole it. Where the platform hands out the same token again, the issuer needs "single_use": false',
    settings: ['TRUSTED_ISSUERS']
  },
  issuer_unavailable: {
    remedy: 'See whether the keys of the issuer can be fetched from this server: seed doctor',
    settings: ['TRUSTED_ISSUERS', 'HTTPS_PROXY', 'NODE_EXTRA_CA_CERTS']
  },
  enterprise_only: {
    remedy: 'The person must use the application that their company has set up for this server. To let people sign ' +
      'in with others as well, set ENTERPRISE_AUTHORIZATION=also',
    settings: ['ENTERPRISE_AUTHORIZATION']
  },
  secret_changed: {
    remedy: `${RECONNECT}. The secret was changed without its predecessor, or it differs between replicas`,
    settings: ['SEED_SECRET', 'SEED_SECRET_PREVIOUS']
  },

  // Access tokens
  token_missing: {
    remedy: 'None, if the application then signs in: this is how it learns to. Otherwise its user must sign in, or ' +
      'the application lacks OAuth'
  },
  token_format: {
    remedy: 'The application must send the access token of this sign-in as "Authorization: Bearer …". In proxy mode ' +
      'the provider must issue JWTs, and not opaque or encrypted ones',
    settings: ['OAUTH_MODE', 'OIDC_RESOURCE']
  },
  token_expired: {
    remedy: 'None, if the application then refreshes. Otherwise its user must sign in again'
  },
  token_revoked: {
    remedy: `${RECONNECT}. It was revoked by seed revoke or seed connections, by the application, or by a ` +
      `logout ${AT_PROVIDER}`
  },
  token_issuer: {
    remedy: 'The access token is of another issuer: in broker mode the application must send the token of this ' +
      'server, not the provider\'s. In proxy mode set the issuer exactly as the provider writes it',
    settings: ['OAUTH_MODE', 'BASE_URL', 'OIDC_ISSUER', 'OIDC_TENANTS']
  },
  token_audience: {
    remedy: 'let the provider put it into the token (audience mapper, API identifier), or set OIDC_AUDIENCE',
    settings: ['OIDC_AUDIENCE']
  },
  token_other_endpoint: {
    remedy: 'The application sends the token of one MCP endpoint to another one: it must sign in at each endpoint, ' +
      'and send the resource that the endpoint names. Remove the server in the application and connect it again',
    settings: ['SEED_ENDPOINTS']
  },
  token_signature: {
    remedy: `${RECONNECT}. If it happens to everybody, the secrets of the replicas differ, or in proxy mode the ` +
      'provider signs with a key that it does not publish',
    settings: ['SEED_SECRET', 'SEED_SECRET_PREVIOUS', 'OIDC_ALGORITHMS']
  },
  token_lifetime: {
    remedy: `Shorten the lifetime of access tokens ${AT_PROVIDER}, or raise the maximum`,
    settings: ['TOKEN_MAX_LIFETIME_SECONDS']
  },
  token_refused: {
    remedy: 'See the reason: it is no access token for this server'
  },
  scope_missing: {
    remedy: `${RECONNECT} and allow the scopes that the reason names; ${AT_PROVIDER} the person must be able to get ` +
      'them',
    settings: ['OIDC_SCOPES', 'SCOPE_HIERARCHY']
  },
  authentication_insufficient: {
    remedy: `The tool demands a recent sign-in (maxAge) or a level (acr), as the reason says. ${RECONNECT}: the ` +
      'person is asked to sign in again',
    settings: ['TOKEN_CLOCK_SKEW_SECONDS']
  },

  // This server
  store_unavailable: {
    remedy: 'See whether Redis is up, has memory, and can be reached from this server: seed doctor',
    settings: ['REDIS_URL']
  },
  record_of_later_release: {
    remedy: 'Replicas of two releases run side by side, and one of the older release got the request: finish the ' +
      'upgrade, or stop the replicas of the later release',
    settings: ['REDIS_URL']
  },

  // Sign-ins that did not go on
  consent_not_answered: {
    remedy: `The person saw the consent page, or never did, and did not answer it. ${RECONNECT} and choose Allow`
  },
  provider_not_returned: {
    remedy: 'The browser was sent to the provider and did not come back: the provider showed an error, or the ' +
      `person did not sign in. BASE_URL/oauth/callback must be registered ${AT_PROVIDER} byte for byte`,
    settings: ['BASE_URL', 'OIDC_CLIENT_ID', 'OIDC_SCOPES']
  },
  provider_not_returned_proxy: {
    remedy: 'The browser was sent to the provider, and the application did not come for its tokens: the provider ' +
      'showed an error, or the person did not sign in. The application\'s redirect URI must be registered ' +
      AT_PROVIDER,
    settings: ['OIDC_CLIENT_ID', 'OIDC_SCOPES']
  },
  code_not_redeemed: {
    remedy: 'The application got a code and was never seen with it: it was closed, the browser could not reach it, ' +
      'or its request was refused (the message that it shows then has a reference of its own)'
  },
  token_not_used: {
    remedy: 'The application got its tokens and has not sent a request with them yet'
  }
} as const satisfies Record<string, Cause>

export type CauseCode = keyof typeof CAUSES

/** The causes of the rules for who may sign in, by their settings. */
export const ACCESS_RULE_CAUSES: Readonly<Record<string, CauseCode>> = {
  ACCESS_GROUPS: 'access_groups',
  ACCESS_EMAIL_DOMAINS: 'access_email',
  ACCESS_HOSTED_DOMAINS: 'access_hosted_domain',
  ACCESS_CLAIMS: 'access_claims'
}

/** Returns a cause by a code that was stored, by this version or another one. */
export function findCause (code: string | undefined): Cause | undefined {
  return code !== undefined && Object.hasOwn(CAUSES, code) ? CAUSES[code as CauseCode] : undefined
}
