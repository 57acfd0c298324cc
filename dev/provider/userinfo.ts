import type { IncomingMessage, ServerResponse } from 'node:http'
import { claimsOf } from './quirks.ts'
import { findAccessToken, signToken } from './signing.ts'
import { findUser, standingClaims, tokenIssuer } from './state.ts'
import type { ProviderState } from './state.ts'

/** The userinfo endpoint. That of `oidc-provider` refuses JWTs, and tokens that are meant for an API. */
export async function sendUserinfo (req: IncomingMessage, res: ServerResponse, state: ProviderState): Promise<void> {
  const token = /^Bearer (\S+)$/i.exec(req.headers.authorization ?? '')?.[1]
  const stored = token === undefined ? undefined : await findAccessToken(state, token)
  const user = stored && findUser(state, stored.accountId!)
  const scopes = new Set(String(stored?.['scope']).split(' '))
  if (user !== undefined && scopes.has('openid')) {
    const claims = { sub: user.login, ...standingClaims(state), ...claimsOf(user, scopes, state.quirks) }
    if (!state.quirks.signedUserinfo) return sendJson(res, 200, claims)
    const jwt = await signToken(state, { iss: tokenIssuer(state), aud: stored!['clientId'], ...claims }, {})
    res.writeHead(200, { 'content-type': 'application/jwt' }).end(jwt)
    return
  }
  const [status, error] = user === undefined ? [401, 'invalid_token'] : [403, 'insufficient_scope']
  sendJson(res, status as number, { error }, { 'www-authenticate': `Bearer error="${error}"` })
}

export function sendJson (
  res: ServerResponse, status: number, json: unknown, headers: Record<string, string> = {}
): void {
  res.writeHead(status, { 'content-type': 'application/json', 'cache-control': 'no-store', ...headers })
    .end(JSON.stringify(json))
}
