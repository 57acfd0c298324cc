import { decodeJwt, decodeProtectedHeader } from 'jose'
import type { Context } from 'oidc-provider'
import { claimsOf, toAliases } from './quirks.ts'
import { signToken } from './signing.ts'
import { SCOPES, findUser, standingClaims, tokenIssuer } from './state.ts'
import type { ProviderState } from './state.ts'

/** Middleware that changes the responses of `oidc-provider` into those of the providers that the quirks imitate. */
export function createDeviations (state: ProviderState) {
  const { issuer, quirks } = state

  return async function deviate (ctx: Context, next: () => Promise<void>): Promise<void> {
    await next()
    const body = ctx.body as Record<string, unknown> | undefined
    if (body?.['authorization_response_iss_parameter_supported'] === true) changeDiscovery(ctx, body, state)
    if (ctx.path === '/jwks' && quirks.emptyJwks) ctx.body = { keys: [] }
    if (body?.['error'] === 'invalid_grant' && ctx.oidc?.params?.['grant_type'] === 'refresh_token') refuse(ctx, state)
    if (ctx.path === '/token' && quirks.noExpiresIn) delete body?.['expires_in']
    if (ctx.path === '/token' && typeof body?.['scope'] === 'string') {
      await changeTokens(ctx, body, body['scope'], state)
    }
    if (quirks.refreshWithoutIdToken && ctx.oidc?.params?.['grant_type'] === 'refresh_token') delete body?.['id_token']
    const location = new URL(ctx.response.get('location'), issuer)
    if (location.searchParams.has('iss')) {
      if (quirks.issParameter || quirks.unpromisedIss) location.searchParams.set('iss', tokenIssuer(state))
      else location.searchParams.delete('iss')
      ctx.set('location', location.href)
    }
  }
}

function refuse (ctx: Context, { quirks: { deadRefreshToken } }: ProviderState): void {
  if (deadRefreshToken === undefined) return
  ctx.body = deadRefreshToken.json ?? ''
  ctx.status = deadRefreshToken.status
}

function changeDiscovery ({ path, query }: Context, document: Record<string, unknown>, state: ProviderState): void {
  const { issuer, quirks, faults } = state
  const tenant = quirks.issuerTemplate
  const isTenantsOwn = tenant === undefined || query['tenant'] === tenant
  document['issuer'] = isTenantsOwn ? tokenIssuer(state) : `${issuer}/{tenantid}/v2.0`
  if (faults.get(path) === 'wrong-issuer') document['issuer'] = `${issuer}/other`
  if (!quirks.issParameter) delete document['authorization_response_iss_parameter_supported']
  if (quirks.refuseOfflineAccess) {
    document['scopes_supported'] = SCOPES.filter((scope) => scope !== 'offline_access')
  }
  if (quirks.idTokenAlgorithms !== undefined) {
    document['id_token_signing_alg_values_supported'] = quirks.idTokenAlgorithms
  }
  if (quirks.pushedRequests === 'required') document['require_pushed_authorization_requests'] = true
  if (quirks.noRevocation || quirks.unlistedRevocation) delete document['revocation_endpoint']
}

/** Adds the user's claims to the ID token, which `oidc-provider` makes without any, and signs it again. */
async function changeTokens (
  { oidc }: Context, response: Record<string, unknown>, scope: string, state: ProviderState
): Promise<void> {
  const { quirks, lastSids } = state
  if (quirks.scopeAliases) response['scope'] = toAliases(scope)
  const original = response['id_token']
  if (typeof original !== 'string') return
  const token = decodeJwt(original)
  const login = token.sub!
  if (oidc.params['grant_type'] === 'authorization_code') lastSids.set(login, token['sid'])
  const userClaims = quirks.idTokenClaims ? claimsOf(findUser(state, login)!, new Set(scope.split(' ')), quirks) : {}
  const usual = { ...token, iss: tokenIssuer(state), ...standingClaims(state), ...userClaims }
  const { claims, header, key } = quirks.idToken?.(usual) ?? { claims: usual }
  response['id_token'] = await signToken(state, claims, { ...decodeProtectedHeader(original), ...header }, key)
}
