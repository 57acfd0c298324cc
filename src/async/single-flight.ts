/**
 * Runs one piece of work per key at a time; callers that come meanwhile share its promise. A settled promise is
 * forgotten, so the next call with the key starts the work anew.
 */
export function createSingleFlight<Result, Key = string> () {
  const inFlight = new Map<Key, Promise<Result>>()
  return function singleFlight (key: Key, work: () => Promise<Result>): Promise<Result> {
    const current = inFlight.get(key)
    if (current !== undefined) return current
    const started = work().finally(() => { inFlight.delete(key) })
    inFlight.set(key, started)
    return started
  }
}
