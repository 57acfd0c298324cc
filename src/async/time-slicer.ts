/** How long may be worked at a stretch. */
const STRETCH_MS = 10

/**
 * Does something for each of very many, such as all open streams: as many at a stretch as take a few milliseconds, and
 * the others in later turns of the event loop. Whatever else waits has its turn in between: answers of Redis above
 * all, which would be taken for lost otherwise. What is begun first is done first.
 */
export interface TimeSlicer {
  /** @param act must not throw */
  forEach<Item> (items: Iterable<Item>, act: (item: Item) => void): void
}

/** @param now milliseconds, from any beginning */
export function createTimeSlicer (stretchMs = STRETCH_MS, now = (): number => performance.now()): TimeSlicer {
  const waiting: Array<() => boolean> = []

  /** Goes on until all is done or the time is over. */
  function work (): void {
    const until = now() + stretchMs
    while (waiting.length > 0) {
      if (waiting[0]!()) waiting.shift()
      else if (now() >= until) {
        setImmediate(work)
        return
      }
    }
  }

  return {
    forEach (items, act) {
      const iterator = items[Symbol.iterator]()
      const begins = waiting.push(() => {
        const { done, value } = iterator.next()
        if (done !== true) act(value)
        return done === true
      }) === 1
      if (begins) work()
    }
  }
}
