/** Calls that run without the SDK, for as long as they do: within one turn of the event loop they end or are handed over. */
export interface BegunCalls {
  /** @param key of a session's request, or anything of its own */
  add (key: unknown, handOver: () => void): void
  delete (key: unknown): void
  has (key: unknown): boolean
  /** Hands a call over to the SDK, where it can be cancelled; whoever asks for it finds it there on return. */
  handOver (key: unknown): void
  handOverAll (which?: (key: unknown) => boolean): void
}

export function createBegunCalls (): BegunCalls {
  const begun = new Map<unknown, () => void>()
  let turnEnds = false

  function handOverAll (which: (key: unknown) => boolean = () => true): void {
    for (const [key, handOver] of [...begun]) if (which(key)) handOver()
  }

  function endTurn (): void {
    turnEnds = false
    handOverAll()
  }

  return {
    add (key, handOver) {
      begun.set(key, handOver)
      if (turnEnds) return
      turnEnds = true
      setImmediate(endTurn)
    },
    delete (key) { begun.delete(key) },
    has: (key) => begun.has(key),
    handOver (key) { begun.get(key)?.() },
    handOverAll
  }
}
