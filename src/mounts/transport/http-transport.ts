import { AsyncLocalStorage } from 'node:async_hooks'
import { setMaxListeners } from 'node:events'
import { PROTOCOL_VERSION_META_KEY, StreamableHTTPClientTransport } from '@modelcontextprotocol/client'
import type {
  JSONRPCErrorResponse, JSONRPCMessage, JSONRPCNotification, JSONRPCRequest, JSONRPCResponse, Transport
} from '@modelcontextprotocol/client'
import { MAX_LEFT_OPEN_MS, createLimitedFetch, sendLimited } from './limited-fetch.ts'
import type { EventSink, HttpResponse, ResponseLimits, ResponseTooLargeError } from './limited-fetch.ts'
import type { Mount } from '../settings/mounts-file.ts'
import type { RequestIdentity } from './request-identity.ts'
import { SentMessage } from './sent-message.ts'
import type { TransportOptions } from './transport-options.ts'

/** The code, outside the range of JSON-RPC, of a request whose response never came (see HttpTransport). */
export const NO_RESPONSE = -39_000

/** Answers a request that gets no response. @param cause tells why, if that is known (findCause) */
export function noResponse (id: string | number, cause?: Error): JSONRPCErrorResponse {
  const message = cause?.message ?? 'The stream ended without a response'
  return { jsonrpc: '2.0', id, error: { code: NO_RESPONSE, message, data: cause } }
}

/** The response may be on its way through the client when its stream has ended. */
const LAST_RESPONSE_MS = 50

/** A server that does not answer is not waited for when its session ends. */
const MAX_TERMINATION_MS = 1_000

/** The shortest time between two attempts to open a stream, whatever the server asks for. */
export const MIN_STREAM_RETRY_MS = 1_000

/** Names a message of the SDK on its way to `fetch`. */
const MESSAGE_HEADER = 'seed-message'

/**
 * The request of 2025 whose response is read: its stream may be resumed. In Node.js 20 and 22, every promise of the
 * process costs more once something has run in this, so no request of 2026-07-28 does.
 */
const RESUMABLE = new AsyncLocalStorage<SentMessage>()

/** Returns the transport of a mount that is reached over Streamable HTTP. */
export function createHttpTransport (
  { url, requestHeaders }: Mount, { maxBytes, timeoutMs, onFailure, identity }: TransportOptions
): Transport {
  const limits = { maxBytes, onTooLarge: onFailure }
  const onTheirWay = new Map<string, SentMessage>()
  const send: typeof fetch = async (input, init = {}) => {
    const headers = new Headers(init.headers)
    const resumed = headers.has('last-event-id') ? RESUMABLE.getStore() : undefined
    const sent = onTheirWay.get(headers.get(MESSAGE_HEADER) ?? '') ?? resumed
    headers.delete(MESSAGE_HEADER)
    const onTooLarge = (error: ResponseTooLargeError): void => {
      if (sent !== undefined) sent.failure = error
      onFailure(error)
    }
    sent?.begin()
    return await createLimitedFetch({ maxBytes, onTooLarge }, sent)(input, { ...init, headers })
  }
  return new HttpTransport(new URL(url!), { ...limits, timeoutMs }, identity, onTheirWay, {
    fetch: identity === undefined
      ? send
      : async (input, init = {}) => await send(input, { ...init, headers: await identity.addTo(init.headers) }),
    requestInit: { headers: requestHeaders },
    reconnectionOptions: {
      initialReconnectionDelay: MIN_STREAM_RETRY_MS,
      maxReconnectionDelay: 60_000,
      reconnectionDelayGrowFactor: 2,
      maxRetries: Number.MAX_SAFE_INTEGER
    },
    reconnectionScheduler (reconnect, delay) {
      const sent = RESUMABLE.getStore()
      const timer = setTimeout(() => {
        if (sent?.isOver !== true) reconnect()
      }, Math.max(delay, MIN_STREAM_RETRY_MS))
      timer.unref()
      return () => { clearTimeout(timer) }
    }
  })
}

type SendOptions = NonNullable<Parameters<StreamableHTTPClientTransport['send']>[1]>
type HttpOptions = NonNullable<ConstructorParameters<typeof StreamableHTTPClientTransport>[1]>

/**
 * Fails a request whose stream has ended without a response: the SDK would wait until the time is up. It ends streams
 * of requests that are answered or cancelled, if the server does not. Closed, it ends the session, if there is one.
 */
export class HttpTransport extends StreamableHTTPClientTransport {
  readonly #url: URL
  readonly #limits: ResponseLimits & Pick<TransportOptions, 'timeoutMs'>
  readonly #identity: RequestIdentity | undefined
  readonly #headers: Record<string, string>
  readonly #closing = new AbortController()
  /** The messages that `fetch` has not got yet, by their numbers. */
  readonly #onTheirWay: Map<string, SentMessage>
  /** The requests without a response, by their ids. */
  readonly #unanswered = new Map<unknown, SentMessage>()
  #messages = 0

  constructor (
    url: URL,
    limits: ResponseLimits & Pick<TransportOptions, 'timeoutMs'>,
    identity: RequestIdentity | undefined,
    onTheirWay: Map<string, SentMessage>,
    options: HttpOptions
  ) {
    super(url, options)
    this.#onTheirWay = onTheirWay
    this.#identity = identity
    this.#url = url
    this.#limits = limits
    setMaxListeners(0, this.#closing.signal)
    this.#headers = Object.fromEntries(new Headers(options.requestInit?.headers))
  }

  /** Sends a message of the caller's own, past the SDK. */
  async post (
    body: string, headers: Record<string, string>, signal: AbortSignal | undefined, events: EventSink
  ): Promise<HttpResponse> {
    const all = {
      ...this.#headers,
      ...headers,
      'content-type': 'application/json',
      accept: 'application/json, text/event-stream'
    }
    const request = {
      method: 'POST',
      headers: this.#identity === undefined ? all : await this.#identity.addTo(all),
      body,
      signals: signal === undefined ? [this.#closing.signal] : [this.#closing.signal, signal]
    }
    return await sendLimited(this.#url, request, this.#limits, events)
  }

  override async send (message: JSONRPCMessage, options: SendOptions = {}): Promise<void> {
    if (!('id' in message && 'method' in message)) {
      await this.#sendOneWay(message, options)
    } else if (options.onRequestStreamEnd === undefined) {
      await this.#sendRequest(message, options)
    } else {
      // Requests that are answered by a stream that stays open handle its end themselves.
      await super.send(message, options)
    }
  }

  /** Lets the SDK send a message, with which `fetch` finds what is known of it. */
  async #sendAs (sent: SentMessage, message: JSONRPCMessage, options: SendOptions): Promise<void> {
    const key = String(++this.#messages)
    this.#onTheirWay.set(key, sent)
    try {
      await super.send(message, { ...options, headers: { ...options.headers, [MESSAGE_HEADER]: key } })
    } finally {
      this.#onTheirWay.delete(key)
    }
  }

  /** Sends a request, whose exchange is ended when it needs no response any more. */
  async #sendRequest (message: JSONRPCRequest, options: SendOptions): Promise<void> {
    const { id } = message
    const sent = new SentMessage()
    const forget = (): void => { this.#unanswered.delete(id) }
    const onRequestStreamEnd = (): void => {
      forget()
      setTimeout(() => { this.onmessage?.(noResponse(id, sent.failure)) }, LAST_RESPONSE_MS).unref()
    }
    this.#unanswered.set(id, sent)
    // Requests of 2026-07-28 are cancelled like this, and the SDK ends their exchange.
    options.requestSignal?.addEventListener('abort', forget, { once: true })
    try {
      const send = async (): Promise<void> => { await this.#sendAs(sent, message, { ...options, onRequestStreamEnd }) }
      await (isModern(message) ? send() : RESUMABLE.run(sent, send))
    } catch (err) {
      forget()
      throw err
    }
  }

  /** Sends a notification or a response, which the server has to accept in time. */
  async #sendOneWay (message: JSONRPCNotification | JSONRPCResponse, options: SendOptions): Promise<void> {
    const sent = new SentMessage()
    sent.endWithin(this.#limits.timeoutMs)
    try {
      await this.#sendAs(sent, message, options)
    } finally {
      if ('method' in message && message.method === 'notifications/cancelled') {
        this.endExchange(message.params?.['requestId'])
      }
    }
  }

  /** Ends the exchange of a request that needs no response any more, if the server does not: it would keep a socket. */
  endExchange (id: unknown): void {
    this.#unanswered.get(id)?.endWithin(MAX_LEFT_OPEN_MS)
    this.#unanswered.delete(id)
  }

  override async close (): Promise<void> {
    this.#closing.abort(new Error('The connection is closed'))
    try {
      await Promise.race([this.terminateSession(), delay(MAX_TERMINATION_MS)])
    } catch {
      // The server forgets the session by itself.
    }
    await super.close()
  }
}

/** Tells whether a request is of 2026-07-28, whose streams cannot be resumed. */
function isModern ({ params }: JSONRPCRequest): boolean {
  return params?._meta?.[PROTOCOL_VERSION_META_KEY] !== undefined
}

async function delay (ms: number): Promise<void> {
  await new Promise((resolve) => { setTimeout(resolve, ms).unref() })
}
