import type { Keyring } from '../../crypto/keyring.ts'
import { randomId } from '../../crypto/hash.ts'
import { CallHolder } from './call-holder.ts'
import type { HeldCall } from './call-holder.ts'
import type { Cluster } from './cluster.ts'
import { ContinuedCalls } from './continued-calls.ts'
import type { Continuation } from './continued-calls.ts'
import { DEAD_AFTER_MS } from './replica-watch.ts'

/** Interval of looking for what a lost message announced, and of checking that the other replica is there. */
const POLL_MS = 2_000

const ID = /^held-call\.([\w-]{12})\.[\w-]{16}$/

export type HeldCalls = ReturnType<typeof createHeldCalls>

/**
 * Calls that wait in the process of one replica for what their client sends next, which may reach any replica: that one
 * hands it to the replica that holds the call, and gets what becomes of the call. Both are sealed in the store. An id
 * names the replica that holds the call.
 *
 * @param options.deadAfterMs time without a heartbeat after which a replica that runs a call counts as dead
 */
export function createHeldCalls (
  cluster: Cluster,
  keyring: Keyring,
  { pollMs = POLL_MS, deadAfterMs = DEAD_AFTER_MS }: { pollMs?: number | undefined, deadAfterMs?: number } = {}
) {
  const { replicas } = cluster
  const holder = new CallHolder(cluster, keyring)
  const continued = new ContinuedCalls(cluster, keyring, deadAfterMs)

  function poll (): void {
    holder.poll()
    continued.poll()
  }

  replicas.onMessage((message) => {
    if (message.kind === 'held-call-continued') holder.onContinued(message.call, message.reader)
    if (message.kind === 'held-call-abandoned') holder.onAbandoned(message.call)
    if (message.kind === 'held-call-event') continued.onEvent(message.call)
  })
  replicas.onGap(poll)
  const polling = setInterval(poll, pollMs).unref()

  return {
    /** Returns an id for a call, which nobody can guess. */
    createId: (): string => `held-call.${replicas.self}.${randomId(12)}`,

    /** Holds a call, until it is continued by another replica. @returns a function that ends that */
    hold: (id: string, call: HeldCall): () => void => holder.hold(id, call),

    /** Tells whether a text is the id of a call that another replica holds. */
    isElsewhere (id: string): boolean {
      const [, replica] = ID.exec(id) ?? []
      return replica !== undefined && replica !== replicas.self
    },

    /**
     * Continues a call that another replica holds.
     *
     * @returns what its holder returns
     * @throws HeldCallLostError if the call cannot be continued; the reason of the abort
     */
    continueElsewhere: async (id: string, continuation: Continuation): Promise<string> =>
      await continued.continue(id, ID.exec(id)![1]!, continuation),

    /** Resolves when no call runs here for another replica. */
    idle: async (): Promise<void> => { await holder.idle() },

    /** Gives up the calls that run here for other replicas, which find out that this one has stopped. */
    close (): void {
      clearInterval(polling)
      holder.close()
    }
  }
}
