import { setImmediate as turn } from 'node:timers/promises'
import type { GossipStore, Message } from '../../src/limits/gossip.ts'
import { createSharedCounters } from '../../src/limits/shared-counters.ts'
import type { SharedCounters, SharedCountersOptions } from '../../src/limits/shared-counters.ts'
import { createMemoryStore } from '../../src/store/memory.ts'
import { StoreUnavailableError } from '../../src/store/store.ts'
import type { Test } from 'tap'

/** Replicas on one memory store, whose timers run only by `elapse`. The minute begins with the test. */
export function startCounting (t: Test) {
  const store = createMemoryStore()
  t.teardown(() => store.close())
  const clock = { now: 0 }
  const timers = new Set<{ ms: number, at: number, act: () => void }>()
  /** The messages that were published, except heartbeats without values. */
  const messages: Message[] = []
  const warnings: object[] = []
  const state = { away: false, losing: false }

  function every (ms: number, act: () => void): () => void {
    const timer = { ms, at: clock.now + ms, act }
    timers.add(timer)
    return () => { timers.delete(timer) }
  }

  /** Lets messages be sent and answered within turns of the event loop. */
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

  /** A replica; `kill` ends it as SIGKILL does, and `reconnect` is its store's gap. */
  function replica (replicaId: string, options: Partial<SharedCountersOptions> & { aheadMs?: number } = {}): {
    counters: SharedCounters
    kill: () => void
    reconnect: () => void
  } {
    const { aheadMs = 0, ...others } = options
    let dead = false
    let onGap = (): void => {}
    const own: GossipStore = {
      reportUnreadable: store.reportUnreadable,
      async publish (channel, message) {
        if (dead) return
        if (state.away) throw new StoreUnavailableError()
        const parsed = JSON.parse(message) as Message
        if (parsed.values.length > 0) messages.push(parsed)
        if (!state.losing) await store.publish(channel, message)
      },
      subscribe (channel, onMessage, begin) {
        onGap = begin
        store.subscribe(channel, (message) => { if (!dead && !state.away) onMessage(message) }, begin)
      }
    }
    const counters = createSharedCounters(own, {
      replicaId,
      now: () => clock.now,
      wallClock: () => 1_800_000_000_000 + clock.now + aheadMs,
      every: (ms, act) => every(ms, () => { if (!dead) act() }),
      log: { warn: (fields) => { warnings.push(fields) } },
      ...others
    })
    t.teardown(() => counters.close())
    return { counters, kill: () => { dead = true }, reconnect: () => { onGap() } }
  }

  return { store, state, messages, warnings, timers, replica, elapse, settle }
}
