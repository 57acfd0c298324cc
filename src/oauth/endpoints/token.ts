import type { Endpoint } from '../../config/endpoints.ts'
import { OAuthError } from '../../errors/oauth-error.ts'
import type { TokenBody, TokenResponse } from '../../schemas/token.ts'
import { ignoreOutage } from '../../store/store.ts'
import type { TraceStep } from '../../trace/step.ts'
import { authenticateClient } from '../clients/authentication.ts'
import type { ClientAuthenticationServices } from '../clients/authentication.ts'
import { checkGrantType } from '../clients/clients.ts'
import type { Client } from '../clients/clients.ts'
import type { Requester } from '../clients/requester.ts'
import type { AssertionRequest, CodeRequest, RefreshRequest, TokenIssuer } from '../modes/mode.ts'
import { ID_JAG_TYPE, JWT_BEARER } from '../protocol/grant-types.ts'
import { checkCodeVerifier } from '../protocol/pkce.ts'
import { findResource } from '../protocol/resource-indicator.ts'

export interface TokenServices extends ClientAuthenticationServices {
  tokenIssuer: TokenIssuer
  /** All MCP endpoints; `/mcp` first. */
  endpoints: readonly Endpoint[]
  /** OIDC_ISSUER where the provider issues the access tokens: in proxy mode. */
  issuerOfTokens: string | undefined
}

interface GrantType {
  /** The function of the mode that issues the tokens; without it the grant type is not supported. */
  issuer: keyof TokenIssuer
  /** The kind of caller that the tokens stand for. */
  principalKind: 'person' | 'service'
  issue (issuer: TokenIssuer, request: TokenRequest, client: Client, step: TraceStep): Promise<TokenResponse>
}

interface TokenRequest {
  body: TokenBody
  /** The MCP endpoint that the request names; undefined if it names none. */
  target: Endpoint | undefined
  /** That one, or `/mcp`. */
  endpoint: Endpoint
}

const GRANT_TYPES = new Map<string, GrantType>([
  ['authorization_code', {
    issuer: 'authorizationCode',
    principalKind: 'person',
    issue: (issuer, request, client, step) => issuer.authorizationCode!(readCodeRequest(request), client, step)
  }],
  ['refresh_token', {
    issuer: 'refreshToken',
    principalKind: 'person',
    issue: (issuer, request, client, step) => issuer.refreshToken(readRefreshRequest(request), client, step)
  }],
  ['client_credentials', {
    issuer: 'clientCredentials',
    principalKind: 'service',
    issue: (issuer, { body: { scope }, endpoint }, client) => issuer.clientCredentials!({ scope, endpoint }, client)
  }],
  [JWT_BEARER, {
    issuer: 'jwtBearer',
    principalKind: 'person',
    issue: (issuer, request, client) => issuer.jwtBearer!(readAssertionRequest(request), client)
  }]
])

/**
 * Returns the grant types that this server has, for its metadata (RFC 8414 section 2). Without authorization codes
 * there are no new refresh tokens.
 */
export function supportedGrantTypes (issuer: TokenIssuer): string[] {
  return [...GRANT_TYPES]
    .filter(([name]) => isSupported(name, issuer))
    .map(([name]) => name)
}

function isSupported (grantType: string, issuer: TokenIssuer): boolean {
  if (grantType === 'refresh_token') return issuer.authorizationCode !== undefined
  if (grantType === JWT_BEARER && issuer.workloadToken !== undefined) return true
  return issuer[GRANT_TYPES.get(grantType)!.issuer] !== undefined
}

export interface IssuedTokens {
  tokens: TokenResponse
  client: Pick<Client, 'id' | 'kind'>
  principalKind: GrantType['principalKind']
}

/**
 * The token endpoint (RFC 6749 section 3.2): the checks that both modes share, then the mode issues the tokens.
 *
 * @param authorization the Authorization header, if any
 * @throws OAuthError, LimitError, ProviderUnavailableError, StoreUnavailableError
 */
export async function issueTokens (
  body: TokenBody,
  authorization: string | undefined,
  services: TokenServices,
  requester: Requester
): Promise<IssuedTokens> {
  const { tokenIssuer } = services
  if (isWorkload(body, authorization, tokenIssuer)) {
    return await issueToWorkload(body, authorization, services, requester)
  }
  const grantType = GRANT_TYPES.get(body.grant_type)
  if (grantType === undefined || tokenIssuer[grantType.issuer] === undefined) {
    const supported = supportedGrantTypes(tokenIssuer).join(', ')
    const advice = adviseIssuer(body.grant_type, services.issuerOfTokens)
    throw new OAuthError('unsupported_grant_type', `grant_type must be one of ${supported}${advice}`)
  }
  const bound = body.grant_type === 'refresh_token'
  const { step } = requester
  if (bound) step.name = 'refresh'
  step.note({ 'client id': body.client_id, resource: body.resource })
  const client = await authenticateClient({ body, authorization, bound }, services, requester)
  checkGrantType(client, body.grant_type)
  const tokens = await grantType.issue(tokenIssuer, readTarget(body, services), client, step)
  step.outcome = 'The application got its tokens'
  await services.clients.keepRecord(client).catch(ignoreOutage)
  return { tokens, client, principalKind: grantType.principalKind }
}

/** Grant types of callers without a browser: the issuer of the access tokens may have them. */
const WITHOUT_BROWSER = ['client_credentials', JWT_BEARER, 'urn:ietf:params:oauth:grant-type:token-exchange']

function adviseIssuer (grantType: string, issuer: string | undefined): string {
  if (issuer === undefined || !WITHOUT_BROWSER.includes(grantType)) return ''
  return `: the identity provider, ${issuer}, issues the access tokens of this server, so ask there for this one`
}

/**
 * Whether an assertion must be the token of a workload: such tokens are accepted, and it is no ID-JAG, which has a
 * `typ` of its own and comes from a client that authenticates or names itself.
 */
function isWorkload (body: TokenBody, authorization: string | undefined, issuer: TokenIssuer): boolean {
  if (body.grant_type !== JWT_BEARER || issuer.workloadToken === undefined) return false
  if (issuer.jwtBearer === undefined) return true
  return !sendsCredentials(body, authorization) && body.assertion !== undefined && !isIdentityAssertion(body.assertion)
}

function sendsCredentials ({ client_secret: secret, client_assertion: assertion }: TokenBody, authorization?: string) {
  return (authorization ?? secret ?? assertion) !== undefined
}

/** Reads the type of a JWT that is not verified yet: it only decides which checks follow. */
function isIdentityAssertion (assertion: string): boolean {
  try {
    const header = JSON.parse(Buffer.from(assertion.split('.')[0]!, 'base64url').toString()) as { typ?: unknown }
    return header.typ === ID_JAG_TYPE
  } catch {
    return false
  }
}

/** The workload's token is the credential, so a client id is at most the name of its service. */
async function issueToWorkload (
  body: TokenBody,
  authorization: string | undefined,
  { tokenIssuer, endpoints }: TokenServices,
  { step, limitClient }: Requester
): Promise<IssuedTokens> {
  const { assertion, scope } = readAssertionRequest({ body, target: undefined })
  if (sendsCredentials(body, authorization)) {
    throw new OAuthError('invalid_request', 'The token of a workload is its credential: send no other one')
  }
  step.note({ 'client id': body.client_id, resource: body.resource })
  const { endpoint } = readTarget(body, { endpoints })
  const { service, checkUsable, issue } = await tokenIssuer.workloadToken!(assertion)
  step.note({ 'client id': service })
  if (body.client_id !== undefined && body.client_id !== service) {
    throw new OAuthError('unauthorized_client', 'client_id must be absent, or the name of this workload\'s service', {
      detail: `the token stands for the service "${service}"`
    })
  }
  // Whoever finds a spent token must not use up the requests of its service: those count for the address alone.
  await checkUsable()
  await limitClient({ id: service }, true)
  const tokens = await issue({ scope, endpoint })
  step.outcome = 'The workload got its token'
  return { tokens, client: { id: service, kind: 'configured' }, principalKind: 'service' }
}

/** @throws OAuthError invalid_target */
function readTarget (body: TokenBody, { endpoints }: Pick<TokenServices, 'endpoints'>): TokenRequest {
  const endpoint = findResource(body.resource, endpoints)
  return { body, endpoint, target: body.resource === undefined ? undefined : endpoint }
}

/** RFC 6749 section 4.1.3, RFC 7636 section 4.5. */
function readCodeRequest ({ body, target }: TokenRequest): CodeRequest {
  const { code, redirect_uri: redirectUri, code_verifier: codeVerifier } = body
  if (code === undefined) throw new OAuthError('invalid_request', 'code is required')
  checkCodeVerifier(codeVerifier)
  return { code, redirectUri, codeVerifier, target }
}

/** RFC 6749 section 6. */
function readRefreshRequest ({ body, target }: TokenRequest): RefreshRequest {
  const { refresh_token: refreshToken, scope } = body
  if (refreshToken === undefined) throw new OAuthError('invalid_request', 'refresh_token is required')
  return { refreshToken, scope, target }
}

/** RFC 7523 section 2.1. */
function readAssertionRequest ({ body, target }: Pick<TokenRequest, 'body' | 'target'>): AssertionRequest {
  const { assertion, scope } = body
  if (assertion === undefined) throw new OAuthError('invalid_request', 'assertion is required')
  return { assertion, scope, target }
}
