import type { ServerEvent } from '@modelcontextprotocol/server'
import type { RequestLog } from '../../define/context.ts'
import type { Definition } from '../../define/definition.ts'
import type { ResourceDefinition } from '../../define/resource.ts'
import { logFailure } from '../handlers/execute.ts'

interface Watch {
  /** Catalogs that have the resource. */
  catalogs: number
  stop (): void
}

export type ResourceWatches = ReturnType<typeof createResourceWatches>

/**
 * The `watch` functions of resources. Each replica watches for itself and announces changes to all, so a subscriber may
 * be notified of one change more than once. A resource that several catalogs have is watched once.
 */
export function createResourceWatches (announce: (change: ServerEvent) => void, log: RequestLog) {
  const watches = new Map<ResourceDefinition, Watch>()

  function begin (definition: ResourceDefinition): void {
    const running = watches.get(definition)
    if (running !== undefined) {
      running.catalogs++
      return
    }
    const watch: Watch = { catalogs: 1, stop () {} }
    watches.set(definition, watch)
    const { uri } = definition
    logErrors(definition, `watching ${uri}`, log, () => {
      const stop = definition.watch!(() => { announce({ kind: 'resource_updated', uri }) })
      watch.stop = () => { logErrors(definition, `stopping the watch of ${uri}`, log, stop) }
    })
  }

  function end (definition: ResourceDefinition): void {
    const watch = watches.get(definition)!
    if (--watch.catalogs > 0) return
    watches.delete(definition)
    watch.stop()
  }

  return {
    /**
     * Watches the resources of a catalog that have such a function.
     *
     * @returns a function that stops watching, but for resources that other catalogs have
     */
    watch (definitions: readonly Definition[]): () => void {
      const watched = definitions.filter((definition): definition is ResourceDefinition =>
        definition.kind === 'resource' && definition.watch !== undefined)
      for (const definition of watched) begin(definition)
      return () => { for (const definition of watched.splice(0)) end(definition) }
    }
  }
}

/** Runs a watcher's function. A failing one must not affect the others: its resource can still be read. */
function logErrors (definition: Definition, label: string, log: RequestLog, work: () => void): void {
  try {
    work()
  } catch (err) {
    logFailure(err, label, definition, log)
  }
}
