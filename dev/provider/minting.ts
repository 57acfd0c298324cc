import { randomUUID } from 'node:crypto'
import type { TokenOverrides } from './quirks.ts'
import { lifetime, signToken } from './signing.ts'
import { LOOPBACK_HOSTS, tokenIssuer } from './state.ts'
import type { ProviderState } from './state.ts'

/** Claims of an access token for Ada, as /mcp accepts it. */
export function accessTokenClaims (state: ProviderState): Record<string, unknown> {
  const { audience, clientId } = state
  return {
    iss: tokenIssuer(state),
    aud: audience,
    sub: 'ada',
    client_id: clientId,
    scope: 'openid mcp:read mcp:write',
    ...lifetime(300),
    jti: randomUUID()
  }
}

/** Posts a logout token (OpenID Connect Back-Channel Logout 1.0 section 2.5). */
export async function sendLogoutToken (
  state: ProviderState, login: string, uri: string, { claims = {}, header = {}, key }: Partial<TokenOverrides> = {}
): Promise<Response> {
  if (!LOOPBACK_HOSTS.includes(new URL(uri).hostname)) {
    throw new Error(`The development provider stays on loopback and was to send a logout token to ${uri}`)
  }
  const payload = {
    iss: tokenIssuer(state),
    aud: state.clientId,
    sub: login,
    sid: state.lastSids.get(login),
    ...lifetime(120),
    jti: randomUUID(),
    events: { 'http://schemas.openid.net/event/backchannel-logout': {} },
    ...claims
  }
  const token = await signToken(state, payload, { typ: 'logout+jwt', ...header }, key)
  const body = new URLSearchParams({ logout_token: token })
  return await fetch(uri, { method: 'POST', body, redirect: 'manual' })
}
