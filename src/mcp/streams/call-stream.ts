import { setTimeout as delay } from 'node:timers/promises'
import { isJSONRPCRequest } from '@modelcontextprotocol/server'
import type { JSONRPCMessage, JSONRPCResponse, RequestId } from '@modelcontextprotocol/server'
import { randomId } from '../../crypto/hash.ts'
import { ToolError } from '../../define/tool.ts'
import { keys } from '../../store/keys.ts'
import type { Cluster } from '../cluster/cluster.ts'
import { streamResponse } from '../exchange.ts'
import type { EventStream, McpResponse } from '../exchange.ts'
import { hasEmptyEvents } from '../revisions.ts'
import type { Session } from '../sessions/session.ts'
import { formatCallEventId } from './event-id.ts'
import type { EventStreams } from './event-stream.ts'
import { CLOSED_TTL_SECONDS, MAX_EVENTS, RETRY_MS, saveStreamRecord } from './stream-record.ts'
import type { StreamName, StreamRecord } from './stream-record.ts'

/** A POST with requests in a session. */
export interface CallRequest {
  session: Session
  /** The ids of the requests in the POST. */
  requests: RequestId[]
  /** The body was an array (2025-03-26). */
  isBatch: boolean
  acceptsStream: boolean
}

export interface CallStreamOptions {
  cluster: Cluster
  eventStreams: EventStreams
  /** Time for which the store holds a running stream after its last event. */
  ttlSeconds: number
  /** Time to wait for the responses before a stream is opened. */
  streamAfterMs?: number | undefined
  /** Interval of trying whether a store that failed is back. */
  pollMs?: number | undefined
}

const STREAM_AFTER_MS = 1_000
const POLL_MS = 1_000
/** Events beyond these sizes are sent but not stored. */
const MAX_STORED_BYTES = 4 * 1_048_576
const MAX_STORED_EVENT_BYTES = 1_048_576
/** Writes to the store that may wait before senders have to wait. */
const MAX_UNSTORED = 64

/**
 * The answer to a POST in a session. It is JSON as long as only the responses are to be sent and they come soon. It
 * becomes a stream when another message must be sent first, or after `streamAfterMs`. The stream's events are numbered
 * and stored, so that a client whose connection breaks can resume it at any replica (MCP 2025-11-25, resumability); a
 * broken connection does not stop the call.
 */
export class CallStream {
  /** The first part of the ids of the stream's events. */
  readonly name: string
  readonly answer: Promise<McpResponse>
  /** Resolves when every request is answered, and everything is stored. */
  readonly finished: Promise<void>
  readonly #call: CallRequest
  readonly #options: CallStreamOptions
  readonly #unanswered: Set<RequestId>
  /** The responses so far, as JSON. */
  readonly #responses: string[] = []
  #connection: EventStream | undefined
  #opening: Promise<void> | undefined
  /** The replica where the client reads the stream since it resumed it. */
  #reader: string | undefined
  /** Whether the stream can be resumed: everything so far is in the store. */
  #isStored = true
  #storedBytes = 0
  /** The number of the last event. */
  #number = 0
  /** Writes to the store that have not ended. */
  #unstored = 0
  /** Writes to the store, one after the other. */
  #storing: Promise<void> = Promise.resolve()
  readonly #streamTimer: NodeJS.Timeout | undefined
  #setAnswer!: (answer: McpResponse) => void
  #setFinished!: () => void

  constructor (call: CallRequest, options: CallStreamOptions) {
    this.#call = call
    this.#options = options
    this.name = `${options.cluster.replicas.self}.${randomId(9)}`
    this.#unanswered = new Set(call.requests)
    this.answer = new Promise((resolve) => { this.#setAnswer = resolve })
    this.finished = new Promise((resolve) => { this.#setFinished = resolve })
    if (call.acceptsStream) {
      const { streamAfterMs = STREAM_AFTER_MS } = options
      this.#streamTimer = setTimeout(() => { this.#opening ??= this.#open() }, streamAfterMs).unref()
    }
  }

  /**
   * Sends a notification or a request to the client. Notifications to a client that accepts no stream are dropped.
   * @throws ToolError for a request to such a client
   */
  async send (message: JSONRPCMessage): Promise<void> {
    if (!this.#call.acceptsStream) {
      if (!isJSONRPCRequest(message)) return
      throw new ToolError(`This client cannot be asked for ${message.method}: ` +
        'it does not accept streams (text/event-stream in Accept)')
    }
    if (this.#unanswered.size === 0) return
    this.#opening ??= this.#open()
    await this.#opening
    this.#write(JSON.stringify(message))
  }

  /** Waits until the client and the store can take more. */
  async untilReady (): Promise<void> {
    await this.#connection?.untilReady()
    if (this.#unstored > MAX_UNSTORED) await this.#storing
  }

  respond (response: JSONRPCResponse): void {
    const id = response.id as RequestId
    if (!this.#unanswered.has(id)) return
    this.#responses.push(this.#serialize(response))
    this.#settleRequest(id)
  }

  /** Settles a request that gets no response: the client has cancelled it. */
  dropRequest (id: RequestId): void {
    this.#settleRequest(id)
  }

  /** Answers every open request with an error, or with 503 when nothing was sent yet: the client may send it again. */
  fail (message: string): void {
    for (const id of [...this.#unanswered]) {
      this.#responses.push(JSON.stringify({ jsonrpc: '2.0', id, error: { code: -32000, message } }))
      this.#settleRequest(id)
    }
    if (this.#opening !== undefined) return
    const { headers, body } = this.#toJson()
    this.#setAnswer({ status: 503, headers: { ...headers, 'retry-after': '1' }, body })
  }

  /** Leaves the connection to the replica where the client has resumed the stream: this one or another. */
  moveTo (replica: string): void {
    this.#connection?.end()
    this.#connection = undefined
    const { replicas } = this.#options.cluster
    if (this.#reader !== undefined && this.#reader !== replica) {
      replicas.send({ kind: 'stream-moved', stream: this.name }, this.#reader)
    }
    this.#reader = replica
    // Events may have been appended before this replica knew the reader.
    this.#notifyReader()
  }

  async #open (): Promise<void> {
    const { eventStreams, ttlSeconds } = this.#options
    const { requests, session } = this.#call
    await this.#save({ requests }, ttlSeconds).catch((err: unknown) => { this.#giveUpStoring(err) })
    this.#connection = eventStreams.open()
    this.#setAnswer(streamResponse(this.#connection))
    if (this.#isStored && hasEmptyEvents(session.protocolVersion)) {
      this.#connection.write({ data: '', id: formatCallEventId(this.name, 0), retryMs: RETRY_MS })
    } else {
      this.#connection.comment('open')
    }
  }

  #write (data: string): void {
    const number = ++this.#number
    this.#connection?.write({ data, id: this.#isStored ? formatCallEventId(this.name, number) : undefined })
    this.#storedBytes += data.length
    const fits = data.length <= MAX_STORED_EVENT_BYTES && this.#storedBytes <= MAX_STORED_BYTES
    this.#store(async () => { await (fits ? this.#append(data, number) : this.#markLost({ tooLarge: true })) })
  }

  /** Runs a write to the store after those before it, unless one of them has failed. */
  #store (work: () => Promise<void>): void {
    this.#unstored++
    this.#storing = this.#storing.then(async () => {
      if (this.#isStored) await work().catch((err: unknown) => { this.#giveUpStoring(err) })
      this.#unstored--
    })
  }

  /** Continues the stream without the store: its events get no ids, so it cannot be resumed. */
  #giveUpStoring (err: unknown): void {
    this.#isStored = false
    const { onBackgroundError, runInBackground } = this.#options.cluster
    onBackgroundError(err)
    const { session: { digest }, requests } = this.#call
    runInBackground(markLostOnceStoreIsBack({ session: digest, stream: this.name }, requests, this.#options))
  }

  async #append (data: string, number: number): Promise<void> {
    const { cluster: { store }, ttlSeconds } = this.#options
    const key = keys.events(this.#call.session.digest, this.name)
    const newest = await store.append(key, data, { ttlSeconds, maxEntries: MAX_EVENTS, expectedNumber: number })
    // The store has lost the earlier events.
    if (newest < number) await this.#markLost()
    else this.#notifyReader()
  }

  async #markLost (reason: Pick<StreamRecord, 'tooLarge'> = {}): Promise<void> {
    this.#isStored = false
    await this.#save({ requests: this.#call.requests, lost: true, ...reason }, CLOSED_TTL_SECONDS)
    this.#notifyReader()
  }

  async #markClosed (): Promise<void> {
    await this.#save({ requests: this.#call.requests, closed: this.#number }, CLOSED_TTL_SECONDS)
    this.#notifyReader()
  }

  async #save (record: StreamRecord, ttlSeconds: number): Promise<void> {
    const name = { session: this.#call.session.digest, stream: this.name }
    await saveStreamRecord(this.#options.cluster.store, name, record, ttlSeconds)
  }

  #notifyReader (): void {
    if (this.#reader === undefined) return
    this.#options.cluster.replicas.send({ kind: 'event-appended', stream: this.name }, this.#reader)
  }

  #settleRequest (id: RequestId): void {
    if (!this.#unanswered.delete(id) || this.#unanswered.size > 0) return
    this.#options.cluster.runInBackground(this.#complete())
  }

  /** Sends the responses, as JSON or as the stream's last events. */
  async #complete (): Promise<void> {
    clearTimeout(this.#streamTimer)
    await this.#opening
    if (this.#opening === undefined) {
      this.#setAnswer(this.#toJson())
    } else {
      for (const response of this.#responses) {
        await this.#connection?.untilReady()
        this.#write(response)
      }
      this.#connection?.end()
      this.#store(async () => { await this.#markClosed() })
    }
    await this.#storing
    this.#setFinished()
  }

  #toJson (): McpResponse {
    if (this.#responses.length === 0) return { status: 202, headers: {}, body: null }
    const body = this.#call.isBatch ? `[${this.#responses.join(',')}]` : this.#responses[0]!
    return { status: 200, headers: { 'content-type': 'application/json' }, body }
  }

  /** Returns the JSON of a response, or of an error instead: every request gets an answer. */
  #serialize (response: JSONRPCResponse): string {
    try {
      return JSON.stringify(response)
    } catch (err) {
      this.#options.cluster.onBackgroundError(err)
      const error = { code: -32603, message: 'Internal error: the result has no JSON form' }
      return JSON.stringify({ jsonrpc: '2.0', id: response.id, error })
    }
  }
}

/**
 * Marks a stream as lost as soon as the store takes it. A client that resumes the stream by an earlier event would
 * otherwise wait for events that nobody stores. While the store is away, this must not hold the stream and its
 * responses.
 */
async function markLostOnceStoreIsBack (
  name: StreamName, requests: RequestId[], { cluster, ttlSeconds, pollMs = POLL_MS }: CallStreamOptions
): Promise<void> {
  const deadline = performance.now() + ttlSeconds * 1_000
  let isMarked = false
  while (!isMarked && performance.now() < deadline) {
    isMarked = await saveStreamRecord(cluster.store, name, { requests, lost: true }).then(() => true, () => false)
    if (!isMarked) await delay(pollMs, undefined, { ref: false })
  }
}
