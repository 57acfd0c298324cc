import { LRUCache } from 'lru-cache'
import { OAuthError } from '../../../errors/oauth-error.ts'
import { AccessDeniedError } from '../../../errors/sign-in-errors.ts'
import type { Log } from '../../../logging/log.ts'
import { IdTokenError } from '../../../provider/id-token.ts'
import type { TokenClient } from '../../../provider/token-client.ts'
import { ignoreOutage } from '../../../store/store.ts'
import type { Store } from '../../../store/store.ts'
import { toStoredTokens } from './grant.ts'
import type { Grant, StoredGrant } from './grant.ts'
import type { Grants } from './grants.ts'
import type { IdentityReader } from './identity.ts'
import { createUpstreamRefreshLock } from '../upstream-refresh-lock.ts'

export interface UpstreamRefreshOptions {
  grants: Grants
  store: Store
  upstream: Pick<TokenClient, 'requestTokens'>
  identity: Pick<IdentityReader, 'refreshIdentity'>
  /** The scope to repeat at each refresh, for providers that need it. */
  upstreamScope: string | undefined
  log: Pick<Log, 'warn'>
  /** Wall clock in milliseconds. */
  now?: () => number
}

export type UpstreamRefresh = ReturnType<typeof createUpstreamRefresh>

const MAX_UNSAVED = 1_000

/**
 * Refreshes the provider's tokens of a grant, which also tells whether the person may still sign in: when a client
 * refreshes (refresh-rotation.ts), and when a tool needs a token and the provider's has expired (token-exchange.ts).
 *
 * Providers rotate their refresh tokens. Therefore only one replica refreshes a grant at a time (`withLock`), and new
 * tokens are never lost: use one instance per process.
 *
 * Only the provider, or an access rule about its claims, ends a grant; an outage never does.
 */
export function createUpstreamRefresh (options: UpstreamRefreshOptions) {
  const { grants, store, upstream, identity, upstreamScope, log, now = Date.now } = options
  /**
   * New tokens, by grant, that the store may not have: the old refresh token may be spent from the provider's response
   * on. They are good for this record only: the store may have written after all, and another replica continued.
   */
  const unsaved = new LRUCache<string, { record: string, upstream: string }>({ max: MAX_UNSAVED })

  /** Ends the grant if the provider or an access rule refused the person. @returns the error to throw */
  async function endGrantIfRefused (err: unknown, grant: Grant): Promise<unknown> {
    if (err instanceof AccessDeniedError) {
      const fields = { grant: grant.id, subject: grant.subject, rule: err.rule, reason: err.detail }
      log.warn({ event: 'grant.access_refused', ...fields },
        'An access rule refuses a person who was admitted before: the grant ends')
      await grants.revoke(grant.id, 'refused by an access rule')
      return new OAuthError('invalid_grant', err.message, { detail: err.rule, causeCode: err.causeCode })
    }
    if (err instanceof OAuthError && err.code === 'invalid_grant') {
      await grants.revoke(grant.id, 'ended by the provider')
    }
    if (err instanceof IdTokenError) {
      const message = 'The identity provider returned no usable response; try again shortly'
      return new OAuthError('temporarily_unavailable', message, {
        detail: `the refreshed ID token: ${err.message}`, causeCode: err.causeCode, retryAfterSeconds: 5
      })
    }
    return err
  }

  return {
    withLock: createUpstreamRefreshLock(store),

    /**
     * Returns the grant with the provider's new tokens and claims, for `save`. Unchanged when the provider gave no
     * refresh token: such grants are short-lived (GRANT_MAX_AGE_UNCHECKED).
     *
     * @throws OAuthError invalid_grant when the grant has ended, otherwise temporarily_unavailable or server_error;
     * ProviderUnavailableError; StoreUnavailableError
     */
    async refresh ({ grant: stored, record }: StoredGrant): Promise<Grant> {
      const held = unsaved.get(stored.id)
      const grant = held?.record === record ? { ...stored, upstream: held.upstream } : stored
      const { refreshToken } = grants.upstreamTokens(grant)
      if (refreshToken === undefined) return grant
      let sealed: string | undefined
      try {
        const scope = upstreamScope === undefined ? {} : { scope: upstreamScope }
        const tokens = await upstream.requestTokens('refresh_token', { refresh_token: refreshToken, ...scope })
        const kept = { ...tokens, refreshToken: tokens.refreshToken ?? refreshToken }
        sealed = grants.seal(grant.id, toStoredTokens(kept, now()))
        unsaved.set(grant.id, { record, upstream: sealed })
        const claims = await identity.refreshIdentity(tokens, grant.subject, grant)
        return { ...grant, ...claims, upstream: sealed }
      } catch (err) {
        const failure = await endGrantIfRefused(err, grant)
        // The response was unusable, but its refresh token may be the only good one: keep it for the next attempt.
        if (sealed !== undefined) await grants.replace(record, { ...grant, upstream: sealed }).catch(ignoreOutage)
        throw failure
      }
    },

    /** Stores a refreshed grant. @throws OAuthError invalid_grant when the grant was ended meanwhile */
    async save (record: string, refreshed: Grant): Promise<Grant> {
      if (!await grants.replace(record, refreshed)) {
        throw new OAuthError('invalid_grant', 'The grant has ended: sign in again', {
          detail: 'its grant ended while it was refreshed'
        })
      }
      unsaved.delete(refreshed.id)
      return refreshed
    }
  }
}
