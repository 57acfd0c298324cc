import type { Store } from '../store/store.ts'

/** Methods of the store that are requests to it. */
const OPERATIONS = [
  'get', 'set', 'setIfAbsent', 'take', 'touch', 'compareAndSet', 'delete', 'increment', 'addMember', 'members',
  'addMemberWithin', 'removeMember', 'append', 'entries', 'publish'
] as const satisfies ReadonlyArray<keyof Store>

/** @param failed whether the store was not available */
export type StoreObserver = (operation: string, ms: number, failed: boolean) => void

/** Returns the store, each of whose operations is measured. */
export function measureStore (store: Store, observe: StoreObserver): Store {
  const measured = Object.create(store) as Record<string, unknown>
  for (const operation of OPERATIONS) {
    const method = store[operation].bind(store) as (...args: unknown[]) => Promise<unknown>
    measured[operation] = async (...args: unknown[]) => {
      const startedAt = performance.now()
      try {
        const result = await method(...args)
        observe(operation, performance.now() - startedAt, false)
        return result
      } catch (err) {
        observe(operation, performance.now() - startedAt, true)
        throw err
      }
    }
  }
  return measured as unknown as Store
}
