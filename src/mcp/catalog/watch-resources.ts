import type { ServerEvent } from '@modelcontextprotocol/server'
import type { RequestLog } from '../../define/context.ts'
import type { Definition } from '../../define/definition.ts'
import { logFailure } from '../handlers/execute.ts'

/**
 * Resources that watch what they show (`watch` of defineResource), from when they are offered until they are not any
 * more. Each replica watches for itself and tells all of them: what all see, subscribers may hear of more than once.
 *
 * @returns what stops them
 */
export function watchResources (definitions: readonly Definition[], announce: (change: ServerEvent) => void, log: RequestLog): () => void {
  const stops: Array<() => void> = []
  for (const definition of definitions) {
    if (definition.kind !== 'resource' || definition.watch === undefined) continue
    const { uri } = definition
    attempt(`watching ${uri}`, () => { stops.push(definition.watch!(() => { announce({ kind: 'resource_updated', uri }) })) })
  }

  /** One that fails takes nothing from the others: what it shows can still be read. */
  function attempt (what: string, work: () => void): void {
    try {
      work()
    } catch (err) {
      logFailure(err, what, log)
    }
  }

  return () => {
    for (const stop of stops.splice(0)) attempt('stopping a watch', stop)
  }
}
