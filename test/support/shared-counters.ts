import { setImmediate as turn } from 'node:timers/promises'
import { createTallies } from '../../src/limits/shared-counters.ts'
import type { Tallies, TalliesOptions } from '../../src/limits/shared-counters.ts'
import { createMemoryStore } from '../../src/store/memory.ts'
import { StoreUnavailableError } from '../../src/store/store.ts'
import type { Store } from '../../src/store/store.ts'
import type { Test } from 'tap'

export interface Message {
  from: string
  beat: number
  window: number
  whole: boolean
  asks: boolean
  told: Array<[kind: string, name: string, value: number]>
}

/** Replicas on one memory store whose timers run only by `elapse`. A minute begins when the test does. */
export function startReplicas (t: Test) {
  const store = createMemoryStore()
  t.teardown(() => store.close())
  const clock = { now: 0 }
  const timers = new Set<{ ms: number, at: number, act: () => void }>()
  /** What was published, except the beats that tell nothing. */
  const messages: Message[] = []
  const warnings: object[] = []
  const state = { away: false, losing: false }

  function every (ms: number, act: () => void): () => void {
    const timer = { ms, at: clock.now + ms, act }
    timers.add(timer)
    return () => { timers.delete(timer) }
  }

  /** What is told, asked and answered within turns of the event loop. */
  async function settle (): Promise<void> {
    for (let turns = 0; turns < 4; turns++) await turn()
  }

  async function elapse (ms: number): Promise<void> {
    await settle()
    const end = clock.now + ms
    for (;;) {
      const [next] = [...timers].filter(({ at }) => at <= end).sort((one, other) => one.at - other.at)
      if (next === undefined) break
      clock.now = next.at
      next.at += next.ms
      next.act()
      await settle()
    }
    clock.now = end
  }

  /** `kill` ends one as SIGKILL does: it hears and tells nothing any more. */
  function replica (replicaId: string, options: Partial<TalliesOptions> & { aheadMs?: number } = {}): { tallies: Tallies, kill: () => void, comeBack: () => void } {
    const { aheadMs = 0, ...others } = options
    let dead = false
    let onGap = (): void => {}
    const own: Pick<Store, 'publish' | 'subscribe'> = {
      async publish (channel, message) {
        if (dead) return
        if (state.away) throw new StoreUnavailableError()
        const parsed = JSON.parse(message) as Message
        if (parsed.told.length > 0) messages.push(parsed)
        if (!state.losing) await store.publish(channel, message)
      },
      subscribe (channel, onMessage, begin) {
        onGap = begin
        store.subscribe(channel, (message) => { if (!dead && !state.away) onMessage(message) }, begin)
      }
    }
    const tallies = createTallies(own, {
      replicaId,
      now: () => clock.now,
      wallClock: () => 1_800_000_000_000 + clock.now + aheadMs,
      every: (ms, act) => every(ms, () => { if (!dead) act() }),
      log: { warn: (fields) => { warnings.push(fields) } },
      ...others
    })
    t.teardown(() => tallies.close())
    return { tallies, kill: () => { dead = true }, comeBack: () => { onGap() } }
  }

  return { store, state, messages, warnings, timers, replica, elapse, settle }
}
