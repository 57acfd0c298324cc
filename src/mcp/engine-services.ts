import type { Keyring } from '../crypto/keyring.ts'
import type { RequestLog } from '../define/context.ts'
import type { Store } from '../store/store.ts'
import { createResourceWatches } from './catalog/watch-resources.ts'
import { createCluster } from './cluster/cluster.ts'
import { createHeldCalls } from './cluster/held-calls.ts'
import { createChangeLog } from './cluster/list-change-broadcast.ts'
import { createSessionsInUse } from './sessions/sessions-in-use.ts'

export type EngineServices = ReturnType<typeof createEngineServices>

/**
 * The services that the engines of one process share, one engine for each MCP endpoint: messages between replicas and
 * their heartbeat, the change log, the sessions in use, the calls that wait for their clients, and what the watchers of
 * resources announce.
 *
 * @param keyring seals what replicas tell each other of those calls
 * @param pollMs interval of reading the change log, for tests
 */
export function createEngineServices (store: Store, log: RequestLog, keyring: Keyring, pollMs?: number) {
  const cluster = createCluster(store, log)
  const changes = createChangeLog(cluster, log, pollMs)
  const heldCalls = createHeldCalls(cluster, keyring, { pollMs })
  return {
    cluster,
    changes,
    heldCalls,
    sessionsInUse: createSessionsInUse(),
    watches: createResourceWatches(changes.publish, log),

    /** Stops what runs in the background, after the engines are closed. */
    async close (): Promise<void> {
      changes.stop()
      heldCalls.close()
      await cluster.replicas.close()
    }
  }
}
