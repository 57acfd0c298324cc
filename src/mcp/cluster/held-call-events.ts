import { Type } from 'typebox'
import type { Static } from 'typebox'
import type { Keyring } from '../../crypto/keyring.ts'
import { keys } from '../../store/keys.ts'
import { defineMessage } from '../../store/record.ts'
import type { Store } from '../../store/store.ts'

const HeldCallEventSchema = Type.Union([
  /** Notes for the client, such as of progress. */
  Type.Object({ kind: Type.Literal('noted'), notes: Type.Array(Type.String()) }),
  /** The holder has answered; the answer is in parts, so that no command takes long. */
  Type.Object({ kind: Type.Literal('answered'), parts: Type.Integer() }),
  /** The holder does not have the call. */
  Type.Object({ kind: Type.Literal('unknown') })
])

/** What becomes of a call that another replica has continued. */
export type HeldCallEvent = Static<typeof HeldCallEventSchema>

const eventRecord = defineMessage('event of a held call', HeldCallEventSchema)

/** Time for which the store holds what two replicas tell each other about a call, from the last sign of both. */
export const HELD_CALL_TTL_SECONDS = 30
const MAX_EVENTS = 1_000
const PART_CHARACTERS = 262_144

/** @param owner the key of the principal whose call it is */
export function contextOfCall (id: string, owner: string): string {
  return `held call ${id} of ${owner}`
}

const contextOfEvents = (id: string): string => `events of held call ${id}`
const contextOfPart = (id: string, part: number): string => `part ${part} of held call ${id}`

/** @throws StoreUnavailableError */
export async function appendEvent (store: Store, keyring: Keyring, id: string, event: HeldCallEvent): Promise<void> {
  const sealed = keyring.seal(JSON.stringify(event), contextOfEvents(id))
  const limits = { ttlSeconds: HELD_CALL_TTL_SECONDS, maxEntries: MAX_EVENTS }
  await store.append(keys.heldCallEvents(id), sealed, limits)
}

/** Returns the events after a number, each with its own. @throws StoreUnavailableError */
export async function readEvents (
  store: Store, keyring: Keyring, id: string, after: number
): Promise<Array<[number, HeldCallEvent | undefined]>> {
  const { entries } = await store.entries(keys.heldCallEvents(id), after)
  return entries.map(([number, sealed]) =>
    [number, eventRecord.parse(store, keyring.open(sealed, contextOfEvents(id)) ?? '')])
}

/** Writes what the holder answers, and then says so. @throws StoreUnavailableError */
export async function writeAnswer (store: Store, keyring: Keyring, id: string, answer: string): Promise<void> {
  let parts = 0
  for (let start = 0; start < answer.length; start += PART_CHARACTERS) {
    // As JSON, in which a character that is cut in two stays whole.
    const part = JSON.stringify(answer.slice(start, start + PART_CHARACTERS))
    const sealed = keyring.seal(part, contextOfPart(id, parts))
    await store.set(keys.heldCallPart(id, parts), sealed, HELD_CALL_TTL_SECONDS)
    parts++
  }
  await appendEvent(store, keyring, id, { kind: 'answered', parts })
}

/** Reads an answer, and removes it. @returns undefined if it has expired. @throws StoreUnavailableError */
export async function takeAnswer (
  store: Store, keyring: Keyring, id: string, parts: number
): Promise<string | undefined> {
  let answer = ''
  for (let part = 0; part < parts; part++) {
    const sealed = await store.get(keys.heldCallPart(id, part))
    const text = sealed === undefined ? undefined : keyring.open(sealed, contextOfPart(id, part))
    if (text === undefined) return undefined
    answer += JSON.parse(text) as string
  }
  for (let part = 0; part < parts; part++) await store.delete(keys.heldCallPart(id, part))
  return answer
}
