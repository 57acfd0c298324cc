import { keys } from '../../../store/keys.ts'
import { clientKey, grantKey, subjectKey } from '../../../tokens/revocations.ts'
import { randomId } from '../../../crypto/hash.ts'
import { grantRecord } from './grant.ts'
import type { Grant, StoredGrant, StoredTokens } from './grant.ts'
import type { GrantsOptions } from './grants-options.ts'
import { createGrantRevocation } from './grant-revocation.ts'
import type { RevocationReason } from './grant-revocation.ts'
import { indexKeys } from './grant-index.ts'
import { createRefreshTokens } from './refresh-token-format.ts'
import { createSealedTokens } from './sealed-tokens.ts'

export interface NewGrant extends Pick<
  Grant,
  'clientId' | 'clientKind' | 'clientAuthMethod' | 'clientName' | 'subject' | 'endpoint' | 'scope' | 'claims' |
  'userinfoClaims' | 'refreshes' | 'reference' | 'authentication'
> {
  sid: string | undefined
  upstream: StoredTokens
}

export type Grants = ReturnType<typeof createGrants>

/** The grants of broker mode, in the store. */
export function createGrants (options: GrantsOptions) {
  const { store, keyring, revocations, lifetimes, log, now = Date.now } = options
  let isWarned = false
  const refreshTokens = createRefreshTokens(keyring)
  const { seal, open: upstreamTokens } = createSealedTokens(keyring)

  function ttlOf ({ expiresAt, refreshes }: Grant): number {
    const left = expiresAt - Math.floor(now() / 1_000)
    const unused = refreshes ? lifetimes.refreshTokenTtlSeconds : lifetimes.accessTokenTtlSeconds
    return Math.max(1, Math.min(left, unused))
  }

  /** Returns a grant that is live: stored, and older than no revocation of its person or client. */
  async function find (grantId: string): Promise<StoredGrant | undefined> {
    const stored = await grantRecord.find(store, keys.grant(grantId))
    if (stored === undefined) return undefined
    const { value: grant, text: record } = stored
    const owners = [subjectKey(grant.subject), clientKey(grant.clientId)]
    return await revocations.isRevoked(owners, grant.createdAt) ? undefined : { grant, record }
  }

  const { revokeGrants, revokeAll } = createGrantRevocation(options, { find, upstreamTokens })

  return {
    find,
    seal,

    /** @throws OAuthError when SEED_SECRET no longer opens them */
    upstreamTokens,

    /** The grant's current refresh token. */
    refreshToken: refreshTokens.currentToken,

    /** Whether Seed made this refresh token for this grant. */
    isGenuine: refreshTokens.isGenuine,

    /**
     * Creates a grant whose authorization code has still to be redeemed. It can be revoked already. The code holds it
     * until `activate` stores it.
     */
    async create ({ upstream: tokens, ...details }: NewGrant): Promise<Grant> {
      const id = randomId(16)
      const { maxAgeSeconds, maxAgeUncheckedSeconds } = lifetimes
      const isUnchecked = tokens.refreshToken === undefined
      if (isUnchecked && !isWarned) {
        isWarned = true
        log.warn({ event: 'provider.no_refresh_token', maxAgeSeconds: lifetimes.maxAgeUncheckedSeconds },
          'The provider issued no refresh token: ' +
          'sign-ins end after GRANT_MAX_AGE_UNCHECKED. Ask for offline_access (OIDC_SCOPES), or allow refresh tokens ' +
          'to this client at the provider')
      }
      const maxAge = isUnchecked ? Math.min(maxAgeUncheckedSeconds, maxAgeSeconds) : maxAgeSeconds
      const grant = refreshTokens.withToken({
        ...details,
        id,
        createdAt: Math.floor(now() / 1_000),
        expiresAt: Math.floor(now() / 1_000) + maxAge,
        upstream: seal(id, tokens),
        salt: randomId(16),
        number: 0,
        keyId: '',
        currentHash: '',
        rotatedAt: 0
      }, 0, now())
      for (const key of indexKeys(grant)) await store.addMember(key, id, maxAge)
      return grant
    },

    /** Stores a grant whose code has been redeemed, unless it was revoked meanwhile. */
    async activate (created: Grant): Promise<Grant> {
      const grant = refreshTokens.withToken(created, 1, now())
      // Write, then check: whoever revokes marks first and deletes then, so one of the two sees the other.
      await store.set(keys.grant(grant.id), grantRecord.serialize(grant), ttlOf(grant))
      if (await revocations.isRevoked([grantKey(grant.id)], 0)) await store.delete(keys.grant(grant.id))
      return grant
    },

    /** Replaces a grant in the store. @returns false when it was changed or ended since `record` was read */
    async replace (record: string, grant: Grant): Promise<boolean> {
      return await store.compareAndSet(keys.grant(grant.id), record, grantRecord.serialize(grant), ttlOf(grant))
    },

    /** Returns the grant with the refresh token that follows `number` as its current one. */
    rotate: (grant: Grant, number: number): Grant => refreshTokens.withToken(grant, number + 1, now()),

    /**
     * Ends a grant and its access tokens on every replica, and the provider's token if possible. If the grant is not in
     * the store, its access tokens end.
     */
    async revoke (grantId: string, reason: RevocationReason): Promise<void> {
      await revokeGrants([grantId], reason)
    },

    /** Ends these grants in the same way. @returns how many of them were in the store */
    revokeMany: revokeGrants,

    /** Ends all grants of an owner, and their access tokens. @returns how many there were */
    revokeAll
  }
}
