import { Type } from 'typebox'
import type { Static } from 'typebox'
import { digest, randomId } from '../../../crypto/hash.ts'
import { keys } from '../../../store/keys.ts'
import { OptionalString, defineRecord } from '../../../store/record.ts'
import type { Store } from '../../../store/store.ts'
import { subjectKey } from '../../../tokens/revocations.ts'
import type { Revocations } from '../../../tokens/revocations.ts'
import type { LogoutOwner } from '../mode.ts'
import type { BrowserCookie } from '../sign-in.ts'

const PersonSchema = Type.Object({
  /** `sub` at the provider. */
  subject: Type.String(),
  name: OptionalString,
  /** The session at the provider, for back-channel logout. */
  sid: OptionalString,
  /** Milliseconds since the epoch: when the person proved who they are, as far as the provider says. */
  authenticatedAt: Type.Integer()
})
/** The person who has signed in to the page /connections. */
export type ConnectionsPerson = Static<typeof PersonSchema>

const SessionSchema = Type.Object({
  person: PersonSchema,
  /** Milliseconds since the epoch. */
  createdAt: Type.Integer(),
  /** Milliseconds since the epoch; using the page does not move it. */
  expiresAt: Type.Integer()
})
/** A person's session at the page /connections. It gives access to nothing else. */
export type ConnectionsSession = Static<typeof SessionSchema>

const sessionRecord = defineRecord('session of the page /connections', SessionSchema)

const MAX_AGE_SECONDS = 900

/** After this time the person must sign in anew at the provider before an application is cut off. */
export const REAUTHENTICATE_AFTER_SECONDS = 300

export const SESSION_COOKIE = 'connections'

export interface ConnectionsSessionsOptions {
  store: Store
  revocations: Pick<Revocations, 'isRevoked'>
  /** Milliseconds since the epoch. */
  now?: () => number
}

export type ConnectionsSessions = ReturnType<typeof createConnectionsSessions>

/** The sessions of the page /connections, in the store under the SHA-256 of their cookies. */
export function createConnectionsSessions ({ store, revocations, now = Date.now }: ConnectionsSessionsOptions) {
  async function create (person: ConnectionsPerson, expiresAt: number, createdAt = now()): Promise<BrowserCookie> {
    const value = randomId(32)
    const seconds = Math.max(1, Math.ceil((expiresAt - now()) / 1_000))
    const record = sessionRecord.serialize({ person, createdAt, expiresAt })
    await store.set(keys.connectionsSession(digest(value)), record, seconds)
    return { name: SESSION_COOKIE, value, maxAgeSeconds: seconds }
  }

  async function end (cookie: string | undefined): Promise<void> {
    if (cookie !== undefined) await store.delete(keys.connectionsSession(digest(cookie)))
  }

  /** Whether the session is older than a revocation of its owner, also by a replica of an earlier release. */
  async function hasEnded ({ person: { subject, sid }, createdAt }: ConnectionsSession): Promise<boolean> {
    const owners = [subjectOwner(subject), sid === undefined ? withoutSidOwner(subject) : sidOwner(sid)]
    const marks = await Promise.all(owners.map((owner) => store.get(endedKey(owner))))
    if (marks.some((mark) => mark !== undefined && !(createdAt > Number(mark)))) return true
    return await revocations.isRevoked([subjectKey(subject)], Math.floor(createdAt / 1_000))
  }

  return {
    /**
     * Begins a session, and ends the one that the browser had: a cookie of before the sign-in opens nothing after it.
     *
     * @param previous the cookie of that session
     */
    async begin (person: ConnectionsPerson, previous: string | undefined): Promise<BrowserCookie> {
      await end(previous)
      return await create(person, now() + MAX_AGE_SECONDS * 1_000)
    },

    /**
     * Replaces a session with one that is newer than every revocation up to now, even of this very millisecond, and
     * lasts no longer.
     */
    async renew ({ person, expiresAt }: ConnectionsSession, previous: string): Promise<BrowserCookie> {
      await end(previous)
      return await create(person, expiresAt, now() + 1)
    },

    /** @throws StoreUnavailableError */
    async find (cookie: string | undefined): Promise<ConnectionsSession | undefined> {
      if (cookie === undefined) return undefined
      const stored = await sessionRecord.find(store, keys.connectionsSession(digest(cookie)))
      if (stored === undefined || stored.value.expiresAt <= now() || await hasEnded(stored.value)) return undefined
      return stored.value
    },

    end,

    /** Whether the person must sign in anew before an application is cut off. */
    isOld: ({ person }: ConnectionsSession): boolean =>
      now() - person.authenticatedAt > REAUTHENTICATE_AFTER_SECONDS * 1_000
  }
}

/**
 * Ends the sessions that a person, or a session at the provider, has at the page so far.
 *
 * @param now milliseconds since the epoch
 */
export async function endConnectionsSessions (
  store: Store, { subject, sid }: LogoutOwner, now: number
): Promise<void> {
  const owners = sid === undefined
    ? [subjectOwner(subject)]
    : [sidOwner(sid), ...(subject === undefined ? [] : [withoutSidOwner(subject)])]
  for (const owner of owners) {
    await store.set(endedKey(owner), String(now), MAX_AGE_SECONDS, { evenIfFull: true })
  }
}

const endedKey = (owner: string): string => keys.connectionsSessionsEnded(digest(owner))
const subjectOwner = (subject: string): string => `subject:${subject}`
const withoutSidOwner = (subject: string): string => `subject-without-sid:${subject}`
const sidOwner = (sid: string): string => `sid:${sid}`
