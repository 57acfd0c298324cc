import type { JSONRPCResponse } from '@modelcontextprotocol/server'
import { Type } from 'typebox'
import { randomId } from '../../crypto/hash.ts'
import { keys } from '../../store/keys.ts'
import { defineMessage } from '../../store/record.ts'
import type { Cluster } from './cluster.ts'

/** A JSON-RPC response (JSON-RPC 2.0 section 5). */
const answerRecord = defineMessage("client's answer", Type.Union([
  Type.Object({
    jsonrpc: Type.Literal('2.0'), id: Type.String(), result: Type.Record(Type.String(), Type.Unknown())
  }),
  Type.Object({
    jsonrpc: Type.Literal('2.0'),
    id: Type.String(),
    error: Type.Object({ code: Type.Integer(), message: Type.String() })
  })
]))

const RESPONSE_TTL_SECONDS = 300
/** Finds responses whose message was lost. */
const POLL_MS = 5_000

export type ClientRequests = ReturnType<typeof createClientRequests>

/**
 * Requests of this server to clients (elicitation, sampling, roots) whose responses are awaited. A response is a POST
 * of its own and may reach any replica. The request's id names the replica that awaits the response; another replica
 * that receives it leaves it in the store, under the session that it came from.
 */
export function createClientRequests ({ store, replicas, runInBackground }: Cluster, pollMs = POLL_MS) {
  const pending = new Map<string, { session: string, onResponse: (response: JSONRPCResponse) => void }>()

  function resolve (id: string, response: JSONRPCResponse): void {
    const request = pending.get(id)
    pending.delete(id)
    request?.onResponse(response)
  }

  async function poll (id: string): Promise<void> {
    const request = pending.get(id)
    if (request === undefined) return
    const key = keys.answer(request.session, id)
    const text = await store.get(key)
    if (text === undefined) return
    const response = answerRecord.parse(store, text)
    if (response !== undefined) resolve(id, response as JSONRPCResponse)
    // Read first, then deleted: when a connection breaks, a command may have run although its reply is lost.
    await store.delete(key)
  }

  function pollAll (): void {
    for (const id of pending.keys()) runInBackground(poll(id))
  }

  replicas.onMessage((message) => { if (message.kind === 'request-answered') runInBackground(poll(message.request)) })
  replicas.onGap(pollAll)
  const polling = setInterval(pollAll, pollMs).unref()

  return {
    /** @returns an id for the request that no other request of any replica has */
    create (session: string, onResponse: (response: JSONRPCResponse) => void): string {
      const id = `${replicas.self}.${randomId(9)}`
      pending.set(id, { session, onResponse })
      return id
    },

    /** Stops awaiting the response. */
    discard (id: string): void {
      pending.delete(id)
    },

    /**
     * Hands over a response that a client has posted; one that nobody awaits is ignored.
     * @throws StoreUnavailableError
     */
    async deliver (session: string, response: JSONRPCResponse): Promise<void> {
      const id = String(response.id)
      const [, replica] = /^([\w-]{12})\.[\w-]{12}$/.exec(id) ?? []
      if (replica === undefined) return
      if (replica !== replicas.self) {
        // The first response counts.
        await store.setIfAbsent(keys.answer(session, id), JSON.stringify(response), RESPONSE_TTL_SECONDS)
        replicas.send({ kind: 'request-answered', request: id }, replica)
      } else if (pending.get(id)?.session === session) {
        resolve(id, response)
      }
    },

    stop (): void { clearInterval(polling) }
  }
}
