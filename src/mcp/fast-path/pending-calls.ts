import type { RequestId } from '@modelcontextprotocol/server'

/**
 * Calls that run without the SDK: those whose handlers wait for something. They stay until they are done, as most are
 * within milliseconds, or are handed over to the SDK: at once where their client must be reached or does not wait any
 * more, and all that last longer.
 */
export interface PendingCalls {
  /** @param key of a session's request, or anything of its own */
  add (key: unknown, call: PendingCall): void
  delete (key: unknown): void
  has (key: unknown): boolean
  readonly size: number
  /** Hands a call over to the SDK, where it can be cancelled; whoever asks for it finds it there on return. */
  handOver (key: unknown): void
  handOverAll (which?: (key: unknown) => boolean): void
}

export interface PendingCall {
  handOver (): void
  /** It is not done within its turn of the event loop: from now on its client may leave it. */
  watch (): void
}

/** Answers that take longer may become streams (call-stream.ts), which the SDK's side does. */
const MOST_MS = 250
const LOOK_MS = 50

export function createPendingCalls (): PendingCalls {
  const begun = new Map<unknown, { call: PendingCall, since: number }>()
  /** Of this turn. */
  let young: unknown[] = []
  let clock: NodeJS.Timeout | undefined

  function handOverAll (which: (key: unknown, since: number) => boolean = () => true): void {
    for (const [key, { call, since }] of [...begun]) if (which(key, since)) call.handOver()
  }

  function endTurn (): void {
    const keys = young
    young = []
    for (const key of keys) begun.get(key)?.call.watch()
    if (begun.size > 0) clock ??= setInterval(look, LOOK_MS)
  }

  function look (): void {
    const now = performance.now()
    handOverAll((_key, since) => now - since >= MOST_MS)
    if (begun.size > 0) return
    clearInterval(clock)
    clock = undefined
  }

  return {
    add (key, call) {
      begun.set(key, { call, since: performance.now() })
      if (young.length === 0) setImmediate(endTurn)
      young.push(key)
    },
    delete (key) { begun.delete(key) },
    has: (key) => begun.has(key),
    get size () { return begun.size },
    handOver (key) { begun.get(key)?.call.handOver() },
    handOverAll
  }
}

/** The key of a session's request; the ids 1 and "1" are different. */
export const requestKey = (session: string, id: RequestId): string => `${session}:${JSON.stringify(id)}`
