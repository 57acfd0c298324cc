import { ProtocolError, SdkError, SdkErrorCode, SdkHttpError } from '@modelcontextprotocol/client'
import type { Client } from '@modelcontextprotocol/client'
import { createCoalescedTask } from '../async/coalesced-task.ts'
import type { RequestLog } from '../define/context.ts'
import { ToolError } from '../define/tool.ts'
import { Connection } from './connection.ts'
import type { Offers } from './connection.ts'
import { NO_RESPONSE } from './http-transport.ts'
import { ResponseTooLargeError } from './limited-fetch.ts'
import type { Mount } from './mounts-file.ts'
import { toUpstreamError } from './upstream-error.ts'

export interface MountedServerOptions {
  mount: Mount
  version: string
  /** MCP_MAX_RESULT_BYTES */
  maxResultBytes: number
  log: RequestLog
  /** Called when the offers may have changed. */
  onChanged (): void
  /** The first pause after a failed attempt to connect; doubled after each further one, up to a minute. */
  retryMs: number
}

const MAX_RETRY_MS = 60_000
const DEFAULT_REFRESH_SECONDS = 300
const NO_OFFERS: Offers = { tools: [], prompts: [], resources: [], templates: [], completes: false }

/**
 * A mounted server: connected, or away and on its way back. While it is away its offers stay as they were, and whatever
 * needs it fails with an error that says so. Nothing here affects another mount.
 */
export class MountedServer {
  readonly mount: Mount
  /** The last lists that the server gave. */
  offers: Offers = NO_OFFERS
  readonly #options: MountedServerOptions
  #connection: Connection | undefined
  #connecting: Promise<void> | undefined
  #timer: NodeJS.Timeout | undefined
  #failures = 0
  readonly #closing = new AbortController()
  readonly #refreshing = createCoalescedTask(async () => { await this.#fetchLists() }, () => {})

  constructor (options: MountedServerOptions) {
    this.mount = options.mount
    this.#options = options
  }

  /** Connects, or waits for the attempt that is under way. A failure is logged, and tried again later. */
  async connect (): Promise<void> {
    this.#connecting ??= this.#connect().finally(() => { this.#connecting = undefined })
    await this.#connecting
  }

  /**
   * Sends a request to the server. One that the server has certainly not seen, as it forgot the session, is sent again.
   *
   * @throws UpstreamError with the server's own error; ToolError with a text for the model; the reason of the abort
   */
  async use<T extends object> (work: (client: Client) => Promise<T>, signal?: AbortSignal): Promise<T> {
    const connection = this.#connection
    if (connection === undefined) throw this.#unavailable()
    try {
      return await connection.run(work)
    } catch (err) {
      if (!isForgottenSession(err)) throw this.#toError(err, connection, signal)
      this.#lose(connection, err)
      await this.connect()
    }
    const next = this.#connection as Connection | undefined
    if (next === undefined) throw this.#unavailable()
    try {
      return await next.run(work)
    } catch (err) {
      throw this.#toError(err, next, signal)
    }
  }

  async close (): Promise<void> {
    this.#closing.abort(new Error('Seed is shutting down'))
    clearTimeout(this.#timer)
    await this.#connecting
    await this.#connection?.close()
    this.#connection = undefined
  }

  async #connect (): Promise<void> {
    clearTimeout(this.#timer)
    const { mount, version, maxResultBytes, log } = this.#options
    let connection: Connection | undefined
    try {
      connection = await Connection.open({
        mount,
        version,
        maxResultBytes,
        signal: this.#closing.signal,
        onListChanged: () => { this.#refreshing.request() }
      })
      const offers = await connection.list()
      this.#connection = connection
      this.#failures = 0
      this.#setOffers(offers)
      const { tools, prompts, resources } = offers
      const counts = { tools: tools.length, prompts: prompts.length, resources: resources.length }
      const { revision } = connection
      log.info({ event: 'mount.connected', mount: mount.name, revision, ...counts },
        'A mounted MCP server is connected')
      this.#refreshLater()
    } catch (err) {
      const cause = connection?.failure ?? err
      await connection?.close()
      this.#retryLater(cause)
    }
  }

  #setOffers (offers: Offers): void {
    const isSame = JSON.stringify(offers) === JSON.stringify(this.offers)
    this.offers = offers
    if (!isSame) this.#options.onChanged()
  }

  /** Fetches the lists again, unless the server is away: they are fetched when it is back. */
  async #fetchLists (): Promise<void> {
    const connection = this.#connection
    if (connection === undefined) return
    try {
      this.#setOffers(await connection.list())
      this.#refreshLater()
    } catch (err) {
      this.#lose(connection, connection.failure ?? err)
    }
  }

  #refreshLater (): void {
    clearTimeout(this.#timer)
    const seconds = this.mount.refreshSeconds ?? DEFAULT_REFRESH_SECONDS
    this.#timer = setTimeout(() => { this.#refreshing.request() }, seconds * 1_000)
    this.#timer.unref()
  }

  /** Gives a connection up, unless another one has replaced it already. */
  #lose (connection: Connection, err: unknown): void {
    if (this.#connection !== connection) return
    this.#connection = undefined
    connection.retire()
    this.#retryLater(err)
  }

  #retryLater (err: unknown): void {
    if (this.#closing.signal.aborted) return
    const { log, retryMs } = this.#options
    if (this.#failures++ === 0) {
      log.warn({ event: 'mount.unavailable', mount: this.mount.name, reason: describe(err) },
        'A mounted MCP server cannot be used; Seed tries again by itself, and what the server offers fails meanwhile')
    }
    const pause = Math.min(MAX_RETRY_MS, retryMs * 2 ** (this.#failures - 1))
    clearTimeout(this.#timer)
    // Replicas that lost a server together do not come back together.
    this.#timer = setTimeout(() => { this.connect() }, pause * (0.5 + Math.random() / 2))
    this.#timer.unref()
  }

  #unavailable (): ToolError {
    return new ToolError(`The server behind ${this.mount.name} is not available at the moment: try again later`)
  }

  /** Returns what the caller is to know of a failure, and gives the connection up if that is what failed. */
  #toError (err: unknown, connection: Connection, signal: AbortSignal | undefined): unknown {
    const { name } = this.mount
    if (signal?.aborted === true) return err
    if (err instanceof ProtocolError && err.code !== NO_RESPONSE) {
      return toUpstreamError(err)
    }
    const { failure } = connection
    if (failure instanceof ResponseTooLargeError) {
      connection.failure = undefined
      return new ToolError(`The server behind ${name} ${failure.message}: ask for less`)
    }
    if (err instanceof SdkError && err.code === SdkErrorCode.UnsupportedResultType) {
      return new ToolError(`The server behind ${name} asks for input of the client, which Seed does not pass on`)
    }
    if (isMalformed(err)) return new ToolError(`The server behind ${name} answered with something other than MCP`)
    if (err instanceof SdkError && err.code === SdkErrorCode.RequestTimeout) {
      return new ToolError(`The server behind ${name} did not answer in time`)
    }
    if (err instanceof SdkHttpError && !OUTAGES.includes(err.status)) {
      return new ToolError(`The server behind ${name} answered with HTTP status ${err.status}`)
    }
    this.#lose(connection, err)
    return this.#unavailable()
  }
}

/** Statuses that every further request would get as well: the secret is refused, or nothing answers behind a proxy. */
const OUTAGES: readonly number[] = [401, 403, 404, 502, 503, 504]

/** Tells whether the server answered 404 to a session that it gave (MCP, session management). */
function isForgottenSession (err: unknown): boolean {
  return err instanceof SdkHttpError && err.status === 404
}

function isMalformed (err: unknown): boolean {
  if (err instanceof SdkError) return err.code === SdkErrorCode.InvalidResult
  return err instanceof SyntaxError || (err as Error).name === 'ZodError'
}

/** Names an error for the log. The message of fetch says nothing; its cause has the code. */
function describe (err: unknown): string {
  const { message, cause } = err as Error
  const code = (cause as NodeJS.ErrnoException | undefined)?.code
  return (code === undefined ? message : `${message} (${code})`).slice(0, 500)
}
