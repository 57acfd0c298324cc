import type { ServerEvent } from '@modelcontextprotocol/server'
import type { Definition } from '../../define/definition.ts'
import type { PolicyEvaluator } from '../../policy/evaluator.ts'
import { createCatalog } from './catalog.ts'
import type { IsUriOffered } from './resources.ts'
import type { Catalog } from './catalog.ts'
import { changedLists } from './diff.ts'
import type { ResourceWatches } from './watch-resources.ts'

export interface LiveCatalogOptions {
  definitions: readonly Definition[]
  policies: PolicyEvaluator
  /** Undefined where every URI of a template is offered. */
  isUriOffered?: IsUriOffered | undefined
  /** Gets the lists that have changed. */
  announce (change: ServerEvent): void
  watches: ResourceWatches
}

export type LiveCatalog = ReturnType<typeof createLiveCatalog>

/**
 * The catalog that is served now, and the watchers of its resources. It can be replaced while the server runs.
 *
 * @throws DefinitionError for a definition that cannot be served
 */
export function createLiveCatalog ({ definitions, policies, isUriOffered, announce, watches }: LiveCatalogOptions) {
  let current = createCatalog(definitions, policies, isUriOffered)
  let stopWatching = watches.watch(definitions)

  return {
    current: (): Catalog => current,

    /**
     * Compiles other definitions.
     *
     * @returns a function that serves them from then on, and announces the lists that have changed
     * @throws DefinitionError for a definition that cannot be served
     */
    prepare (next: readonly Definition[]): () => void {
      const catalog = createCatalog(next, policies, isUriOffered)
      return () => {
        const before = current
        current = catalog
        const stopWatchingBefore = stopWatching
        // What is offered as before is watched without a break.
        stopWatching = watches.watch(next)
        stopWatchingBefore()
        for (const change of changedLists(before, catalog)) announce(change)
      }
    },

    stopWatching (): void { stopWatching() }
  }
}
