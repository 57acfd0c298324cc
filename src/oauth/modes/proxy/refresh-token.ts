import { LRUCache } from 'lru-cache'
import { createSingleFlight } from '../../../async/single-flight.ts'
import { OAuthError } from '../../../errors/oauth-error.ts'
import type { Log } from '../../../logging/log.ts'
import type { TokenClient } from '../../../provider/token-client.ts'
import type { TokenResponse } from '../../../schemas/token.ts'
import { grantedScopes } from '../../protocol/scope.ts'
import type { TokenIssuer } from '../mode.ts'
import type { createUpstreamRefreshLock } from '../upstream-refresh-lock.ts'
import type { ForwardTokens } from './forward-tokens.ts'
import type { RefreshFamilies, RefreshFamily, StoredFamily } from './refresh-families.ts'
import type { RefreshToken, RefreshTokenClient, RefreshTokenFormat } from './refresh-token-format.ts'

export interface RefreshTokenGrantOptions {
  format: RefreshTokenFormat
  families: Pick<RefreshFamilies, 'find' | 'currentResponse' | 'rotate' | 'revoke' | 'end'>
  withLock: ReturnType<typeof createUpstreamRefreshLock>
  upstream: Pick<TokenClient, 'requestTokens'>
  forwardTokens: ForwardTokens
  /** Whether all scopes are repeated at each refresh, for providers that need it. */
  alwaysAllScopes: boolean
  log: Pick<Log, 'warn'>
  /** Wall clock in milliseconds. */
  now?: () => number
}

const GRACE_MS = 30_000
const MAX_HELD = 1_000

/**
 * `refresh_token` (OAuth 2.1 section 4.3). The client's refresh token holds the provider's, sealed, and is replaced at
 * each use, whether the provider replaces its own or not. A token that is used again within the grace window gets the
 * same response: responses get lost, and hosted clients refresh from two machines at once. After it a second use is
 * theft, and the family ends.
 */
export function createRefreshTokenGrant (options: RefreshTokenGrantOptions): TokenIssuer['refreshToken'] {
  const { format, families, withLock, upstream, forwardTokens, alwaysAllScopes, log, now = Date.now } = options
  const singleFlight = createSingleFlight<TokenResponse>()
  /** New refresh tokens of the provider that no client has got: the old one may be spent, and a retry needs them. */
  const held = new LRUCache<string, string>({ max: MAX_HELD })

  async function load (token: RefreshToken): Promise<StoredFamily> {
    const stored = await families.find(token.familyId)
    if (stored === undefined) throw invalidGrant('its family has ended, or was unused for REFRESH_TOKEN_TTL')
    return stored
  }

  /** Returns the response if the token was used before: a repetition within the grace window, theft after it. */
  async function alreadyRotated (
    family: RefreshFamily, token: RefreshToken, client: RefreshTokenClient
  ): Promise<TokenResponse | undefined> {
    if (token.number >= family.number) return undefined
    if (token.number === family.number - 1 && now() - family.rotatedAt <= GRACE_MS) {
      const response = await families.currentResponse(token.familyId, family)
      if (response !== undefined) return response
      throw invalidGrant('it was replaced, and SEED_SECRET has changed since')
    }
    const fields = { family: token.familyId, clientId: client.id, number: token.number, current: family.number }
    log.warn({ event: 'family.refresh_token_reused', ...fields },
      'A refresh token was used again after it had been replaced: its family ends')
    await families.revoke(token, client, 'refresh token used again after the grace window').catch((err: unknown) => {
      const reason = (err as OAuthError).detail ?? (err as Error).message
      log.warn({ event: 'family.upstream_revocation_failed', ...fields, reason },
        "A family has ended here; the provider's token could not be revoked")
    })
    throw invalidGrant('it was replaced before: its family has ended')
  }

  async function requestTokens (token: RefreshToken, scopes: readonly string[] | undefined) {
    const key = `${token.familyId}.${token.number}`
    const refreshToken = held.get(key) ?? token.upstream
    try {
      const tokens = await upstream.requestTokens('refresh_token', {
        refresh_token: refreshToken, ...(scopes !== undefined && { scope: scopes.join(' ') })
      })
      if (tokens.refreshToken !== undefined) held.set(key, tokens.refreshToken)
      return { ...tokens, refreshToken: tokens.refreshToken ?? refreshToken }
    } catch (err) {
      const isEnded = err instanceof OAuthError && err.code === 'invalid_grant'
      if (isEnded) await families.end(token.familyId, 'ended by the provider')
      throw err
    }
  }

  async function refreshAndRotate (
    token: RefreshToken, client: RefreshTokenClient, scopes: readonly string[] | undefined
  ): Promise<TokenResponse> {
    const pollOutcome = async () => await alreadyRotated((await load(token)).family, token, client)
    return await withLock(token.familyId, 'refresh', async () => {
      // Read again: another replica may have held the lock.
      const stored = await load(token)
      const rotated = await alreadyRotated(stored.family, token, client)
      if (rotated !== undefined) return rotated
      const tokens = await requestTokens(token, scopes)
      const next = { ...token, number: token.number + 1, upstream: tokens.refreshToken }
      const response = { ...await forwardTokens(tokens, client.id), refresh_token: await format.seal(next, client) }
      if (!await families.rotate(token.familyId, stored, next.number, response)) {
        throw invalidGrant('its family ended while it was refreshed')
      }
      held.delete(`${token.familyId}.${token.number}`)
      return response
    }, pollOutcome)
  }

  return async function refresh ({ refreshToken, scope }, client) {
    const token = await format.open(refreshToken, client)
    if (token === undefined) {
      throw invalidGrant('it was not issued here, or to another client, or SEED_SECRET was changed')
    }
    const { family } = await load(token)
    const scopes = upstreamScopes(scope, family.scope, alwaysAllScopes)
    return await alreadyRotated(family, token, client) ??
      await singleFlight(`${token.familyId}.${token.number}`, async () => await refreshAndRotate(token, client, scopes))
  }
}

/** Scopes that were not allowed on the consent page are left out; the provider decides about the others. */
function upstreamScopes (
  requested: string | undefined, allowed: string, alwaysAllScopes: boolean
): readonly string[] | undefined {
  const all = allowed.split(' ')
  if (requested !== undefined && !requested.split(' ').some((name) => all.includes(name))) {
    throw new OAuthError('invalid_scope', 'scope names nothing that was granted')
  }
  if (alwaysAllScopes) return all
  return requested === undefined ? undefined : grantedScopes(requested, all)
}

function invalidGrant (detail: string): OAuthError {
  return new OAuthError('invalid_grant', 'The refresh token is not valid (any more): sign in again', { detail })
}
