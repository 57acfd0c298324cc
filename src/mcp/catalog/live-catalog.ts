import type { ServerEvent } from '@modelcontextprotocol/server'
import type { RequestLog } from '../../define/context.ts'
import type { Definition } from '../../define/definition.ts'
import type { PolicyEvaluator } from '../../policy/evaluator.ts'
import { createCatalog } from './catalog.ts'
import type { Catalog } from './catalog.ts'
import { changedLists } from './diff.ts'
import { watchResources } from './watch-resources.ts'

export interface LiveCatalogOptions {
  definitions: readonly Definition[]
  policies: PolicyEvaluator
  announce (change: ServerEvent): void
  log: RequestLog
}

export type LiveCatalog = ReturnType<typeof createLiveCatalog>

/**
 * The catalog that is served now, and the watchers of its resources. It can be replaced while the server runs.
 *
 * @throws DefinitionError for a definition that cannot be served
 */
export function createLiveCatalog ({ definitions, policies, announce, log }: LiveCatalogOptions) {
  let current = createCatalog(definitions, policies)
  let stopWatching = watchResources(definitions, announce, log)

  return {
    current: (): Catalog => current,

    /**
     * Serves other definitions from now on, and announces the lists that have changed.
     *
     * @throws DefinitionError for a definition that cannot be served; nothing changes then
     */
    replace (next: readonly Definition[]): void {
      const before = current
      current = createCatalog(next, policies)
      stopWatching()
      stopWatching = watchResources(next, announce, log)
      for (const change of changedLists(before, current)) announce(change)
    },

    stopWatching (): void { stopWatching() }
  }
}
