import type { Store } from '../../store/store.ts'
import { createBackground } from './background.ts'
import type { BackgroundLog } from './background.ts'
import { createReplicas } from './replicas.ts'

export type Cluster = ReturnType<typeof createCluster>

/** The services of everything that works across replicas: the shared store, messages, and work in the background. */
export function createCluster (store: Store, log: BackgroundLog) {
  const background = createBackground(log)
  return { store, replicas: createReplicas(store, background.runInBackground), ...background }
}
