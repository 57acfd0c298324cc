import { OAuthError } from '../../../errors/oauth-error.ts'
import { digest, timingSafeEquals } from '../../../crypto/hash.ts'
import { readRefreshToken } from './grants.ts'
import type { Grant, Grants, RefreshToken } from './grants.ts'
import type { UpstreamRefresh } from './upstream-refresh.ts'

/**
 * Refresh tokens rotate at each use (OAuth 2.1 section 4.3.1), in one atomic step of the store. Whoever repeats one
 * within the grace window gets the same successor: answers get lost, and hosted clients refresh from two machines at
 * once. After it, a repeat is theft, and the grant ends.
 *
 * Before it rotates, the provider is asked whether the person is still welcome (renewal.ts).
 */
export interface RefreshServices {
  grants: Grants
  renewal: UpstreamRefresh
  log: { warn (fields: object, message: string): void }
  /** Wall clock in milliseconds. */
  now?: () => number
}

export type RotateRefreshToken = (token: string, clientId: string) => Promise<Grant>

const GRACE_MS = 30_000

/** @returns a function that gives the grant as it is after the refresh, and throws OAuthError, ProviderUnavailableError or StoreUnavailableError */
export function createRefreshRotation (services: RefreshServices): RotateRefreshToken {
  const { grants, renewal, log, now = Date.now } = services
  const underWay = new Map<string, Promise<Grant>>()

  /** The grant after `token` was used, if that happened already: within the grace window that is an answer, after it theft. */
  async function successor (grant: Grant, token: RefreshToken): Promise<Grant | undefined> {
    if (token.number >= grant.number) return undefined
    if (token.number === grant.number - 1 && now() - grant.rotatedAt <= GRACE_MS) return grant
    log.warn({ grant: grant.id, subject: grant.subject, clientId: grant.clientId, number: token.number, current: grant.number }, 'A refresh token was used again after it had been replaced: the grant ends')
    await grants.revoke(grant.id, 'refresh token used again after the grace window')
    throw refused('it was replaced before: its grant has ended')
  }

  async function load (token: RefreshToken): Promise<{ grant: Grant, record: string }> {
    const found = await grants.find(token.grantId)
    if (found === undefined) throw refused('its grant has ended, or was never given')
    if (found.grant.expiresAt * 1_000 <= now()) throw refused('its grant has reached its greatest age (GRANT_MAX_AGE)')
    return found
  }

  async function rotate (token: RefreshToken): Promise<Grant> {
    return await renewal.withLock(token.grantId, 'refresh', async () => {
      const { grant, record } = await load(token)
      const done = await successor(grant, token)
      if (done !== undefined) return done
      if (token.number > grant.number) log.warn({ grant: grant.id, number: token.number, current: grant.number }, 'The store has lost a rotation: going on from the refresh token that the client holds')
      const renewed = await renewal.refresh({ grant, record })
      return await renewal.save(record, grants.rotate(renewed, token.number))
    }, async () => await successor((await load(token)).grant, token))
  }

  return async function refresh (given, clientId) {
    const token = readRefreshToken(given)
    if (token === undefined) throw refused('it is not of the form of a refresh token')
    const { grant } = await load(token)
    // Nothing is ended for what Seed did not make, or for another client: anyone could end anyone's grant.
    if (!grants.isGenuine(token, grant)) throw refused('it was not made here (or SEED_SECRET was changed)')
    if (token.number === grant.number && !timingSafeEquals(digest(given), grant.currentHash)) throw refused('it is not the current one')
    if (clientId !== grant.clientId) throw refused('it was issued to another client')
    const done = await successor(grant, token)
    if (done !== undefined) return done
    const name = `${token.grantId}.${token.number}`
    const running = underWay.get(name) ?? rotate(token).finally(() => { underWay.delete(name) })
    underWay.set(name, running)
    return await running
  }
}

function refused (detail: string): OAuthError {
  return new OAuthError('invalid_grant', 'The refresh token is not valid (any more): sign in again', { detail })
}
