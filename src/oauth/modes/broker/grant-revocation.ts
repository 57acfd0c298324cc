import type { OAuthError } from '../../../errors/oauth-error.ts'
import { keys } from '../../../store/keys.ts'
import { LaterRecordError, asLater } from '../../../store/store.ts'
import type { Store } from '../../../store/store.ts'
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
   * half-way leaves nothing usable that was marked, and the same call can be repeated. The audit log then has a line
   * for each grant that ended, and for each that was marked and may still be in the store.
   *
   * @throws LaterRecordError when all others have ended: whoever asked must ask a replica of the later release again
   */
  async function revokeGrants (ids: string[], reason: RevocationReason): Promise<number> {
    const ended: Grant[] = []
    const unfinished = new Set<string>()
    try {
      for (const batch of batches(ids, BATCH_SIZE)) {
        const { revoked, failures } = await revocations.tryRevoke(batch.map(grantKey))
        for (const id of batch) if (revoked.has(grantKey(id))) unfinished.add(id)
        if (failures.length > 0) throw failures[0]
      }
      let later: LaterRecordError | undefined
      for (const batch of batches(ids, BATCH_SIZE)) {
        const { grants, failures } = await endBatch(store, batch, unfinished)
        ended.push(...grants)
        for (const grant of grants) logEnd(grant, reason)
        // What the provider has ended, it need not revoke: some answer such a request with an error.
        if (reason !== 'ended by the provider') {
          for (const some of batches(grants, CONCURRENT_REVOCATIONS)) await Promise.all(some.map(revokeUpstream))
        }
        for (const err of failures) later = asLater(err)
      }
      if (later !== undefined) throw later
    } catch (err) {
      // The line of the request is that of its failure.
      if (REQUESTED.includes(reason)) for (const grant of ended) recordEnd(grant, reason)
      for (const grant of unfinished) audit?.record({ event: 'revocation', outcome: 'unavailable', grant, reason })
      throw err
    }
    return ended.length
  }

  function logEnd (grant: Grant, reason: RevocationReason): void {
    const { id, subject, clientId } = grant
    log.info({ event: 'grant.ended', grant: id, subject, clientId, reason }, 'A grant has ended')
    if (!REQUESTED.includes(reason)) recordEnd(grant, reason)
  }

  function recordEnd ({ id, subject, clientId }: Grant, reason: RevocationReason): void {
    audit?.record({ event: 'revocation', outcome: 'ok', grant: id, subject, client: clientId, reason })
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

/** Takes grants out of the store, as far as it can be reached. @returns those that were there, and what failed */
async function endBatch (
  store: Store, ids: string[], unfinished: Set<string>
): Promise<{ grants: Grant[], failures: unknown[] }> {
  const grants: Grant[] = []
  const failures: unknown[] = []
  await Promise.all(ids.map(async (id) => {
    try {
      const grant = await endGrant(store, id)
      unfinished.delete(id)
      if (grant !== undefined) grants.push(grant)
    } catch (err) {
      failures.push(err)
    }
  }))
  return { grants, failures }
}

/** Takes a grant out of the store and its indexes. @returns undefined when it was not there */
async function endGrant (store: Store, id: string): Promise<Grant | undefined> {
  const stored = await grantRecord.find(store, keys.grant(id))
  if (stored === undefined) return undefined
  await Promise.all(indexKeys(stored.value).map(async (key) => { await store.removeMember(key, id) }))
  await store.delete(keys.grant(id))
  return stored.value
}

function * batches<T> (items: readonly T[], size: number): Generator<T[]> {
  for (let start = 0; start < items.length; start += size) yield items.slice(start, start + size)
}

/** Says how many grants of an owner have ended, for people. */
export function describeEnded (count: number): string {
  if (count === 1) return 'One grant has ended'
  if (count > 1) return `${count} grants have ended`
  return 'There was no grant; access tokens that were issued without one, if there are any, have ended'
}
