import type { Identity } from './identity.ts'
import type { Pinning } from './machine.ts'
import type { Sampling } from './rounds.ts'
import type { ProviderEnv } from './targets.ts'

/** The input of each part of the benchmark. */
export interface Context {
  pinning: Pinning
  identity: Identity
  provider: ProviderEnv
  /** Tokens of 64 people, who call all the time. */
  tokens: readonly string[]
  sampling: Sampling
  rounds: number
  /** The number of restarts of all servers: the luck of one process (memory, compiled code) is then in the spread. */
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

/** The result of a part. */
export interface PartResult {
  title: string
  /** Lines of the report. */
  lines: string[]
  verdicts: Verdict[]
  /** Failures, which were left out. */
  problems?: string[]
  /** The last line of all. */
  headline?: string | undefined
  /** Bars of the picture, in parts of the bare route. */
  bars?: Bar[]
}

export interface Bar {
  label: string
  ratio: number
  /** Seed, or what it is compared with. */
  kind: 'seed' | 'base' | 'other'
}

/** A target, and whether it was reached. */
export interface Verdict {
  /** The number of the requirement. */
  item: string
  wanted: string
  measured: string
  reached: boolean
}
