import { AccessDeniedError } from '../../../errors/sign-in-errors.ts'
import { setTimeout as sleep } from 'node:timers/promises'
import { IdTokenError } from '../../../provider/id-token.ts'
import { keys } from '../../../store/keys.ts'
import { ignoreOutage } from '../../../store/store.ts'
import type { Store } from '../../../store/store.ts'
import { checkAccess } from '../../../tokens/access-rules.ts'
import type { AccessRules } from '../../../tokens/access-rules.ts'
import { OAuthError } from '../../../errors/oauth-error.ts'
import type { TokenClient } from '../../../provider/token-client.ts'
import { toStoredTokens } from './grants.ts'
import type { Grant, Grants } from './grants.ts'
import { refreshIdentity } from './identity.ts'
import type { IdentityServices } from './identity.ts'

/**
 * Asks the provider whether a person is still welcome, and for new tokens of its own: when a client refreshes
 * (refresh.ts), and when a tool needs a token and the provider's has expired (token-exchange.ts). Providers rotate their
 * refresh tokens, so that at most one replica asks at a time, and what it was given is never lost: there is one of this
 * in a process.
 *
 * Only the provider's own word, or an access rule about what it says, ends the grant; its outage never does.
 */
export interface UpstreamRefresh {
  /**
   * Runs `work` while nobody else, on any replica, asks the provider about this grant. Who finds another one at it waits:
   * the failure of one with the same purpose is its own failure, and after one with the other purpose it is its turn.
   *
   * @param meanwhile what there is already of the outcome; asked again and again while waiting
   * @throws OAuthError temporarily_unavailable when the other one did not succeed, or takes too long; what the two throw
   */
  withLock<T> (grantId: string, purpose: Purpose, work: () => Promise<T>, meanwhile: () => Promise<T | undefined>): Promise<T>
  /**
   * The grant as it is after the provider's answer, for `keep`. A provider that gave no refresh token cannot be asked; such
   * grants are short (GRANT_MAX_AGE_UNCHECKED), and stay as they are.
   *
   * @throws OAuthError invalid_grant when the grant has ended with this, otherwise temporarily_unavailable or server_error;
   * ProviderUnavailableError; StoreUnavailableError
   */
  refresh (found: { grant: Grant, record: string }): Promise<Grant>
  /** @throws OAuthError invalid_grant when the grant was ended meanwhile */
  save (record: string, renewed: Grant): Promise<Grant>
}

/** A client's refresh token is to be replaced, or a tool needs the provider's access token. */
export type Purpose = 'refresh' | 'tool'

export interface UpstreamRefreshServices extends IdentityServices {
  grants: Grants
  store: Store
  upstream: Pick<TokenClient, 'userinfo' | 'requestTokens'>
  access: AccessRules
  /** The scope to repeat at each refresh, for providers that need it. */
  upstreamScope: string | undefined
  log: { info (fields: object, message: string): void, warn (fields: object, message: string): void }
  /** Wall clock in milliseconds. */
  now?: () => number
}

/** The provider has 10 s for each of two answers. */
const LOCK_SECONDS = 30
const WAIT_MS = 25_000
const POLL_MS = 50

/** What the provider gave, kept until the store has it. */
const MAX_CARRIED = 1_000

export function createUpstreamRefresh (services: UpstreamRefreshServices): UpstreamRefresh {
  const { grants, store, log, now = Date.now } = services
  const carried = new Map<string, { record: string, upstream: string }>()

  /**
   * From the provider's answer on, its old refresh token may be spent: should the store be gone just now, the new one is
   * here for the next try. It is good for this record only: the store may have written after all, and another replica
   * gone on.
   */
  function carry (grantId: string, record: string, upstream: string): void {
    carried.delete(grantId)
    if (carried.size >= MAX_CARRIED) carried.delete(carried.keys().next().value!)
    carried.set(grantId, { record, upstream })
  }

  /** @returns undefined when it is our turn */
  async function waitForOther<T> (lock: string, purpose: Purpose, until: number, meanwhile: () => Promise<T | undefined>): Promise<T | undefined> {
    let other: string | undefined
    for (;;) {
      const holder = await store.get(lock)
      const done = await meanwhile()
      if (done !== undefined) return done
      other = holder ?? other
      if (holder === undefined && other !== purpose) return undefined
      if (holder === undefined || performance.now() > until) {
        throw new OAuthError('temporarily_unavailable', 'The grant could not be refreshed just now; try again shortly', { detail: 'another replica tried and did not succeed', retryAfterSeconds: 1 })
      }
      await sleep(POLL_MS)
    }
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

  return {
    async withLock (grantId, purpose, work, meanwhile) {
      const lock = keys.refreshing(grantId)
      const until = performance.now() + WAIT_MS
      while (!await store.setIfAbsent(lock, purpose, LOCK_SECONDS)) {
        const done = await waitForOther(lock, purpose, until, meanwhile)
        if (done !== undefined) return done
      }
      try {
        return await work()
      } finally {
        await store.delete(lock).catch(ignoreOutage)
      }
    },

    async refresh ({ grant: found, record }) {
      const kept = carried.get(found.id)
      const grant = kept?.record === record ? { ...found, upstream: kept.upstream } : found
      const known = grants.upstreamTokens(grant)
      if (known.refreshToken === undefined) return grant
      let upstream: string | undefined
      try {
        const tokens = await services.upstream.requestTokens('refresh_token', {
          refresh_token: known.refreshToken,
          ...(services.upstreamScope !== undefined && { scope: services.upstreamScope })
        })
        upstream = grants.seal(grant.id, toStoredTokens({ ...tokens, refreshToken: tokens.refreshToken ?? known.refreshToken }, now()))
        carry(grant.id, record, upstream)
        const claims = await refreshIdentity(tokens, grant.subject, grant.claims, services)
        checkAccess(claims, services.access)
        return { ...grant, claims, upstream }
      } catch (err) {
        const outcome = await judge(err, grant)
        // The answer was of no use, but its refresh token may be the one that is good now: for the next try, on any replica.
        if (upstream !== undefined) await grants.replace(record, { ...grant, upstream }).catch(ignoreOutage)
        throw outcome
      }
    },

    async save (record, renewed) {
      if (!await grants.replace(record, renewed)) throw new OAuthError('invalid_grant', 'The grant has ended: sign in again', { detail: 'its grant ended while it was refreshed' })
      carried.delete(renewed.id)
      return renewed
    }
  }
}
