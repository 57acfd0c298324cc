/** Duration of one slice. */
const BUDGET_MS = 10

export type TimeSlicer = ReturnType<typeof createTimeSlicer>

/**
 * Loops over very many items, such as all open streams, in slices of a few milliseconds. Other work gets its turn in
 * between: replies of Redis above all, which would otherwise be taken for timeouts. Loops run in the order they were
 * started in.
 *
 * @param now milliseconds, from any origin
 */
export function createTimeSlicer (budgetMs = BUDGET_MS, now = (): number => performance.now()) {
  /** Each handles its next item, and returns true when it had none left. */
  const loops: Array<() => boolean> = []

  function runSlice (): void {
    const end = now() + budgetMs
    while (loops.length > 0) {
      if (loops[0]!()) loops.shift()
      else if (now() >= end) {
        setImmediate(runSlice)
        return
      }
    }
  }

  return {
    /** Calls `act`, which must not throw, for each item. Items deleted from a set or map meanwhile are skipped. */
    forEach<Item> (items: Iterable<Item>, act: (item: Item) => void): void {
      const iterator = items[Symbol.iterator]()
      const isFirst = loops.push(() => {
        const { done, value } = iterator.next()
        if (done !== true) act(value)
        return done === true
      }) === 1
      if (isFirst) runSlice()
    }
  }
}
