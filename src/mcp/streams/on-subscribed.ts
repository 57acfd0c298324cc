import type { ChangeLog } from '../cluster/list-change-broadcast.ts'

/**
 * Called with the resources that a client is subscribed to, while it has a stream open.
 *
 * @param subscriber the person whose client it is; undefined if nobody is known
 * @returns a function that says so again, for as long as the resources are the same
 */
export type OnSubscribed = (uris: readonly string[], subscriber: string | undefined) => () => void

/** The part of the catalog that finds who listens. */
interface SubscribableCatalog {
  resources: {
    subscriptionListener (
      uri: string, changed: () => void, subscriber: string | undefined
    ): (() => void) | undefined
  }
}

/**
 * Returns a function that tells resources that a client is subscribed to them. The resources are found again only when
 * the catalog has changed: with many templates that takes time.
 *
 * @param catalog returns the catalog that is served now
 */
export function createSubscribedListener (
  catalog: () => SubscribableCatalog, changes: Pick<ChangeLog, 'publish'>
): OnSubscribed {
  return (uris, subscriber) => {
    let current: SubscribableCatalog | undefined
    let listeners: Array<() => void> = []
    const renew = (): void => {
      if (current !== catalog()) {
        current = catalog()
        const { resources } = current
        listeners = uris.flatMap((uri) => {
          const changed = (): void => { changes.publish({ kind: 'resource_updated', uri }) }
          return resources.subscriptionListener(uri, changed, subscriber) ?? []
        })
      }
      for (const listener of listeners) listener()
    }
    renew()
    return renew
  }
}
