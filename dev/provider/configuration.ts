import type { Client, Context, Interaction, StructuredToken, Token } from 'oidc-provider'
import { JWT_BEARER } from '../../src/oauth/protocol/grant-types.ts'
import { TOKEN_EXCHANGE } from './delegation.ts'
import { escapeHtml, page } from './pages.ts'
import { claimsOf } from './quirks.ts'
import { LEVELS, OPAQUE_RESOURCE, RESOURCE, SCOPES, findUser, standingClaims, tokenIssuer } from './state.ts'
import type { ProviderState } from './state.ts'

type Oidc = typeof import('oidc-provider')

/** An MCP client of the company, which signs people in here and gets ID-JAGs for servers. */
const COMPANY_CLIENT = 'company-app'

const DAY = 86400

/** Microsoft Graph: Entra issues a token for it if the request names no other API. */
const ANOTHER_API = '00000003-0000-0000-c000-000000000000'

const AADSTS9010010 = 'AADSTS9010010: ' +
  "The resource parameter provided in the request doesn't match with the requested scopes."

/** The configuration of `oidc-provider`. */
export function createConfiguration (state: ProviderState, oidc: Oidc, cookieKeys: string[]): Record<string, unknown> {
  const { algorithm, quirks } = state
  return {
    adapter: state.storage.open,
    jwks: { keys: state.keys },
    cookies: { keys: cookieKeys },
    clientDefaults: { id_token_signed_response_alg: algorithm },
    clients: clients(state),
    clientAuthMethods: ['none', 'client_secret_basic', 'client_secret_post', 'private_key_jwt'],
    responseTypes: ['code'],
    scopes: SCOPES,
    acrValues: LEVELS,
    // What discovery lists; the claims themselves come from claimsOf.
    claims: {
      openid: ['sub'], profile: ['name', 'preferred_username'], email: ['email', 'email_verified'], groups: ['groups']
    },
    pkce: { required: () => true },
    allowOmittingSingleRegisteredRedirectUri: false,
    discovery: { backchannel_logout_supported: true, backchannel_logout_session_supported: true },
    extraParams: parameterChecks(state, oidc),
    findAccount: (_ctx: Context, login: string) =>
      findUser(state, login) && { accountId: login, claims: () => ({}) },
    extraTokenClaims: (_ctx: Context, { accountId, scopes }: Token) =>
      claimsOf(findUser(state, accountId)!, new Set(['profile', 'email', ...scopes]), quirks),
    formats: { customizers: { jwt: createTokenCustomizer(state) } },
    issueRefreshToken: async (ctx: Context, _client: Client, code: Token) => await issuesRefreshToken(ctx, code, state),
    rotateRefreshToken: ({ oidc: { client } }: Context) =>
      quirks.rotateAlways || client.clientAuthMethod === 'none',
    expiresWithSession: () => false,
    interactions: { policy: prompts(oidc), url: (_ctx: Context, { uid }: Interaction) => `/interaction/${uid}` },
    renderError (ctx: Context, { error, error_description: description }: Record<string, unknown>) {
      const text = `<p><strong>${escapeHtml(`${error}`)}</strong>: ${escapeHtml(`${description}`)}</p>`
      ctx.type = 'html'
      ctx.body = page('The request was refused', text)
    },
    ttl: {
      AccessToken: state.accessTokenTtlSeconds,
      AuthorizationCode: 60,
      IdToken: 3600,
      RefreshToken: 14 * DAY,
      Interaction: 3600,
      Session: 14 * DAY,
      Grant: 14 * DAY
    },
    features: {
      devInteractions: { enabled: false },
      revocation: {
        enabled: true,
        allowedPolicy: (_ctx: Context, client: Client, token: Token) => token.clientId === client.clientId
      },
      resourceIndicators: resourceIndicators(state, oidc)
    }
  }
}

function clients ({ clientId, clientSecret, clientPublicJwks }: ProviderState): Array<Record<string, unknown>> {
  const common = {
    application_type: 'native',
    // Which ones are allowed is decided by redirectUriAllowed.
    redirect_uris: ['http://127.0.0.1/'],
    response_types: ['code'],
    grant_types: ['authorization_code', 'refresh_token', TOKEN_EXCHANGE, JWT_BEARER, 'client_credentials']
  }
  const withSecret = { ...common, client_secret: clientSecret }
  const all: Array<Record<string, unknown>> = [
    { ...common, client_id: clientId, token_endpoint_auth_method: 'none' },
    { ...withSecret, client_id: `${clientId}-confidential`, token_endpoint_auth_method: 'client_secret_basic' },
    { ...withSecret, client_id: `${clientId}-post`, token_endpoint_auth_method: 'client_secret_post' },
    { ...withSecret, client_id: COMPANY_CLIENT, token_endpoint_auth_method: 'client_secret_post' }
  ]
  if (clientPublicJwks !== undefined) {
    const key = { jwks: clientPublicJwks, token_endpoint_auth_method: 'private_key_jwt' }
    all.push({ ...common, client_id: `${clientId}-key`, ...key })
  }
  return all
}

/** Checks of authorization request parameters; null only declares a parameter. */
function parameterChecks ({ quirks }: ProviderState, { errors }: Oidc): Record<string, unknown> {
  return {
    nonce (ctx: Context, nonce: string | undefined): void {
      if (quirks.requireNonce && nonce === undefined && ctx.oidc.params['scope']?.split(' ').includes('openid')) {
        throw new errors.InvalidRequest("missing required parameter 'nonce'")
      }
    },
    scope (ctx: Context): void {
      if (quirks.refuseOfflineAccess && `${ctx.query['scope']}`.split(' ').includes('offline_access')) {
        const message = 'Some requested scopes were invalid. {invalid=[offline_access]}'
        throw new errors.InvalidScope(message, 'offline_access')
      }
    },
    access_type: null,
    audience: null
  }
}

/** Gives every access token the configured audience, as a JWT or an opaque string. */
function resourceIndicators ({ audience, quirks }: ProviderState, { errors }: Oidc): Record<string, unknown> {
  return {
    enabled: true,
    defaultResource: (ctx: Context) =>
      quirks.resourceParameter || (quirks.audienceParameter && ctx.oidc.params['audience'] !== audience)
        ? OPAQUE_RESOURCE
        : RESOURCE,
    useGrantedResource: () => !quirks.resourceParameter,
    getResourceServerInfo (ctx: Context, resource: string) {
      if (quirks.refuseResource && ctx.query['resource'] !== undefined) throw new errors.InvalidRequest(AADSTS9010010)
      const own = quirks.resourceParameter ? audience : RESOURCE
      if (resource !== own && resource !== OPAQUE_RESOURCE) throw new errors.InvalidTarget()
      const isOpaque = quirks.opaqueTokens || resource === OPAQUE_RESOURCE
      return { audience, scope: SCOPES.join(' '), accessTokenFormat: isOpaque ? 'opaque' : 'jwt' }
    }
  }
}

/** Returns the first level of `acr_values` that there is; undefined if there is none. */
export function requestedLevel (acrValues: string | undefined): string | undefined {
  return acrValues?.split(' ').find((value) => LEVELS.includes(value))
}

/** The error of a token request with `resource`, as Entra answers it; undefined for any other request. */
export function resourceError (form: URLSearchParams, { quirks }: ProviderState): Record<string, string> | undefined {
  if (!quirks.refuseResource || !form.has('resource')) return undefined
  return { error: 'invalid_request', error_description: AADSTS9010010 }
}

/**
 * The usual prompts, and `select_account`, for which the sign-in page serves as well. It is also shown for a level that
 * the session at the provider does not have.
 */
function prompts ({ interactionPolicy }: Oidc): unknown {
  const policy = interactionPolicy.base()
  policy.get('login')!.checks.push(new interactionPolicy.Check('acr', 'another level is asked for', ({ oidc }) => {
    const level = requestedLevel(oidc.params['acr_values'])
    return level === undefined || oidc.session.acr === level
      ? interactionPolicy.Check.NO_NEED_TO_PROMPT
      : interactionPolicy.Check.REQUEST_PROMPT
  }))
  policy.add(new interactionPolicy.Prompt({ name: 'select_account', requestable: true }), 0)
  return policy
}

async function issuesRefreshToken (ctx: Context, code: Token, state: ProviderState): Promise<boolean> {
  const { quirks, authorizationRequests } = state
  if (quirks.noRefreshToken) return false
  if (!quirks.offlineByParameter) return quirks.refreshWithoutConsent || code.scopes.has('offline_access')
  const request = await authorizationRequests.find(ctx.oidc.params['code']!)
  return request?.['access_type'] === 'offline' && `${request['prompt']}`.split(' ').includes('consent')
}

/** Changes access tokens that are JWTs before they are signed, and records them. */
function createTokenCustomizer (state: ProviderState) {
  const { quirks, accessTokens, accessTokenTtlSeconds } = state
  return async function customize (
    { oidc: { params } }: Context,
    { accountId, clientId, grantId, scope }: Token,
    { payload }: StructuredToken
  ): Promise<void> {
    Object.assign(payload, { iss: tokenIssuer(state), ...standingClaims(state) })
    const isRefresh = params['grant_type'] === 'refresh_token'
    if (quirks.refreshNeedsScope && isRefresh && params['scope'] === undefined) payload['aud'] = ANOTHER_API
    await accessTokens.upsert(`${payload['jti']}`, { accountId, clientId, grantId, scope }, accessTokenTtlSeconds)
  }
}
