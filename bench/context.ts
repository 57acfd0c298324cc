import type { Identity } from './identity.ts'
import type { Pinning } from './machine.ts'
import type { Sampling } from './rounds.ts'
import type { ProviderEnv } from './targets.ts'

/** What each part of the benchmark is given. */
export interface Context {
  pinning: Pinning
  identity: Identity
  provider: ProviderEnv
  /** Of 64 people: those who call all the time. */
  tokens: readonly string[]
  sampling: Sampling
  rounds: number
  /** How often all servers are restarted: the luck of one process (memory, compiled code) is then in the spread. */
  generations: number
  /** Shorter and less of everything, to see whether a change helps. */
  quick: boolean
  /** Names of targets; empty for all. */
  only: readonly string[]
  /** Other builds of Seed, by name: their folders. */
  builds: ReadonlyMap<string, string>
  /** Other settings of Node's for Seed. */
  flags: readonly string[]
  progress (text: string): void
}

/** What a part found out. */
export interface PartResult {
  title: string
  /** Of the report. */
  lines: string[]
  verdicts: Verdict[]
  /** What went wrong, and was left out. */
  problems?: string[]
  /** The last line of all. */
  headline?: string | undefined
  /** Of the picture: what is compared, of the bare route. */
  bars?: Bar[]
}

export interface Bar {
  label: string
  ratio: number
  /** Seed, or what it is compared with. */
  kind: 'seed' | 'base' | 'other'
}

/** What was to be reached, and whether it was. */
export interface Verdict {
  /** The number of the requirement. */
  item: string
  wanted: string
  measured: string
  reached: boolean
}
