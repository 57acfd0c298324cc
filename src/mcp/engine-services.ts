import type { RequestLog } from '../define/context.ts'
import type { Store } from '../store/store.ts'
import { createResourceWatches } from './catalog/watch-resources.ts'
import { createCluster } from './cluster/cluster.ts'
import { createChangeLog } from './cluster/list-change-broadcast.ts'
import { createSessionsInUse } from './sessions/sessions-in-use.ts'

export type EngineServices = ReturnType<typeof createEngineServices>

/**
 * The services that the engines of one process share, one engine for each MCP endpoint: messages between replicas and
 * their heartbeat, the change log, the sessions in use, and what the watchers of resources announce.
 *
 * @param pollMs interval of reading the change log, for tests
 */
export function createEngineServices (store: Store, log: RequestLog, pollMs?: number) {
  const cluster = createCluster(store, log)
  const changes = createChangeLog(cluster, log, pollMs)
  return {
    cluster,
    changes,
    sessionsInUse: createSessionsInUse(),
    watches: createResourceWatches(changes.publish, log),

    /** Stops what runs in the background, after the engines are closed. */
    async close (): Promise<void> {
      changes.stop()
      await cluster.replicas.close()
    }
  }
}
