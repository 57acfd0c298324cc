import type { Store } from '../store/store.ts'

/** Methods of the store that are requests to it. */
const OPERATIONS = [
  'get', 'set', 'setIfAbsent', 'take', 'touch', 'compareAndSet', 'delete', 'increment', 'addMember', 'members',
  'addMemberWithin', 'removeMember', 'append', 'entries', 'publish'
] as const satisfies ReadonlyArray<keyof Store>

/** Returns the store, each of whose operations runs within `around`. */
export function wrapStore (
  store: Store, around: (operation: string, run: () => Promise<unknown>) => Promise<unknown>
): Store {
  const wrapped = Object.create(store) as Record<string, unknown>
  for (const operation of OPERATIONS) {
    const method = store[operation].bind(store) as (...args: unknown[]) => Promise<unknown>
    wrapped[operation] = async (...args: unknown[]) => await around(operation, async () => await method(...args))
  }
  return wrapped as unknown as Store
}

/** @param failed whether the store was not available */
export type StoreObserver = (operation: string, ms: number, failed: boolean) => void

/** Returns the store, each of whose operations is measured. */
export function measureStore (store: Store, observe: StoreObserver): Store {
  return wrapStore(store, async (operation, run) => {
    const startedAt = performance.now()
    try {
      const result = await run()
      observe(operation, performance.now() - startedAt, false)
      return result
    } catch (err) {
      observe(operation, performance.now() - startedAt, true)
      throw err
    }
  })
}
