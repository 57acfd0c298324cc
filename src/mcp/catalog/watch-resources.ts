import type { ServerEvent } from '@modelcontextprotocol/server'
import type { RequestLog } from '../../define/context.ts'
import type { Definition } from '../../define/definition.ts'
import { logFailure } from '../handlers/execute.ts'

/**
 * Starts the `watch` function of every resource that has one. Each replica watches for itself and announces changes to
 * all, so a subscriber may be notified of one change more than once.
 *
 * @returns a function that stops all of them
 */
export function watchResources (
  definitions: readonly Definition[],
  announce: (change: ServerEvent) => void,
  log: RequestLog
): () => void {
  const stops: Array<() => void> = []
  for (const definition of definitions) {
    if (definition.kind !== 'resource' || definition.watch === undefined) continue
    const { uri } = definition
    logErrors(definition, `watching ${uri}`, log, () => {
      const stop = definition.watch!(() => { announce({ kind: 'resource_updated', uri }) })
      stops.push(() => { logErrors(definition, `stopping the watch of ${uri}`, log, stop) })
    })
  }
  return () => {
    for (const stop of stops.splice(0)) stop()
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
