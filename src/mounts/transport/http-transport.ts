import { AsyncLocalStorage } from 'node:async_hooks'
import { setMaxListeners } from 'node:events'
import { StreamableHTTPClientTransport } from '@modelcontextprotocol/client'
import type { JSONRPCErrorResponse, JSONRPCMessage, Transport } from '@modelcontextprotocol/client'
import { createLimitedFetch, sendLimited } from './limited-fetch.ts'
import type { EventSink, EventSource, HttpResponse, ResponseLimits, ResponseTooLargeError } from './limited-fetch.ts'
import type { Mount } from '../settings/mounts-file.ts'
import type { RequestIdentity } from './request-identity.ts'
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

/** A request that the SDK sends. */
interface SentRequest {
  id: string | number
  /** The error that has ended its stream: the SDK keeps no more than the text. */
  failure?: ResponseTooLargeError
  /** The stream that answers it. */
  stream?: EventSource
}

/** The request whose response is read; undefined for all that belongs to none. */
const SENT = new AsyncLocalStorage<SentRequest | undefined>()

/** Returns the transport of a mount that is reached over Streamable HTTP. */
export function createHttpTransport (
  { url, requestHeaders }: Mount, { maxBytes, onFailure, identity }: TransportOptions
): Transport {
  const limits = { maxBytes, onTooLarge: onFailure }
  const send: typeof fetch = async (input, init) => {
    const sent = SENT.getStore()
    const onTooLarge = (error: ResponseTooLargeError): void => {
      if (sent !== undefined) sent.failure = error
      onFailure(error)
    }
    const onStream = (stream: EventSource): void => {
      if (sent !== undefined) sent.stream = stream
    }
    return await createLimitedFetch({ maxBytes, onTooLarge }, onStream)(input, init)
  }
  return new HttpTransport(new URL(url!), limits, identity, {
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
      const timer = setTimeout(reconnect, Math.max(delay, MIN_STREAM_RETRY_MS))
      timer.unref()
      return () => { clearTimeout(timer) }
    }
  })
}

type SendOptions = NonNullable<Parameters<StreamableHTTPClientTransport['send']>[1]>
type HttpOptions = NonNullable<ConstructorParameters<typeof StreamableHTTPClientTransport>[1]>

/**
 * Fails a request whose stream has ended without a response: the SDK would wait until the time is up. Closed, it ends
 * the session, if there is one.
 */
export class HttpTransport extends StreamableHTTPClientTransport {
  readonly #url: URL
  readonly #limits: ResponseLimits
  readonly #identity: RequestIdentity | undefined
  readonly #headers: Record<string, string>
  readonly #closing = new AbortController()

  constructor (url: URL, limits: ResponseLimits, identity: RequestIdentity | undefined, options: HttpOptions) {
    super(url, options)
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
    // Requests that are answered by a stream that stays open handle its end themselves.
    if (!('id' in message) || !('method' in message) || options.onRequestStreamEnd !== undefined) {
      await SENT.run(undefined, async () => { await super.send(message, options) })
      return
    }
    const { id } = message
    const sent: SentRequest = { id }
    await SENT.run(sent, async () => {
      await super.send(message, {
        ...options,
        onRequestStreamEnd: () => {
          setTimeout(() => { this.onmessage?.(noResponse(id, sent.failure)) }, LAST_RESPONSE_MS).unref()
        }
      })
    })
  }

  /** Ends the stream on which a response has come, if the server does not: each would keep a socket. */
  endStream (id: string | number): void {
    const sent = SENT.getStore()
    if (sent?.id === id) sent.stream?.endSoon()
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

async function delay (ms: number): Promise<void> {
  await new Promise((resolve) => { setTimeout(resolve, ms).unref() })
}
