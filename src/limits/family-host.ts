import type { Gossip } from './gossip.ts'
import type { MinuteWindow } from './minute-window.ts'

/** The parts of the shared counters that a gauge or counter uses. */
export interface FamilyHost {
  readonly gossip: Pick<Gossip, 'announce' | 'scheduleFlush' | 'otherReplicas'>
  readonly minute: MinuteWindow
  /** Maximum of names in one family. */
  readonly maxNames: number
  /** Calls every family's `tick` from now on, until none has anything left to announce. */
  startTicking (): void
  /** Logs, once a minute, that a family has no room for another name. */
  warnOfNames (family: string): void
}
