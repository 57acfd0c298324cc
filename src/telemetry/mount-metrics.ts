import { Counter, Gauge, Histogram } from './instruments.ts'
import type { Instrument } from './instruments.ts'

/** What a mounted server is at the moment, as a gauge reads it. */
export interface WatchedMount {
  name: string
  isConnected: () => boolean
  /** How many tools, prompts and resources are offered, hidden until they are accepted, and refused. */
  counts: () => Record<'offered' | 'hidden' | 'refused', number>
}

export type MountMetrics = ReturnType<typeof createMountMetrics>

/** Creates the metrics of mounted servers. @param add gets each instrument; only the names of mounts are labels */
export function createMountMetrics (add: (instrument: Instrument) => void) {
  const requests = new Histogram(
    { name: 'seed.mount.request.duration', unit: 's', description: 'Duration of requests to mounted servers' },
    ['seed.mount', 'seed.outcome']
  )
  const connections = new Counter(
    { name: 'seed.mount.connections', unit: '{connection}', description: 'Attempts to connect to mounted servers' },
    ['seed.mount', 'seed.outcome']
  )
  const refused = new Counter(
    { name: 'seed.mount.calls.refused', unit: '{call}', description: 'Calls beyond a limit of a mounted server' },
    ['seed.mount', 'seed.setting']
  )
  const exceeded = new Counter(
    {
      name: 'seed.mount.memory.exceeded',
      unit: '{process}',
      description: 'Processes of mounted servers that were ended for the memory that they used'
    },
    ['seed.mount']
  )
  add(requests)
  add(connections)
  add(refused)
  add(exceeded)

  return {
    watch ({ name, isConnected, counts }: WatchedMount): void {
      // Prometheus sees an increase only where there was a value before.
      exceeded.add([name], 0)
      for (const setting of ['maxConcurrentCalls', 'callsPerMinute']) refused.add([name, setting], 0)
      add(new Gauge({
        about: { name: 'seed.mount.up', unit: '1', description: 'Whether the mounted server is connected' },
        labels: { 'seed.mount': name },
        read: () => Number(isConnected())
      }))
      for (const state of ['offered', 'hidden', 'refused'] as const) {
        add(new Gauge({
          about: {
            name: 'seed.mount.offers', unit: '{offer}', description: 'Tools, prompts and resources of mounted servers'
          },
          labels: { 'seed.mount': name, 'seed.state': state },
          read: () => counts()[state]
        }))
      }
    },

    requestEnded (mount: string, outcome: string, ms: number): void { requests.record([mount, outcome], ms / 1_000) },

    connectionEnded (mount: string, outcome: string): void { connections.add([mount, outcome]) },

    callRefused (mount: string, limit: string): void { refused.add([mount, limit]) },

    memoryExceeded (mount: string): void { exceeded.add([mount]) }
  }
}
