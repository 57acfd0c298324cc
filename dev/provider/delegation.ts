import { randomUUID } from 'node:crypto'
import { decodeJwt } from 'jose'
import type { Client, Context, Provider } from 'oidc-provider'
import { JWT_BEARER } from '../../src/oauth/protocol/grant-types.ts'
import { ID_JAG, issueIdentityAssertion } from './identity-assertions.ts'
import type { DevUser, Quirks } from './quirks.ts'
import { findAccessToken, lifetime, signToken } from './signing.ts'
import { SCOPES, findUser, tokenIssuer } from './state.ts'
import type { ProviderState } from './state.ts'

type Errors = typeof import('oidc-provider').errors
type GrantHandler = (ctx: Context) => Promise<Record<string, unknown>>

export const TOKEN_EXCHANGE = 'urn:ietf:params:oauth:grant-type:token-exchange'
const ACCESS_TOKEN = 'urn:ietf:params:oauth:token-type:access_token'

/**
 * Registers both grant types with which a confidential client gets a token for another API on behalf of a user. Token
 * exchange also gives a company's client an ID-JAG for another server.
 */
export function registerDelegation (provider: Provider, state: ProviderState, errors: Errors): void {
  const register = (name: string, form: Quirks['delegation'], handler: GrantHandler, parameters: string[]): void => {
    provider.registerGrantType(name, async (ctx) => {
      if (name === TOKEN_EXCHANGE && ctx.oidc.params['requested_token_type'] === ID_JAG) {
        ctx.body = await issueIdentityAssertion(ctx, state, errors)
        return
      }
      if (state.quirks.delegation !== form) throw new errors.UnsupportedGrantType()
      if (ctx.oidc.client.clientAuthMethod === 'none') {
        throw new errors.UnauthorizedClient('Public client is not allowed to exchange tokens')
      }
      ctx.body = await handler(ctx)
    }, parameters)
  }
  register(TOKEN_EXCHANGE, 'token-exchange', async (ctx) => await exchangeToken(ctx, state, errors),
    ['subject_token', 'subject_token_type', 'requested_token_type', 'audience', 'resource', 'scope'])
  register(JWT_BEARER, 'on-behalf-of', async (ctx) => await onBehalfOf(ctx, state, errors),
    ['assertion', 'requested_token_use', 'scope'])
  provider.registerGrantType('client_credentials', async (ctx) => {
    ctx.body = await clientCredentials(ctx, state, errors)
  }, ['audience', 'resource', 'scope'])
}

/** RFC 6749 section 4.4: a confidential client gets a token of its own for another API. */
async function clientCredentials ({ oidc: { params, client } }: Context, state: ProviderState, errors: Errors) {
  const { scope = '' } = params
  const { audience = scope.replace(/\/\.default$/, '') } = params
  if (client.clientAuthMethod === 'none') throw new errors.UnauthorizedClient('Public client')
  if (!state.quirks.exchangeAudiences.includes(audience)) throw new errors.InvalidTarget()
  return await issueDelegatedToken({ login: client.clientId }, audience, params.scope, client, state)
}

/** RFC 8693: exchanges an access token of this client for one for another API. */
async function exchangeToken ({ oidc: { params, client } }: Context, state: ProviderState, errors: Errors) {
  const { subject_token: token = '', subject_token_type: type, requested_token_type: requested = ACCESS_TOKEN } = params
  const { audience = '', scope } = params
  if (type !== ACCESS_TOKEN || requested !== ACCESS_TOKEN) {
    throw new errors.InvalidRequest('access tokens are exchanged for access tokens')
  }
  const user = await findSubject(token, client, state)
  // Section 2.2.2: "invalid for any reason, or unacceptable based on policy".
  if (user === undefined) throw new errors.InvalidRequest('Invalid token')
  if (!state.quirks.exchangeAudiences.includes(audience)) throw new errors.InvalidTarget()
  const unknown = scope?.split(' ').find((name) => !SCOPES.includes(name))
  if (unknown !== undefined) throw new errors.InvalidScope(`Invalid scopes: ${unknown}`, unknown)
  return { ...await issueDelegatedToken(user, audience, scope, client, state), issued_token_type: ACCESS_TOKEN }
}

/** Entra's form, which is older than RFC 8693. The asserted token must be for the client itself. */
async function onBehalfOf ({ oidc: { params, client } }: Context, state: ProviderState, errors: Errors) {
  const { assertion = '', requested_token_use: use, scope = '' } = params
  if (use !== 'on_behalf_of') {
    throw new errors.InvalidRequest(
      "AADSTS900144: The request body must contain the following parameter: 'requested_token_use'.")
  }
  const user = await findSubject(assertion, client, state)
  if (user === undefined || decodeJwt(assertion).aud !== state.audience) {
    throw new errors.InvalidGrant('AADSTS50013: Assertion failed signature validation.')
  }
  const scopes = scope.split(' ')
  const target = scopes[0]!.slice(0, scopes[0]!.lastIndexOf('/'))
  if (!state.quirks.exchangeAudiences.includes(target) || !scopes.every((name) => name.startsWith(`${target}/`))) {
    const message = 'AADSTS70011: The provided value for the input parameter scope is not valid.'
    throw new errors.InvalidScope(message, scope)
  }
  return await issueDelegatedToken(user, target, scope.replaceAll(`${target}/`, ''), client, state)
}

/** Finds the user of an access token that is valid and was issued to this client. */
async function findSubject (token: string, client: Client, state: ProviderState): Promise<DevUser | undefined> {
  const stored = await findAccessToken(state, token)
  return stored?.['clientId'] === client.clientId ? findUser(state, stored.accountId!) : undefined
}

async function issueDelegatedToken (
  { login }: Pick<DevUser, 'login'>,
  audience: string,
  scope: string | undefined,
  { clientId }: Client,
  state: ProviderState
): Promise<Record<string, unknown>> {
  const ttlSeconds = state.quirks.exchangedTtlSeconds
  const claims = {
    iss: tokenIssuer(state),
    aud: audience,
    sub: login,
    azp: clientId,
    act: { sub: clientId },
    scope,
    ...lifetime(ttlSeconds),
    jti: randomUUID()
  }
  const token = await signToken(state, claims, { typ: 'at+jwt' })
  return { access_token: token, token_type: 'Bearer', expires_in: ttlSeconds, ...(scope !== undefined && { scope }) }
}
