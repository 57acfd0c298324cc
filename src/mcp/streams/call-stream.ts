import type { JSONRPCMessage, JSONRPCResponse, RequestId } from '@modelcontextprotocol/server'
import { isJSONRPCRequest } from '@modelcontextprotocol/server'
import { randomId } from '../../crypto/hash.ts'
import { keys } from '../../store/keys.ts'
import type { Store } from '../../store/store.ts'
import type { EventStream, McpResponse } from '../exchange.ts'
import { errorResponse, jsonResponse, streamResponse } from '../exchange.ts'
import { runInBackground } from '../cluster/background.ts'
import type { BackgroundLog } from '../cluster/background.ts'
import { ToolError } from '../../define/tool.ts'
import type { EventStreams } from './event-stream.ts'
import type { Replicas } from '../cluster/replicas.ts'
import type { Session } from '../sessions/sessions.ts'

/**
 * The answer to a POST of a session: JSON while it is plain and quick, and a stream as soon as something else than the
 * response must be sent, or it takes longer. A stream's events are numbered and kept in the store, so that a client
 * that was cut off reads on where it was, at any replica (MCP 2025-11-25, resumability); it does not stop the call.
 */
export interface CallStream {
  /** Part of the ids of its events. */
  readonly name: string
  readonly answer: Promise<McpResponse>
  /** Resolves when all is answered and kept. */
  readonly finished: Promise<void>
  /** Sends a notification or a request to the client. One that takes no stream goes without. @throws ToolError for a request to it */
  emit (message: JSONRPCMessage): Promise<void>
  respond (response: JSONRPCResponse): void
  /** There will be no response to this request. */
  drop (id: RequestId): void
  /** Answers all that is open with an error; where nothing was sent yet, with 503, as nothing is known to be done. */
  fail (message: string): void
  /** The client reads it elsewhere now: at this replica or another. */
  readBy (replica: string): void
}

/** What the store keeps of a stream besides its events. */
export interface StreamRecord {
  requests: RequestId[]
  /** The number of its last event, once it is complete. */
  closed?: number
  /** There is more than was kept. */
  lost?: true
  /** What its events' numbers in the store lack to those that the client was told. */
  shift?: number
}

export interface CallStreamOptions {
  store: Store
  replicas: Replicas
  streams: EventStreams
  log: BackgroundLog
  /** How long the store keeps a running stream after its last event. */
  ttlSeconds: number
  /** How long to wait for a plain answer. */
  streamAfterMs?: number | undefined
}

export const MAX_EVENTS = 1_000
const CLOSED_TTL_SECONDS = 300
const MAX_KEPT_BYTES = 4 * 1_048_576
const MAX_EVENT_BYTES = 1_048_576
/** What a client waits before it comes back. */
export const RETRY_MS = 1_000

/** What is answered. */
export interface CallRequest {
  session: Session
  /** Ids of the requests in the POST. */
  requests: RequestId[]
  /** It was an array (2025-03-26). */
  batch: boolean
  acceptsStream: boolean
}

export function openCallStream ({ session, requests, batch, acceptsStream }: CallRequest, options: CallStreamOptions): CallStream {
  const { store, replicas, streams, log, ttlSeconds, streamAfterMs = 1_000 } = options
  const name = `${replicas.self}.${randomId(9)}`
  const open = new Set(requests)
  const responses: JSONRPCResponse[] = []
  let connection: EventStream | undefined
  let reader: string | undefined
  let opening: Promise<void> | undefined
  let kept = true
  let keptBytes = 0
  let number = 0
  let keeping: Promise<void> = Promise.resolve()
  let settle: (answer: McpResponse) => void
  let finish: () => void
  const answer = new Promise<McpResponse>((resolve) => { settle = resolve })
  const finished = new Promise<void>((resolve) => { finish = resolve })
  const patience = acceptsStream ? setTimeout(() => { opening ??= openStream() }, streamAfterMs).unref() : undefined

  const save = async (record: StreamRecord, seconds: number): Promise<void> => {
    await store.set(keys.stream(session.digest, name), JSON.stringify(record), seconds)
  }

  /** Without the store it is streamed all the same, but cannot be resumed: its events get no ids. */
  function giveUp (err: unknown): void {
    kept = false
    runInBackground(Promise.reject(err), log)
  }

  async function openStream (): Promise<void> {
    await save({ requests }, ttlSeconds).catch(giveUp)
    connection = streams.open()
    settle(streamResponse(connection))
    // Clients before 2025-11-25 take an event without data for a broken message.
    if (kept && session.protocolVersion >= '2025-11-25') connection.write({ data: '', id: `${name}.0`, retryMs: RETRY_MS })
    else connection.comment('open')
  }

  function write (message: JSONRPCMessage): void {
    const data = JSON.stringify(message)
    number++
    const at = number
    connection?.write({ data, id: kept ? `${name}.${at}` : undefined })
    keptBytes += data.length
    const fits = data.length <= MAX_EVENT_BYTES && keptBytes <= MAX_KEPT_BYTES
    keeping = keeping.then(async () => { if (kept) await (fits ? keep(data, at) : lose()).catch(giveUp) })
  }

  async function keep (data: string, at: number): Promise<void> {
    const newest = await store.append(keys.events(session.digest, name), data, { ttlSeconds, most: MAX_EVENTS, at })
    // The store lost the log in between.
    if (newest < at) await lose()
    if (reader !== undefined) replicas.send({ kind: 'appended', stream: name }, reader)
  }

  async function lose (): Promise<void> {
    kept = false
    await save({ requests, lost: true }, CLOSED_TTL_SECONDS)
    if (reader !== undefined) replicas.send({ kind: 'appended', stream: name }, reader)
  }

  async function closeRecord (): Promise<void> {
    await save({ requests, closed: number }, CLOSED_TTL_SECONDS)
    if (reader !== undefined) replicas.send({ kind: 'appended', stream: name }, reader)
  }

  /** All is answered: the plain answer goes out, or the stream ends. */
  async function complete (): Promise<void> {
    clearTimeout(patience)
    await opening
    if (opening === undefined) {
      settle(responses.length === 0 ? { status: 202, headers: {}, body: null } : jsonResponse(200, batch ? responses : responses[0]))
    } else {
      for (const response of responses) write(response)
      connection?.end()
      keeping = keeping.then(async () => { if (kept) await closeRecord().catch(giveUp) })
    }
    await keeping
    finish()
  }

  function settled (id: RequestId): void {
    if (open.delete(id) && open.size === 0) runInBackground(complete(), log)
  }

  return {
    name,
    answer,
    finished,

    async emit (message) {
      if (!acceptsStream) {
        if (isJSONRPCRequest(message)) throw new ToolError(`This client cannot be asked for ${message.method}: it takes no stream (text/event-stream in Accept)`)
        return
      }
      if (open.size === 0) return
      opening ??= openStream()
      await opening
      write(message)
    },

    respond (response) {
      const id = response.id as RequestId
      if (!open.has(id)) return
      responses.push(response)
      settled(id)
    },

    drop (id) { settled(id) },

    fail (message) {
      if (opening === undefined) settle(errorResponse(503, -32000, message, { 'retry-after': '1' }))
      for (const id of [...open]) {
        responses.push({ jsonrpc: '2.0', id, error: { code: -32000, message } })
        settled(id)
      }
    },

    readBy (replica) {
      connection?.end()
      connection = undefined
      if (reader !== undefined && reader !== replica) replicas.send({ kind: 'moved', stream: name }, reader)
      reader = replica
      // What was appended before this was known here.
      replicas.send({ kind: 'appended', stream: name }, reader)
    }
  }
}
