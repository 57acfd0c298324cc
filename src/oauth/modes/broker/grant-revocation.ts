import type { OAuthError } from '../../../errors/oauth-error.ts'
import { keys } from '../../../store/keys.ts'
import { LaterRecordError, asLater } from '../../../store/store.ts'
import { clientKey, grantKey, subjectKey, withoutGrantKey } from '../../../tokens/revocations.ts'
import { endConnectionsSessions } from './connections-session.ts'
import { grantRecord } from './grant.ts'
import type { Grant, StoredGrant, StoredTokens } from './grant.ts'
import { clientIndex, indexKeys, sidIndex, subjectIndex } from './grant-index.ts'
import type { GrantsOptions } from './grants-options.ts'

/** The reason why a grant ended, for the log. */
export type RevocationReason =
  | 'revoked by the client' | 'revoked by the operator' | 'logged out at the provider' | 'ended by the provider'
  | 'ended by the person'
  | 'refused by an access rule' | 'authorization code used twice' | 'refresh token used again after the grace window'

/** The owner of grants: a person, a client, a session at the provider, or a person with one of their sessions. */
export type GrantOwner =
  | { subject: string, clientId?: undefined, sid?: undefined }
  | { clientId: string, subject?: undefined, sid?: undefined }
  | { sid: string, subject?: string | undefined, clientId?: undefined }

/** Reasons for which the request that ended the grant has a line of its own in the audit log. */
const REQUESTED: readonly RevocationReason[] = [
  'revoked by the client', 'ended by the person', 'logged out at the provider'
]

/** Grants that are ended side by side. */
const BATCH_SIZE = 100
/** Requests to the provider that run side by side. */
const CONCURRENT_REVOCATIONS = 10

/** Ends grants and their access tokens, here and at the provider. */
export function createGrantRevocation (options: GrantsOptions, { find, upstreamTokens }: {
  find: (grantId: string) => Promise<StoredGrant | undefined>
  upstreamTokens: (grant: Grant) => StoredTokens
}) {
  const { store, revocations, upstream, lifetimes, log, audit, now = Date.now } = options

  /**
   * Revokes locally first: the provider may be slow. Marks come before everything else, in batches, so that an outage
   * half-way leaves nothing usable that was marked, and the same call can be repeated.
   *
   * @throws LaterRecordError when all others have ended: whoever asked must ask a replica of the later release again
   */
  async function revokeGrants (ids: string[], reason: RevocationReason): Promise<number> {
    for (const batch of batches(ids, BATCH_SIZE)) await revocations.revoke(batch.map(grantKey))
    let ended = 0
    let later: LaterRecordError | undefined
    for (const batch of batches(ids, BATCH_SIZE)) {
      const results = await Promise.all(batch.map(async (id) => await endGrant(id).catch(asLater)))
      later ??= results.find((result) => result instanceof LaterRecordError)
      const grants = results
        .flatMap((result) => result === undefined || result instanceof LaterRecordError ? [] : [result])
      for (const { id, subject, clientId } of grants) {
        log.info({ event: 'grant.ended', grant: id, subject, clientId, reason }, 'A grant has ended')
        if (REQUESTED.includes(reason)) continue
        audit?.record({ event: 'revocation', outcome: 'ok', grant: id, subject, client: clientId, reason })
      }
      ended += grants.length
      // What the provider has ended, it need not revoke: some answer such a request with an error.
      if (reason === 'ended by the provider') continue
      for (const some of batches(grants, CONCURRENT_REVOCATIONS)) await Promise.all(some.map(revokeUpstream))
    }
    if (later !== undefined) throw later
    return ended
  }

  /** Takes a grant out of the store and its indexes. @returns undefined when it was not there */
  async function endGrant (id: string): Promise<Grant | undefined> {
    const stored = await grantRecord.find(store, keys.grant(id))
    if (stored === undefined) return undefined
    await Promise.all(indexKeys(stored.value).map(async (key) => { await store.removeMember(key, id) }))
    await store.delete(keys.grant(id))
    return stored.value
  }

  /**
   * Marks that end what an owner has so far, access tokens and sessions of the page /connections included. Each grant
   * has a mark of its own as well. Tokens without a grant belong to no session, and end with any logout of their
   * person.
   */
  async function markOwner (owner: GrantOwner): Promise<void> {
    const { subject, clientId, sid } = owner
    if (owner.clientId === undefined) await endConnectionsSessions(store, owner, now())
    if (subject === undefined && clientId === undefined) return
    const key = subject === undefined ? clientKey(clientId!) : subjectKey(subject)
    const second = Math.floor(now() / 1_000)
    // Such tokens may outlive every grant.
    await revocations.revoke([withoutGrantKey(key)], second)
    if (sid !== undefined) return
    // Grants and tokens of this very second are left to their own marks: the next sign-in may be among them.
    await revocations.revoke([key], second - 1, lifetimes.maxAgeSeconds)
  }

  /** The grants of an owner. With a subject and a sid: those of the session, and the person's without any session. */
  async function grantsOf ({ subject, clientId, sid }: GrantOwner): Promise<string[]> {
    if (clientId !== undefined) return await store.members(clientIndex(clientId))
    if (sid === undefined) return await store.members(subjectIndex(subject!))
    const ofSession = await store.members(sidIndex(sid))
    if (subject === undefined) return ofSession
    const ids = new Set(ofSession)
    for (const batch of batches(await store.members(subjectIndex(subject)), BATCH_SIZE)) {
      for (const id of await Promise.all(batch.map(withoutSession))) if (id !== undefined) ids.add(id)
    }
    return [...ids]
  }

  /** Returns the id if the grant has no session at the provider. One of a later release may have none. */
  async function withoutSession (id: string): Promise<string | undefined> {
    const stored = await find(id).catch(asLater)
    if (stored === undefined) return undefined
    return stored instanceof LaterRecordError || stored.grant.sid === undefined ? id : undefined
  }

  async function revokeUpstream (grant: Grant): Promise<void> {
    try {
      const { refreshToken, accessToken } = upstreamTokens(grant)
      await upstream.revoke(refreshToken ?? accessToken, refreshToken === undefined ? 'access_token' : 'refresh_token')
    } catch (err) {
      const reason = (err as OAuthError).detail ?? (err as Error).message
      log.warn({ event: 'grant.upstream_revocation_failed', grant: grant.id, reason },
        "A grant has ended here; the provider's token could not be revoked")
    }
  }

  return {
    revokeGrants,
    async revokeAll (owner: GrantOwner, reason: RevocationReason): Promise<number> {
      await markOwner(owner)
      return await revokeGrants(await grantsOf(owner), reason)
    }
  }
}

function * batches<T> (items: readonly T[], size: number): Generator<T[]> {
  for (let start = 0; start < items.length; start += size) yield items.slice(start, start + size)
}
