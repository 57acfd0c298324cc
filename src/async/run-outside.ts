import { AsyncLocalStorage } from 'node:async_hooks'

/**
 * Runs work outside of every request: what it starts, such as streams and timers, belongs to no call and no trace, even
 * if a request was the occasion.
 */
export const runOutside: <T>(work: () => T) => T = AsyncLocalStorage.snapshot()
