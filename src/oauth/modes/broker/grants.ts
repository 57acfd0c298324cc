import { keys } from '../../../store/keys.ts'
import type { Store } from '../../../store/store.ts'
import type { OAuthError } from '../../../errors/oauth-error.ts'
import type { Log } from '../../../logging/log.ts'
import { clientKey, grantKey, subjectKey } from '../../../tokens/revocations.ts'
import type { Revocations } from '../../../tokens/revocations.ts'
import { digest, randomId } from '../../../crypto/hash.ts'
import type { Keyring } from '../../../crypto/keyring.ts'
import type { TokenClient } from '../../../provider/token-client.ts'
import type { Grant, StoredGrant, StoredTokens } from './grant.ts'
import { createRefreshTokens } from './refresh-token-format.ts'
import { createSealedTokens } from './sealed-tokens.ts'

export interface GrantsOptions {
  store: Store
  keyring: Keyring
  revocations: Revocations
  upstream: Pick<TokenClient, 'revoke'>
  lifetimes: GrantLifetimes
  log: Pick<Log, 'info' | 'warn'>
  /** Wall clock in milliseconds. */
  now?: () => number
}

export interface GrantLifetimes {
  accessTokenTtlSeconds: number
  refreshTokenTtlSeconds: number
  maxAgeSeconds: number
  /** Maximum age without a refresh token of the provider, which could tell whether the person may still sign in. */
  maxAgeUncheckedSeconds: number
}

export interface NewGrant extends Pick<
  Grant, 'clientId' | 'clientKind' | 'clientAuthMethod' | 'subject' | 'scope' | 'claims' | 'refreshes'
> {
  sid: string | undefined
  upstream: StoredTokens
}

/** The reason why a grant ended, for the log. */
export type RevocationReason =
  | 'revoked by the client' | 'revoked by the operator' | 'logged out at the provider' | 'ended by the provider'
  | 'refused by an access rule' | 'authorization code used twice' | 'refresh token used again after the grace window'

export type Grants = ReturnType<typeof createGrants>

/** The owner of grants: a person, a client, a session at the provider, or a person with one of their sessions. */
export type GrantOwner =
  | { subject: string, clientId?: undefined, sid?: undefined }
  | { clientId: string, subject?: undefined, sid?: undefined }
  | { sid: string, subject?: string | undefined, clientId?: undefined }

/** Grants that are ended side by side. */
const BATCH_SIZE = 100
/** Requests to the provider that run side by side. */
const CONCURRENT_REVOCATIONS = 10

/** The grants of broker mode, in the store. */
export function createGrants (options: GrantsOptions) {
  const { store, keyring, revocations, upstream, lifetimes, log, now = Date.now } = options
  const refreshTokens = createRefreshTokens(keyring)
  const { seal, open: upstreamTokens } = createSealedTokens(keyring)

  function ttlOf ({ expiresAt, refreshes }: Grant): number {
    const left = expiresAt - Math.floor(now() / 1_000)
    const unused = refreshes ? lifetimes.refreshTokenTtlSeconds : lifetimes.accessTokenTtlSeconds
    return Math.max(1, Math.min(left, unused))
  }

  /** Returns a grant that is live: stored, and older than no revocation of its person or client. */
  async function find (grantId: string): Promise<StoredGrant | undefined> {
    const record = await store.get(keys.grant(grantId))
    if (record === undefined) return undefined
    const grant = JSON.parse(record) as Grant
    const owners = [subjectKey(grant.subject), clientKey(grant.clientId)]
    return await revocations.isRevoked(owners, grant.createdAt ?? 0) ? undefined : { grant, record }
  }

  /**
   * Revokes locally first: the provider may be slow. Marks come before everything else, in batches, so that an outage
   * half-way leaves nothing usable that was marked, and the same call can be repeated.
   */
  async function revokeGrants (ids: string[], reason: RevocationReason): Promise<number> {
    for (const batch of batches(ids, BATCH_SIZE)) await revocations.revoke(batch.map(grantKey))
    let ended = 0
    for (const batch of batches(ids, BATCH_SIZE)) {
      const grants = (await Promise.all(batch.map(endGrant))).filter((grant) => grant !== undefined)
      for (const { id, subject, clientId } of grants) {
        log.info({ grant: id, subject, clientId, reason }, 'A grant has ended')
      }
      for (const some of batches(grants, CONCURRENT_REVOCATIONS)) await Promise.all(some.map(revokeUpstream))
      ended += grants.length
    }
    return ended
  }

  /** Takes a grant out of the store and its indexes. @returns undefined when it was not there */
  async function endGrant (id: string): Promise<Grant | undefined> {
    const record = await store.get(keys.grant(id))
    if (record === undefined) return undefined
    const grant = JSON.parse(record) as Grant
    await Promise.all(indexNames(grant).map(async (name) => { await store.removeMember(indexKey(name), id) }))
    await store.delete(keys.grant(id))
    return grant
  }

  /** Marks that end what an owner has so far, access tokens included. Each grant has a mark of its own as well. */
  async function markOwner ({ subject, clientId, sid }: GrantOwner): Promise<void> {
    if (sid !== undefined) return
    // Grants and tokens of this very second are left to their own marks: the next sign-in may be among them.
    const issuedUntil = Math.floor(now() / 1_000) - 1
    const key = subject === undefined ? clientKey(clientId!) : subjectKey(subject)
    await revocations.revoke([key], issuedUntil, lifetimes.maxAgeSeconds)
  }

  /** The grants of an owner. With a subject and a sid: those of the session, and the person's without any session. */
  async function grantsOf ({ subject, clientId, sid }: GrantOwner): Promise<string[]> {
    if (clientId !== undefined) return await store.members(indexKey(`clientId:${clientId}`))
    if (sid === undefined) return await store.members(indexKey(`subject:${subject!}`))
    const ofSession = await store.members(indexKey(`sid:${sid}`))
    if (subject === undefined) return ofSession
    const ids = new Set(ofSession)
    for (const batch of batches(await store.members(indexKey(`subject:${subject}`)), BATCH_SIZE)) {
      const found = await Promise.all(batch.map(find))
      for (const stored of found) if (stored !== undefined && stored.grant.sid === undefined) ids.add(stored.grant.id)
    }
    return [...ids]
  }

  async function revokeUpstream (grant: Grant): Promise<void> {
    try {
      const { refreshToken, accessToken } = upstreamTokens(grant)
      await upstream.revoke(refreshToken ?? accessToken, refreshToken === undefined ? 'access_token' : 'refresh_token')
    } catch (err) {
      const reason = (err as OAuthError).detail ?? (err as Error).message
      log.warn({ grant: grant.id, reason }, "A grant has ended here; the provider's token could not be revoked")
    }
  }

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
      for (const name of indexNames(grant)) await store.addMember(indexKey(name), id, maxAge)
      return grant
    },

    /** Stores a grant whose code has been redeemed, unless it was revoked meanwhile. */
    async activate (created: Grant): Promise<Grant> {
      const grant = refreshTokens.withToken(created, 1, now())
      // Write, then check: whoever revokes marks first and deletes then, so one of the two sees the other.
      await store.set(keys.grant(grant.id), JSON.stringify(grant), ttlOf(grant))
      if (await revocations.isRevoked([grantKey(grant.id)], 0)) await store.delete(keys.grant(grant.id))
      return grant
    },

    /** Replaces a grant in the store. @returns false when it was changed or ended since `record` was read */
    async replace (record: string, grant: Grant): Promise<boolean> {
      return await store.compareAndSet(keys.grant(grant.id), record, JSON.stringify(grant), ttlOf(grant))
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

    /** Ends all grants of an owner, and their access tokens. @returns how many there were */
    async revokeAll (owner: GrantOwner, reason: RevocationReason): Promise<number> {
      await markOwner(owner)
      return await revokeGrants(await grantsOf(owner), reason)
    }
  }
}

function * batches<T> (items: readonly T[], size: number): Generator<T[]> {
  for (let start = 0; start < items.length; start += size) yield items.slice(start, start + size)
}

function indexKey (name: string): string {
  return keys.grantsOf(digest(name))
}

/** Names under which a grant is found when all of an owner's are revoked. */
function indexNames ({ subject, clientId, sid }: Grant): string[] {
  return [`subject:${subject}`, `clientId:${clientId}`, ...(sid === undefined ? [] : [`sid:${sid}`])]
}
