import { setMaxListeners } from 'node:events'
import type { IncomingHttpHeaders } from 'node:http'
import type { Dispatcher } from 'undici'
import { isDeeperThan } from '../../json/depth.ts'
import { GrowingBuffer } from '../../net/growing-buffer.ts'
import { dispatcherFor } from '../../net/proxy.ts'
import { LineJoiner, LineSplitter } from './event-reader.ts'

/** A response of a mounted server that is larger than its limit. */
export class ResponseTooLargeError extends Error {
  override readonly name = 'ResponseTooLargeError'

  constructor (limit: number, unit = 'bytes (maxResponseBytes)') {
    super(`sent more than ${limit} ${unit}`)
  }
}

/** Limit of the levels of one message: JSON.stringify would overflow the stack at a few thousand. */
const MAX_LEVELS = 500

/** @throws ResponseTooLargeError for a message that could not be passed on */
export function checkDepth (message: unknown): void {
  if (isDeeperThan(message, MAX_LEVELS)) throw new ResponseTooLargeError(MAX_LEVELS, 'levels of JSON')
}

/** Limit of the lines of one stream, of which a message has two: the shortest take as long to read as any other. */
const MAX_LINES = 20_000

export interface HttpRequest {
  method: string
  headers: Record<string, string>
  body: string | null
  /** Each of them gives the request up. */
  signals: readonly AbortSignal[]
}

export interface HttpResponse {
  status: number
  statusText: string
  headers: IncomingHttpHeaders
  /** The body; empty for an event stream, which is handed on as it comes. */
  body: Buffer
}

/** The server's side of an event stream. */
export interface EventSource extends Pick<Dispatcher.DispatchController, 'resume' | 'abort'> {
  /** Ends the stream in a moment, unless the server does: its response has come, and nothing that is missed follows. */
  endSoon (): void
}

/** How long a server may leave an exchange open after its response. */
export const MAX_LEFT_OPEN_MS = 1_000

/** The receiver of an event stream. */
export interface EventSink {
  /** Called before the first data. */
  onStart? (response: HttpResponse, source: EventSource): void
  /** Gets what has come. @returns whether to wait until `resume` is called */
  onData (chunk: Buffer): boolean
}

/** Limits of what a mounted server sends. */
export interface ResponseLimits {
  maxBytes: number
  /** Gets what the MCP client may report as something else. */
  onTooLarge (error: ResponseTooLargeError): void
}

/**
 * Sends a request whose response has a limited size: a body as a whole, and an event stream for one message. A stream
 * that has sent twice as much is cut off as well; those of changes, which may be open for days, are then opened again.
 *
 * This is undici's dispatcher, as `fetch` and its streams take several times the CPU time of a call. Redirects are not
 * followed here, and responses are not compressed.
 *
 * @returns the response when it is complete
 * @throws TypeError, as `fetch` does, if there is none
 */
export async function sendLimited (
  url: URL, request: HttpRequest, limits: ResponseLimits, events: EventSink
): Promise<HttpResponse> {
  const { method, headers, body, signals } = request
  for (const signal of signals) signal.throwIfAborted()
  const dispatcher = await dispatcherFor(url)
  return await new Promise((resolve, reject) => {
    dispatcher.dispatch({
      origin: url.origin,
      path: `${url.pathname}${url.search}`,
      method: method as Dispatcher.HttpMethod,
      headers: { ...headers, 'accept-encoding': 'identity' },
      body,
      // Each request has a limit of its own, which may be longer than that of undici.
      headersTimeout: 0
    }, new Receiver({ limits, events, signals, resolve, reject }))
  })
}

interface ReceiverOptions {
  limits: ResponseLimits
  events: EventSink
  signals: readonly AbortSignal[]
  resolve (response: HttpResponse): void
  reject (reason: unknown): void
}

class Receiver implements Dispatcher.DispatchHandler, EventSource {
  readonly #options: ReceiverOptions
  readonly #body = new GrowingBuffer()
  #response: Omit<HttpResponse, 'body'> | undefined
  #findExcess: FindExcess
  #isStream = false
  #controller: Dispatcher.DispatchController | undefined
  #endTimer: NodeJS.Timeout | undefined

  constructor (options: ReceiverOptions) {
    this.#options = options
    this.#findExcess = countAll(options.limits.maxBytes)
    for (const signal of options.signals) signal.addEventListener('abort', this.#onAbort)
  }

  onRequestStart (controller: Dispatcher.DispatchController): void {
    this.#controller = controller
    if (this.#options.signals.some(({ aborted }) => aborted)) this.#onAbort()
  }

  onResponseStart (
    _controller: unknown, status: number, headers: IncomingHttpHeaders, statusText = ''
  ): void {
    this.#response = { status, headers, statusText }
    this.#isStream = isEventStream(headers)
    if (!this.#isStream) return
    const { limits, events } = this.#options
    this.#findExcess = countEvents(limits.maxBytes)
    events.onStart?.({ ...this.#response, body: EMPTY }, this)
  }

  onResponseData (controller: Dispatcher.DispatchController, chunk: Buffer): void {
    // Undici hands on an empty chunk whenever a response is resumed: passed on, it is read, and resumes it again.
    if (chunk.byteLength === 0) return
    const { limits, events } = this.#options
    const error = this.#findExcess(chunk)
    if (error !== undefined) {
      limits.onTooLarge(error)
      controller.abort(error)
    } else if (!this.#isStream) {
      this.#body.append(chunk)
    } else if (events.onData(chunk)) {
      controller.pause()
    }
  }

  onResponseEnd (): void {
    this.#release()
    this.#options.resolve({ ...this.#response!, body: this.#body.take() })
  }

  onResponseError (_controller: unknown, cause: Error): void {
    this.#release()
    const { signals, reject } = this.#options
    const aborted = signals.find((signal) => signal.aborted)
    if (aborted !== undefined) reject(aborted.reason)
    else reject(cause instanceof ResponseTooLargeError ? cause : new TypeError('fetch failed', { cause }))
  }

  resume (): void {
    this.#controller!.resume()
  }

  abort (reason: Error): void {
    this.#controller?.abort(reason)
  }

  endSoon (): void {
    this.#endTimer ??= setTimeout(() => {
      this.abort(new Error('The stream was left open after the response'))
    }, MAX_LEFT_OPEN_MS).unref()
  }

  readonly #onAbort = (): void => {
    this.abort(new Error('The request is given up'))
  }

  #release (): void {
    clearTimeout(this.#endTimer)
    for (const signal of this.#options.signals) signal.removeEventListener('abort', this.#onAbort)
  }
}

const EMPTY = Buffer.alloc(0)

export function isEventStream (headers: IncomingHttpHeaders): boolean {
  return headers['content-type']?.startsWith('text/event-stream') === true
}

/**
 * Returns a `fetch` for the MCP client, which is given of a response what it reads: a real one costs more. It gets an
 * event stream in whole lines.
 *
 * @param exchange given up by its signal, too, and told when the response is complete or has failed
 */
export function createLimitedFetch (
  limits: ResponseLimits, exchange?: { readonly signal: AbortSignal, end (): void }
): typeof fetch {
  return async (input, { method = 'GET', headers, body = null, signal } = {}) => {
    const url = new URL(String(input))
    const signals = [signal, exchange?.signal].filter((one) => one != null)
    // The MCP client gives all requests of a connection the same signal. Each listener is removed with its request.
    for (const one of signals) setMaxListeners(0, one)
    const request = {
      method,
      headers: Object.fromEntries(new Headers(headers)),
      body: body as string | null,
      signals
    }
    return await new Promise((resolve, reject) => {
      let stream: ReadableStreamDefaultController<Uint8Array> | undefined
      let isRead = true
      const lines = new LineJoiner()
      const sent = sendLimited(url, request, limits, {
        onStart (response, source) {
          const content = new ReadableStream<Uint8Array>({
            start (controller) { stream = controller },
            pull () { source.resume() },
            cancel () {
              isRead = false
              source.abort(new Error('The stream is not read any more'))
            }
          })
          resolve(toFetchResponse(url, response, content))
        },
        onData (chunk) {
          const joined = lines.join(chunk)
          if (isRead && joined.byteLength > 0) stream!.enqueue(joined)
          return isRead && stream!.desiredSize! <= 0
        }
      })
      sent.then((response) => {
        if (stream === undefined) resolve(toFetchResponse(url, response, null))
        else if (isRead) stream.close()
      }, (err: unknown) => {
        reject(err)
        if (isRead) stream?.error(err)
      }).finally(() => { exchange?.end() })
    })
  }
}

type FetchResponse = Pick<Response, 'url' | 'type' | 'status' | 'statusText' | 'ok' | 'text' | 'json'> & {
  headers: Headers
  body: ReadableStream<Uint8Array> | null
}

function toFetchResponse (
  { href }: URL, { status, statusText, headers, body }: HttpResponse, stream: ReadableStream<Uint8Array> | null
): Response {
  const response: FetchResponse = {
    url: href,
    type: 'default',
    status,
    statusText,
    ok: status >= 200 && status < 300,
    headers: new Headers(headers as Record<string, string>),
    body: stream,
    text: async () => body.toString('utf8'),
    json: async () => JSON.parse(body.toString('utf8')) as unknown
  }
  return response as unknown as Response
}

/** Counts a further chunk. @returns an error if it is one too many */
type FindExcess = (chunk: Buffer) => ResponseTooLargeError | undefined

function countAll (maxBytes: number, limit = maxBytes): FindExcess {
  let bytes = 0
  return (chunk) => {
    bytes += chunk.byteLength
    return bytes > limit ? new ResponseTooLargeError(maxBytes) : undefined
  }
}

function countEvents (maxBytes: number): FindExcess {
  const findExcess = countAll(maxBytes, 2 * maxBytes)
  const splitter = new LineSplitter()
  let lines = 0
  let lineBytes = 0
  return (chunk) => {
    const parts = splitter.split(chunk)
    const rest = parts.at(-1)!.byteLength
    // The data of a message is one line; a client keeps no more than the line that has not ended.
    lines += parts.length - 1
    lineBytes = parts.length === 1 ? lineBytes + rest : rest
    if (lineBytes > maxBytes) return new ResponseTooLargeError(maxBytes)
    return lines > MAX_LINES ? new ResponseTooLargeError(MAX_LINES, 'lines in one stream') : findExcess(chunk)
  }
}
