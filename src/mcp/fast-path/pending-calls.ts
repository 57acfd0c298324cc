import type { RequestId } from '@modelcontextprotocol/server'
import type { Caller } from '../handlers/caller.ts'

/** A call that runs already, and that the SDK is to finish. */
export interface HandedOverCall {
  caller: Caller
  /** Ends the call for the limit on concurrent calls. */
  release: () => void
}

/** A call that runs without the SDK, and whose handler is waiting for something. */
export interface PendingCall {
  /** Hands the call over to the SDK. */
  handOver (): void
  /** From now on the client may disconnect. Called when the handler has not finished within its tick. */
  watchClient (): void
}

/** Calls that take longer may become streams (streams/call-stream.ts), which only the SDK's path does. */
const HAND_OVER_AFTER_MS = 250
const POLL_MS = 50

export type PendingCalls = ReturnType<typeof createPendingCalls>

/**
 * The pending calls of this process. Most end within milliseconds. The others are handed over to the SDK, where they
 * can be cancelled: when their client is needed or has disconnected, or after `HAND_OVER_AFTER_MS`.
 *
 * A key is `requestKey` for a request in a session, and any unique object otherwise.
 */
export function createPendingCalls () {
  const pending = new Map<unknown, { call: PendingCall, since: number }>()
  /** Keys of the calls added in this tick of the event loop. */
  let addedThisTick: unknown[] = []
  let polling: NodeJS.Timeout | undefined

  function handOverWhere (matches: (key: unknown, since: number) => boolean): void {
    for (const [key, { call, since }] of [...pending]) if (matches(key, since)) call.handOver()
  }

  function endTick (): void {
    const keys = addedThisTick
    addedThisTick = []
    for (const key of keys) pending.get(key)?.call.watchClient()
    if (pending.size > 0) polling ??= setInterval(poll, POLL_MS)
  }

  function poll (): void {
    const now = performance.now()
    handOverWhere((_key, since) => now - since >= HAND_OVER_AFTER_MS)
    if (pending.size > 0) return
    clearInterval(polling)
    polling = undefined
  }

  return {
    add (key: unknown, call: PendingCall): void {
      pending.set(key, { call, since: performance.now() })
      if (addedThisTick.length === 0) setImmediate(endTick)
      addedThisTick.push(key)
    },

    delete (key: unknown): void { pending.delete(key) },
    has: (key: unknown): boolean => pending.has(key),
    get size (): number { return pending.size },

    /** Hands a call over to the SDK, which has it on return. */
    handOver (key: unknown): void { pending.get(key)?.call.handOver() },
    handOverSession (session: string): void { handOverWhere((key) => isInSession(key, session)) },
    handOverAll (): void { handOverWhere(() => true) }
  }
}

/** The key of a request in a session; the ids 1 and "1" are different. */
export function requestKey (session: string, id: RequestId): string {
  return `${session}:${JSON.stringify(id)}`
}

export function isInSession (key: unknown, session: string): boolean {
  return typeof key === 'string' && key.startsWith(`${session}:`)
}
