import { cpuOf, residentOf, busyTimeOf } from './machine.ts'
import type { Pinning } from './machine.ts'
import { closedLoop, percentile } from './load.ts'
import type { Traffic } from './load.ts'

/** One look at one server. */
export interface Sample {
  perSecond: number
  /** CPU time of the server's process for one request, in microseconds. */
  cpuMicros: number
  /** The same for the helpers of the subject, all together. */
  helperMicros: number
  /** Milliseconds, at saturation. */
  p99: number
  /** Bytes, at its end. */
  rss: number
  /** The share of its core that the server's process used: well below one, it was not what limits. */
  share: number
  /** The share of either core that others used meanwhile, the machine below included. */
  foreign: number
}

export interface Sampling {
  warmMs: number
  measureMs: number
  /** The most times that a disturbed sample is taken again. */
  retakes: number
}

/** A server that runs, and the traffic to it. */
export interface Subject {
  name: string
  port: number
  pid: number
  traffic: Traffic
  /** Other processes of the benchmark's that work meanwhile on the load core. */
  helpers: readonly number[]
}

/** More than this of a core taken by others, and a sample counts as disturbed. */
export const DISTURBED = 0.05

/** A server that used less than this of its core may have been limited by something else. */
export const MIN_SHARE = 0.8

export interface RoundsOptions {
  rounds: number
  pinning: Pinning
  sampling: Sampling
  progress (text: string): void
  /** Takes what went wrong with a subject, by name: it is left out from then on. Without it, nothing may. */
  problems?: Map<string, string>
}

/** Samples all subjects in each round, in random order. @returns the samples of each subject, one per round */
export async function runRounds (
  subjects: readonly Subject[],
  { rounds, pinning, sampling, progress, problems }: RoundsOptions
): Promise<Sample[][]> {
  const samples: Sample[][] = subjects.map(() => [])
  // Compiled code and buffers come with use: a round before the first does not count.
  for (const [index, subject] of subjects.entries()) {
    progress(`warming ${subject.name}`)
    await take(index, async () => { await sample(subject, pinning, sampling) })
  }
  for (let round = 1; round <= rounds; round++) {
    for (const index of shuffled(subjects.length)) {
      const subject = subjects[index]!
      await take(index, async () => {
        let best = await sample(subject, pinning, sampling)
        for (let tries = 0; tries < sampling.retakes && best.foreign > DISTURBED; tries++) {
          const again = await sample(subject, pinning, sampling)
          if (again.foreign < best.foreign) best = again
        }
        samples[index]!.push(best)
        const note = best.foreign > DISTURBED ? `, disturbed (${(best.foreign * 100).toFixed(0)} % of a core)` : ''
        progress(`round ${round} of ${rounds}: ${subject.name}: ${best.perSecond.toFixed(0)} per second${note}`)
      })
    }
  }
  return samples

  async function take (index: number, work: () => Promise<void>): Promise<void> {
    const { name } = subjects[index]!
    if (problems?.has(name) === true) return
    try {
      await work()
    } catch (err) {
      if (problems === undefined) throw err
      problems.set(name, (err as Error).message)
      progress(`FAILED ${(err as Error).message}`)
    }
  }
}

/** What was used up to the beginning or the end of a sample, in milliseconds. */
interface Edge {
  at: number
  cpu: number
  helpers: number
  own: number
  taken: { server: number, load: number }
}

export async function sample (
  { name, port, pid, traffic, helpers }: Subject,
  { server, load }: Pinning,
  { warmMs, measureMs }: Sampling
): Promise<Sample> {
  const samples: Edge[] = []
  const edge = (): void => {
    const helped = helpers.reduce((sum, helper) => sum + cpuOf(helper), 0)
    samples.push({
      at: performance.now(),
      cpu: cpuOf(pid),
      helpers: helped,
      own: cpuOf(process.pid) + helped,
      taken: { server: busyTimeOf(server), load: busyTimeOf(load) }
    })
  }
  const running = closedLoop(port, traffic, { warmMs, measureMs, edge })
  const { requests, elapsedMs, latencies } = await running.catch((err: Error) => {
    throw new Error(`${name}: ${err.message}`)
  })
  const [from, to] = samples as [Edge, Edge]
  const wall = to.at - from.at
  const cpu = to.cpu - from.cpu
  return {
    perSecond: (requests / elapsedMs) * 1_000,
    cpuMicros: (cpu * 1_000) / requests,
    helperMicros: ((to.helpers - from.helpers) * 1_000) / requests,
    p99: percentile(latencies, 0.99),
    rss: residentOf(pid),
    share: cpu / wall,
    foreign:
      Math.max(0, to.taken.server - from.taken.server - cpu, to.taken.load - from.taken.load - (to.own - from.own)) /
      wall
  }
}

function shuffled (count: number): number[] {
  const order = Array.from({ length: count }, (_none, index) => index)
  for (let at = count - 1; at > 0; at--) {
    const other = Math.floor(Math.random() * (at + 1));
    [order[at], order[other]] = [order[other]!, order[at]!]
  }
  return order
}

export interface Spread {
  median: number
  min: number
  max: number
}

export function spread (values: readonly number[]): Spread {
  const sorted = [...values].sort((a, b) => a - b)
  const middle = (sorted.length - 1) / 2
  return {
    median: (sorted[Math.floor(middle)]! + sorted[Math.ceil(middle)]!) / 2,
    min: sorted[0]!,
    max: sorted.at(-1)!
  }
}
