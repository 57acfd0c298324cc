import { setTimeout as sleep } from 'node:timers/promises'
import { IdTokenError } from '../../oidc/id-token.ts'
import { keys } from '../../store/keys.ts'
import { StoreUnavailableError } from '../../store/store.ts'
import type { Store } from '../../store/store.ts'
import { AccessDeniedError, checkAccess } from '../access-rules.ts'
import type { AccessRules } from '../access-rules.ts'
import { OAuthError } from '../errors.ts'
import { digest, sameSecret } from '../../crypto/secrets.ts'
import type { Upstream, UpstreamTokens } from '../upstream.ts'
import { readRefreshToken } from './grants.ts'
import type { Grant, Grants, RefreshToken } from './grants.ts'
import { identifyAgain } from './identity.ts'
import type { IdentityServices } from './identity.ts'

/**
 * Refresh tokens rotate at each use (OAuth 2.1 section 4.3.1), in one atomic step of the store. Whoever repeats one
 * within the grace window gets the same successor: answers get lost, and hosted clients refresh from two machines at
 * once. After it, a repeat is theft, and the grant ends.
 *
 * Before it rotates, the provider is asked whether the person is still welcome, by at most one replica at a time. Only
 * its own word ends the grant; its outage never does.
 */
export interface RefreshServices extends IdentityServices {
  grants: Grants
  store: Store
  upstream: Pick<Upstream, 'userinfo' | 'requestTokens'>
  access: AccessRules
  /** The scope to repeat at each refresh, for providers that need it. */
  upstreamScope: string | undefined
  log: { info (fields: object, message: string): void, warn (fields: object, message: string): void }
  /** Wall clock in milliseconds. */
  now?: () => number
}

export type Refresh = (token: string, clientId: string) => Promise<Grant>

const GRACE_MS = 30_000

/** The provider has 10 s for each of two answers. */
const LOCK_SECONDS = 30
const WAIT_MS = 25_000
const POLL_MS = 50

/** What the provider gave, kept until the store has it. */
const MAX_CARRIED = 1_000

/** @returns a function that gives the grant as it is after the refresh, and throws OAuthError, ProviderUnavailableError or StoreUnavailableError */
export function createRefresh (services: RefreshServices): Refresh {
  const { grants, store, log, now = Date.now } = services
  const underWay = new Map<string, Promise<Grant>>()
  const carried = new Map<string, { record: string, upstream: string }>()

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
    const lock = keys.refreshing(token.grantId)
    if (!await store.setIfAbsent(lock, '1', LOCK_SECONDS)) return await waitForOther(token, lock)
    try {
      const { grant: found, record } = await load(token)
      const done = await successor(found, token)
      if (done !== undefined) return done
      const kept = carried.get(found.id)
      const grant = kept?.record === record ? { ...found, upstream: kept.upstream } : found
      if (token.number > grant.number) log.warn({ grant: grant.id, number: token.number, current: grant.number }, 'The store has lost a rotation: going on from the refresh token that the client holds')
      const news = await askProvider(grant, record)
      return await keep(record, grants.next({ ...grant, ...news }, token.number))
    } finally {
      await store.delete(lock).catch(ignoreOutage)
    }
  }

  async function keep (record: string, next: Grant): Promise<Grant> {
    if (!await grants.replace(record, next)) throw refused('its grant ended while it was refreshed')
    carried.delete(next.id)
    return next
  }

  /**
   * From the provider's answer on, its old refresh token may be spent: should the store be gone just now, the new one is
   * here for the client's next try. It is good for this record only: the store may have written after all, and another
   * replica gone on.
   */
  function carry (grantId: string, record: string, upstream: string): void {
    carried.delete(grantId)
    if (carried.size >= MAX_CARRIED) carried.delete(carried.keys().next().value!)
    carried.set(grantId, { record, upstream })
  }

  /** Another replica asks the provider: its success is ours, and its failure too. */
  async function waitForOther (token: RefreshToken, lock: string): Promise<Grant> {
    const until = performance.now() + WAIT_MS
    for (;;) {
      const held = await store.get(lock) !== undefined
      const { grant } = await load(token)
      const done = await successor(grant, token)
      if (done !== undefined) return done
      if (!held || performance.now() > until) {
        throw new OAuthError('temporarily_unavailable', 'The grant could not be refreshed just now; try again shortly', { detail: 'another replica tried and did not succeed', retryAfterSeconds: 1 })
      }
      await sleep(POLL_MS)
    }
  }

  /** A provider that gave no refresh token cannot be asked; such grants are short (GRANT_MAX_AGE_UNCHECKED). */
  async function askProvider (grant: Grant, record: string): Promise<Partial<Grant>> {
    const known = grants.upstreamTokens(grant)
    if (known.refreshToken === undefined) return {}
    let upstream: string | undefined
    try {
      const tokens = await services.upstream.requestTokens('refresh_token', {
        refresh_token: known.refreshToken,
        ...(services.upstreamScope !== undefined && { scope: services.upstreamScope })
      })
      upstream = grants.seal(grant.id, { accessToken: tokens.accessToken, refreshToken: tokens.refreshToken ?? known.refreshToken })
      carry(grant.id, record, upstream)
      const claims = await identify(tokens, grant)
      checkAccess(claims, services.access)
      return { claims, upstream }
    } catch (err) {
      const outcome = await judge(err, grant)
      // The answer was of no use, but its refresh token may be the one that is good now: for the next try, on any replica.
      if (upstream !== undefined) await grants.replace(record, { ...grant, upstream }).catch(ignoreOutage)
      throw outcome
    }
  }

  async function identify (tokens: UpstreamTokens, grant: Grant): Promise<Record<string, unknown>> {
    return await identifyAgain(tokens, grant.subject, grant.claims, services)
  }

  /** Ends the grant where the provider, or a rule about what it says, ended it; everything else passes by. */
  async function judge (err: unknown, grant: Grant): Promise<unknown> {
    if (err instanceof AccessDeniedError) {
      log.warn({ grant: grant.id, subject: grant.subject, rule: err.rule, reason: err.detail ?? err.message }, 'An access rule refuses who was admitted before')
      await grants.revoke(grant.id, 'refused by an access rule')
      return new OAuthError('invalid_grant', err.message, { detail: err.rule })
    }
    if (err instanceof OAuthError && err.code === 'invalid_grant') await grants.revoke(grant.id, 'ended by the provider')
    if (err instanceof IdTokenError) {
      return new OAuthError('temporarily_unavailable', 'The identity provider gave no usable answer; try again shortly', { detail: `the refreshed ID token: ${err.message}`, retryAfterSeconds: 5 })
    }
    return err
  }

  return async function refresh (given, clientId) {
    const token = readRefreshToken(given)
    if (token === undefined) throw refused('it is not of the form of a refresh token')
    const { grant } = await load(token)
    // Nothing is ended for what Seed did not make, or for another client: anyone could end anyone's grant.
    if (!grants.isGenuine(token, grant)) throw refused('it was not made here (or SEED_SECRET was changed)')
    if (token.number === grant.number && !sameSecret(digest(given), grant.currentHash)) throw refused('it is not the current one')
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

function ignoreOutage (err: unknown): void {
  if (!(err instanceof StoreUnavailableError)) throw err
}
