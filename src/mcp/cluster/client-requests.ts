import type { JSONRPCResponse } from '@modelcontextprotocol/server'
import { randomId } from '../../crypto/hash.ts'
import { keys } from '../../store/keys.ts'
import type { Store } from '../../store/store.ts'
import { runInBackground } from './background.ts'
import type { BackgroundLog } from './background.ts'
import type { Replicas } from './replicas.ts'

/**
 * Requests of this server to clients (elicitation, sampling, roots) whose answers are awaited. The answer is a POST of
 * its own, which may reach any replica: the request's id names the replica that waits, and the answer waits for it in
 * the store, under the session that it came from.
 */
export interface ClientRequests {
  /** @returns the id for the request, which no other request of any replica has */
  open (session: string, onAnswer: (answer: JSONRPCResponse) => void): string
  /** The answer is not awaited any more. */
  close (id: string): void
  /**
   * Takes what a client posted as an answer; one that nobody waits for goes nowhere.
   * @throws StoreUnavailableError
   */
  answer (session: string, answer: JSONRPCResponse): Promise<void>
  stop (): void
}

const KEPT_SECONDS = 300
/** Should a message be lost on its way. */
const LOOK_MS = 5_000

export function createClientRequests (store: Store, replicas: Replicas, log: BackgroundLog, lookMs = LOOK_MS): ClientRequests {
  const awaited = new Map<string, { session: string, onAnswer: (answer: JSONRPCResponse) => void }>()

  function deliver (id: string, answer: JSONRPCResponse): void {
    const request = awaited.get(id)
    awaited.delete(id)
    request?.onAnswer(answer)
  }

  async function look (id: string): Promise<void> {
    const request = awaited.get(id)
    if (request === undefined) return
    const answer = await store.take(keys.answer(request.session, id))
    if (answer !== undefined) deliver(id, JSON.parse(answer) as JSONRPCResponse)
  }

  const lookForAll = (): void => { for (const id of awaited.keys()) runInBackground(look(id), log) }
  replicas.onMessage((message) => { if (message.kind === 'answered') runInBackground(look(message.request), log) })
  replicas.onGap(lookForAll)
  const looking = setInterval(lookForAll, lookMs).unref()

  return {
    open (session, onAnswer) {
      const id = `${replicas.self}.${randomId(9)}`
      awaited.set(id, { session, onAnswer })
      return id
    },

    close (id) {
      awaited.delete(id)
    },

    async answer (session, answer) {
      const { id } = answer
      const [, replica] = /^([\w-]{12})\.[\w-]{12}$/.exec(String(id)) ?? []
      if (replica === undefined) return
      if (replica !== replicas.self) {
        // The first answer counts.
        await store.setIfAbsent(keys.answer(session, String(id)), JSON.stringify(answer), KEPT_SECONDS)
        replicas.send({ kind: 'answered', request: String(id) }, replica)
      } else if (awaited.get(String(id))?.session === session) {
        deliver(String(id), answer)
      }
    },

    stop () { clearInterval(looking) }
  }
}
