import { writeSync } from 'node:fs'

/**
 * Preloaded into a Seed that is measured (`node --expose-gc --import`), and never part of what ships: on SIGWINCH it
 * collects all garbage and writes what is left, as one line of JSON, to standard error. The signal is one that
 * Seed itself does not end on, as it does on SIGUSR2.
 */
export interface MemoryReport {
  /** Objects of JavaScript, in bytes. */
  heapUsed: number
  /** Buffers, and what else objects hold outside of the heap. */
  external: number
  /** Bytes that V8 has reserved for the heap. */
  heapTotal: number
  /** The number of each kind of resource: TCPSocketWrap, Timeout, … */
  resources: Record<string, number>
}

const { gc } = globalThis as { gc?: () => void }
if (gc === undefined) throw new Error('Start node with --expose-gc')

process.on('SIGWINCH', async () => { await report(gc) })

async function report (collect: () => void): Promise<void> {
  // What one collection lets go of by finalizers and weak references, the next one takes.
  for (let times = 0; times < 4; times++) {
    collect()
    await new Promise((resolve) => { setTimeout(resolve, 50) })
  }
  const resources: Record<string, number> = {}
  for (const name of process.getActiveResourcesInfo()) resources[name] = (resources[name] ?? 0) + 1
  const { heapUsed, external, heapTotal } = process.memoryUsage()
  writeSync(2, `${JSON.stringify({ heapUsed, external, heapTotal, resources } satisfies MemoryReport)}\n`)
}
