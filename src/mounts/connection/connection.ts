import { ProtocolError, SdkError, SdkErrorCode, SdkHttpError } from '@modelcontextprotocol/client'
import type { Client, ClientCapabilities, ClientOptions, LoggingLevel } from '@modelcontextprotocol/client'
import { runOutside } from '../../async/run-outside.ts'
import { unlessAborted } from '../../async/unless-aborted.ts'
import { isAsSevereAs } from '../../define/log-level.ts'
import type { Caller } from '../caller/caller.ts'
import type { CallerIdentity } from '../caller/caller-identity.ts'
import { ALL_CAPABILITIES, passedCapabilities, sessionCapabilities } from '../caller/client-capabilities.ts'
import { CallLog, wantedLogLevel } from './call-log.ts'
import { findCause, findToolError } from './failure.ts'
import { MIN_STREAM_RETRY_MS } from '../transport/http-transport.ts'
import type { ResponseTooLargeError } from '../transport/limited-fetch.ts'
import { fetchOffers } from './lists.ts'
import type { FetchedLists } from './lists.ts'
import { MountClient } from '../transport/mount-client.ts'
import { connectTimeoutMs } from '../settings/mounts-file.ts'
import type { Mount } from '../settings/mounts-file.ts'
import { ProcessFailure } from '../transport/process-failure.ts'
import { answerQuestions } from './questions.ts'
import { RunningCalls } from './running-calls.ts'
import type { RunningCall } from './running-calls.ts'
import { RequestIdentity } from '../transport/request-identity.ts'
import type { CallOptions } from '../transport/request-identity.ts'
import { createTransport } from '../transport/transport.ts'
import type { TransportOptions } from '../transport/transport-options.ts'

/** The shortest time between two notifications of changed roots. */
const ROOTS_PAUSE_MS = 200

/** Requests of one call. @param options must be among those of each request */
export type Work<T> = (client: Client, options: CallOptions) => Promise<T>

export interface ConnectionOptions {
  mount: Mount
  version: string
  /** MCP_MAX_RESULT_BYTES */
  maxResultBytes: number
  /** The caller whose connection it is; undefined for the connection that fetches the lists, which all may share. */
  caller?: Caller
  /** Called when a list of the server has changed. Without it the connection does not listen for changes. */
  onListChanged?: () => void
  /** Called when the connection has ended, unless it was closed. */
  onClosed (connection: Connection): void
  /** Gets what happens to the server's process, if it has one. */
  processLog: TransportOptions['processLog']
  /** Called when log messages of a call were more, or longer, than is passed on. */
  onLogDropped: (count: number) => void
  /** Speaks a revision of 2025, without asking for a newer one. */
  isLegacy?: boolean
  /** Ends the connection, also while it is opened. */
  signal: AbortSignal
  /** Makes what tells the server who calls, if it is told. */
  identify?: CallerIdentity | undefined
}

/**
 * A connection to a mounted server, in whichever revision both sides know. It belongs to one caller, or to all. With
 * `connection: session` it declares the capabilities of the client whose session it is, or all of them if it fetches
 * the lists, and none otherwise; in 2026-07-28 each request declares those of its own client.
 */
export class Connection {
  readonly client: Client
  /** The caller whose connection it is; undefined if it is that of all. */
  readonly caller: Caller | undefined
  /** The last reason for which the server was cut off, if it was. */
  failure: ResponseTooLargeError | ProcessFailure | undefined
  readonly #mount: Mount
  readonly #onListChanged: (() => void) | undefined
  readonly #onClosed: (connection: Connection) => void
  readonly #onLogDropped: (count: number) => void
  readonly #removeAbortListener: () => void
  #isClosed = false
  readonly #identity: RequestIdentity | undefined
  readonly #calls: RunningCalls
  /** The lowest level that was set at a server of 2025. */
  #serverLogLevel: LoggingLevel | undefined
  readonly #tellsOfRoots: boolean
  #rootsTimer: NodeJS.Timeout | undefined
  #isRetired = false
  /** Kept, as the connection is closed when one of several calls has found it out. */
  #hasLostSession = false

  private constructor (options: ConnectionOptions) {
    const { mount, version, caller, identify, onListChanged, onClosed, isLegacy = false, signal } = options
    this.#mount = mount
    this.caller = caller
    this.#calls = new RunningCalls(mount.connection === 'session')
    this.#identity = identify === undefined ? undefined : new RequestIdentity(identify, caller)
    this.#onListChanged = onListChanged && (() => { runOutside(onListChanged) })
    this.#onClosed = (connection) => { runOutside(() => { onClosed(connection) }) }
    this.#onLogDropped = options.onLogDropped
    const capabilities = capabilitiesOf(mount, caller, isLegacy)
    this.client = new MountClient({ name: 'seed', version }, {
      capabilities,
      versionNegotiation: { mode: isLegacy ? 'legacy' : 'auto', probe: { timeoutMs: this.#timeoutMs } },
      ...(this.#onListChanged !== undefined && { listChanged: onAnyChange(this.#onListChanged) }),
      inputRequired: { autoFulfill: false }
    })
    this.#tellsOfRoots = capabilities.roots?.listChanged === true
    answerQuestions(this.client, capabilities, { findCaller: async () => await this.#calls.findAsked(), owner: caller })
    this.client.setNotificationHandler('notifications/message', ({ params }) => {
      this.#calls.findLog()?.receive(params)
    })
    const onAbort = (): void => { this.close() }
    signal.addEventListener('abort', onAbort, { once: true })
    this.#removeAbortListener = () => { signal.removeEventListener('abort', onAbort) }
  }

  /** @throws any error if the server cannot be reached, or speaks something other than MCP */
  static async open (options: ConnectionOptions): Promise<Connection> {
    return await runOutside(async () => await Connection.#openInAnyRevision(options))
  }

  static async #openInAnyRevision (given: ConnectionOptions): Promise<Connection> {
    const options = given.mount.protocolVersion === undefined ? given : { ...given, isLegacy: true }
    try {
      return await Connection.#open(options)
    } catch (err) {
      if (!(err instanceof ProcessFailure) || err.isRefusal || options.isLegacy === true) throw err
      // Servers of 2025 may end at a request before initialize, which the question for 2026-07-28 is.
      return await Connection.#open({ ...options, isLegacy: true })
    }
  }

  static async #open (options: ConnectionOptions): Promise<Connection> {
    const { mount, maxResultBytes, caller, signal } = options
    const connection = new Connection(options)
    const transport = createTransport(mount, {
      maxBytes: mount.maxResponseBytes ?? maxResultBytes,
      timeoutMs: connection.#timeoutMs,
      onFailure: (error) => { connection.failure = error },
      processLog: options.processLog,
      caller,
      identity: connection.#identity
    })
    try {
      await unlessAborted(connection.client.connect(transport, { timeout: connection.#timeoutMs }), signal)
      connection.client.onclose = () => { if (!connection.#isClosed) connection.#onClosed(connection) }
      connection.#keepListening()
      return connection
    } catch (err) {
      await connection.close()
      await transport.close()
      throw connection.failure ?? findToolError(err) ?? err
    }
  }

  /** The revision of the protocol that both sides speak. */
  get revision (): string {
    return this.client.getNegotiatedProtocolVersion()!
  }

  /** Whether each request stands for itself, so that the server keeps nothing of whoever sent the last one. */
  get isStateless (): boolean {
    return this.revision >= '2026-07-28'
  }

  /** Fetches all lists. @throws any error if one of them cannot be had */
  async list (): Promise<FetchedLists> {
    return await runOutside(async () => await fetchOffers(this.client, this.#timeoutMs))
  }

  /**
   * Runs a call, which a connection that is given up still finishes.
   *
   * @throws SdkError for a result that asks for input in a way that the revision does not have
   */
  async run<T extends object> (caller: Caller, work: Work<T>): Promise<T> {
    const call: RunningCall = { caller, log: this.#createLog(caller) }
    this.#calls.begin(call)
    const options = this.#identity?.begin(caller) ?? {}
    try {
      if (call.log !== undefined) await this.#setLogLevel(call.log.level, caller.signal!)
      const result = await this.#calls.within(call, async () => await work(this.client, options))
      if (isInputRequired(result) || !('inputRequests' in result || 'requestState' in result)) return result
      throw new SdkError(SdkErrorCode.UnsupportedResultType, 'The result asks for input')
    } finally {
      this.#identity?.end(options)
      this.#calls.end(call)
      await call.log?.end()
      if (call.log !== undefined && call.log.dropped > 0) this.#onLogDropped(call.log.dropped)
      if (this.#isRetired) this.#closeIfUnused()
    }
  }

  #createLog (caller: Caller): CallLog | undefined {
    const level = this.client.getServerCapabilities()!.logging === undefined ? undefined : wantedLogLevel(caller)
    return level === undefined ? undefined : new CallLog(caller, level, this.#mount)
  }

  /** Has a server of 2025 send messages of a level, on a connection that is not everybody's. Some send none before. */
  async #setLogLevel (level: LoggingLevel, signal: AbortSignal): Promise<void> {
    const known = this.#serverLogLevel
    if (this.caller === undefined || !this.isLegacy || (known !== undefined && isAsSevereAs(level, known))) return
    this.#serverLogLevel = level
    // One that refuses it sends what it sends by itself.
    await this.client.setLoggingLevel(level, { timeout: this.#timeoutMs, signal }).catch(() => {})
  }

  /**
   * Tells whether the server has forgotten the session. It then answers 404 (MCP 2025-11-25, session management), to a
   * ping as well; a proxy or a broken tool may answer 404 to a single request.
   */
  async hasLostSession (): Promise<boolean> {
    if (this.#isInSession) {
      const isLost = await this.client.ping({ timeout: this.#timeoutMs }).then(() => false, isNotFound)
      this.#hasLostSession ||= isLost
    }
    return this.#hasLostSession
  }

  /** Tells whether the session, or the process, answers. Without these there is nothing that could be lost. */
  async isAlive (): Promise<boolean> {
    if (!this.#isInSession && this.#mount.process === undefined) return true
    // 2026-07-28 has no ping.
    const work = this.isLegacy ? this.client.ping({ timeout: this.#timeoutMs }) : this.list()
    return await work.then(() => true, (err: unknown) => err instanceof ProtocolError)
  }

  /** Returns why a request on this connection failed. The MCP client says of all that the connection is closed. */
  causeOf (err: unknown): unknown {
    const isClosed = err instanceof SdkError && err.code === SdkErrorCode.ConnectionClosed
    return isClosed ? this.failure ?? err : findCause(err)
  }

  /** Whether both sides speak a revision of 2025. */
  get isLegacy (): boolean {
    return this.client.getProtocolEra() === 'legacy'
  }

  get #isInSession (): boolean {
    return this.client.transport?.sessionId !== undefined
  }

  /** Tells a server of 2025 that the client's roots have changed, once for several changes in a short time. */
  notifyRootsChanged (): void {
    if (!this.#tellsOfRoots) return
    this.#rootsTimer ??= setTimeout(() => {
      this.#rootsTimer = undefined
      Promise.allSettled([this.client.sendRootsListChanged()])
    }, ROOTS_PAUSE_MS).unref()
  }

  /** Gives the connection up: it is closed when its last call has ended. @returns when it is closed, if that is now */
  async retire (): Promise<void> {
    this.#isRetired = true
    await this.#closeIfUnused()
  }

  async #closeIfUnused (): Promise<void> {
    if (this.#calls.count === 0) await this.close()
  }

  /** Ends the connection, and the session if there is one. */
  async close (): Promise<void> {
    this.#isClosed = true
    clearTimeout(this.#rootsTimer)
    this.#removeAbortListener()
    await this.client.close().catch(() => {})
  }

  /**
   * Opens the subscription of a 2026-07-28 server again when it ends: proxies end idle streams. What was missed
   * meanwhile is fetched, which also finds out whether the server is still there.
   */
  async #keepListening (): Promise<void> {
    let subscription = this.client.autoOpenedSubscription
    while (subscription !== undefined) {
      await subscription.closed
      await delay(MIN_STREAM_RETRY_MS)
      if (this.#isClosed) return
      this.#onListChanged!()
      subscription = await this.client.listen(subscription.honoredFilter, { timeout: this.#timeoutMs })
        .catch(() => undefined)
    }
  }

  get #timeoutMs (): number {
    return connectTimeoutMs(this.#mount)
  }
}

/** Returns what a connection declares: the capabilities of the client whose session it is, or none. */
function capabilitiesOf (mount: Mount, caller: Caller | undefined, isLegacy: boolean): ClientCapabilities {
  if (mount.connection !== 'session') return {}
  if (caller === undefined) return ALL_CAPABILITIES
  return isLegacy ? sessionCapabilities(caller) : passedCapabilities(caller)
}

/** A result that asks for input instead of having an answer. */
export interface InputRequired {
  inputRequests: Record<string, unknown>
  requestState?: string
}

/** Tells whether the server asks for input. The MCP client lets only those of 2026-07-28 say so. */
export function isInputRequired (result: object): result is InputRequired {
  return (result as { resultType?: unknown }).resultType === 'input_required'
}

function isNotFound (err: unknown): boolean {
  return err instanceof SdkHttpError && err.status === 404
}

function onAnyChange (onChanged: () => void): NonNullable<ClientOptions['listChanged']> {
  const options = { autoRefresh: false, debounceMs: 100, onChanged }
  return { tools: options, prompts: options, resources: options }
}

async function delay (ms: number): Promise<void> {
  await new Promise((resolve) => { setTimeout(resolve, ms).unref() })
}
