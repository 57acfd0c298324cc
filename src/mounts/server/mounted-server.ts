import { setMaxListeners } from 'node:events'
import { SdkHttpError } from '@modelcontextprotocol/client'
import { createCoalescedTask } from '../../async/coalesced-task.ts'
import type { RequestLog } from '../../define/context.ts'
import type { ToolError } from '../../define/tool.ts'
import { toAnsweredError, toConnectionError, toUnavailableError } from '../connection/call-error.ts'
import { toOwner } from '../caller/caller.ts'
import type { Caller } from '../caller/caller.ts'
import type { CallerIdentity } from '../caller/caller-identity.ts'
import { ConnectionPool } from '../connection/connection-pool.ts'
import { Connection } from '../connection/connection.ts'
import type { ConnectionOptions, Work } from '../connection/connection.ts'
import { describeFailure, findToolError } from '../connection/failure.ts'
import type { Failure } from '../connection/failure.ts'
import { CallLimits } from './call-limits.ts'
import { ListChanges } from './list-changes.ts'
import { ListFreshness } from './list-freshness.ts'
import type { FetchedLists, Offers } from '../connection/lists.ts'
import { RareLog } from '../connection/rare-log.ts'
import { connectTimeoutMs } from '../settings/mounts-file.ts'
import type { Mount } from '../settings/mounts-file.ts'
import { OpenCalls } from './open-calls.ts'
import { OutageLog } from './outage-log.ts'
import { isTimeUp, observeRequest } from './request-outcome.ts'
import type { MountObserver } from './request-outcome.ts'
import { ResourceSubscriptions } from './resource-subscriptions.ts'
import { findUnmatchedNames } from '../settings/selection.ts'
import { ProcessLog } from '../transport/process-log.ts'

export interface MountedServerOptions {
  mount: Mount
  version: string
  /** MCP_MAX_RESULT_BYTES */
  maxResultBytes: number
  log: RequestLog
  /** Whether Seed traces requests. */
  isTraced: boolean
  /** Makes what tells the server who calls; undefined if it is not told. */
  identify: CallerIdentity | undefined
  /** Called when the offers may have changed. */
  onChanged (): void
  /** Measures requests and connections. */
  observer?: MountObserver | undefined
  /**
   * The first pause after a failed attempt to connect, doubled after each further one, up to a minute. Also the pause
   * between two checks of a server that fails calls; changes of lists that it announces are followed after three such
   * pauses at the earliest.
   */
  retryMs: number
  /** The shortest time after which lists are fetched again as the server says (`ttlMs`). */
  minRefreshMs: number
}

/** Whether a mounted server can be used now. */
export type MountState = { isConnected: true, revision: string } | { isConnected: false } & Failure

const MAX_LOGGED = 20
const MAX_RETRY_MS = 60_000
/**
 * A connection that ends earlier is one more failure: a process may end as soon as it is used. As a multiple of
 * `retryMs`: ten seconds by default.
 */
const STABLE_FACTOR = 10
/** The time for which a subscription is kept without a sign of its subscribers: two minutes by default. */
const LEASE_FACTOR = 120
/** The shortest pause between two announced changes, as a multiple of `retryMs`: three seconds by default. */
const CHANGE_PAUSE_FACTOR = 3
const NO_OFFERS: Offers = { tools: [], prompts: [], resources: [], templates: [], completes: false }

/**
 * A mounted server: connected, or away and on its way back. While it is away its offers stay as they were, and whatever
 * needs it fails with an error that says so. A call that fails does not take it away from others: its lists are fetched
 * then, and only if that fails too is it away. Nothing here affects another mount.
 */
export class MountedServer {
  readonly mount: Mount
  readonly isTraced: boolean
  /** The last lists that the server gave; another object only if they differ. */
  offers: Offers = NO_OFFERS
  /** For how long these lists may be kept. */
  readonly freshness: ListFreshness
  /** Calls in which the server may ask the client. */
  readonly openCalls: OpenCalls
  readonly subscriptions: ResourceSubscriptions
  readonly callLimits: CallLimits
  readonly #options: MountedServerOptions
  #connection: Connection | undefined
  #connecting: Promise<void> | undefined
  #renewing: Promise<void> | undefined
  readonly #outageLog: OutageLog
  #failure: Failure = { reason: 'it has not answered yet', isRefusal: false }
  #refreshTimer: NodeJS.Timeout | undefined
  #retryTimer: NodeJS.Timeout | undefined
  /** Attempts since the server was last connected for a while. */
  #failures = 0
  #openedAt = 0
  readonly #processLog: ProcessLog
  readonly #droppedLog = new RareLog()
  readonly #closing = new AbortController()
  readonly #refreshing = createCoalescedTask(async () => { await this.#fetchLists() }, () => {})
  readonly #listChanges: ListChanges
  /** The connections of single callers; undefined if all share that of the lists. */
  readonly #pool: ConnectionPool | undefined

  constructor (options: MountedServerOptions) {
    const { mount, log, retryMs, identify } = options
    setMaxListeners(0, this.#closing.signal)
    this.mount = mount
    this.isTraced = options.isTraced
    this.subscriptions = new ResourceSubscriptions({
      name: mount.name,
      log,
      timeoutMs: connectTimeoutMs(mount),
      reopenMs: retryMs,
      leaseMs: retryMs * LEASE_FACTOR
    })
    this.#options = options
    this.freshness = new ListFreshness({ refreshSeconds: mount.refreshSeconds, minRefreshMs: options.minRefreshMs })
    this.#processLog = new ProcessLog(mount.name, log, () => { options.observer?.memoryExceeded(mount.name) })
    this.callLimits = new CallLimits({
      mount, log, onRefused: (limit) => { options.observer?.callRefused(mount.name, limit) }
    })
    this.openCalls = new OpenCalls(this.callLimits)
    this.#outageLog = new OutageLog(mount, log)
    this.#listChanges = new ListChanges(() => { this.#refreshing.request() }, retryMs * CHANGE_PAUSE_FACTOR)
    const { connection = identify === undefined ? 'shared' : 'person' } = mount
    this.#pool = connection === 'shared'
      ? undefined
      : new ConnectionPool({
        mount, log, retryMs, open: async (caller, onClosed) => await this.#openFor(caller, onClosed)
      }, connection)
  }

  get state (): MountState {
    const connection = this.#connection
    return connection === undefined
      ? { isConnected: false, ...this.#failure }
      : { isConnected: true, revision: connection.revision }
  }

  /** Connects, or waits for the attempt that is under way. A failure is logged, and tried again later. */
  async connect (): Promise<void> {
    this.#connecting ??= this.#connect().finally(() => { this.#connecting = undefined })
    await this.#connecting
  }

  /**
   * Sends a request of a caller to the server, on the connection that this caller has (`connection` of the mount). A
   * request that the server has certainly not seen, as it forgot the session, is sent again.
   *
   * @param begin counts the request for the limits of the mount, and returns the function that ends it
   * @throws UpstreamError with the server's own error; ToolError with a text for the model; the reason of the abort
   */
  async use<T extends object> (
    caller: Caller, work: Work<T>, begin: () => () => void = () => this.callLimits.beginRequest()
  ): Promise<T> {
    const end = begin()
    try {
      return await this.#measure(caller, work)
    } finally {
      end()
    }
  }

  async #measure<T extends object> (caller: Caller, work: Work<T>): Promise<T> {
    const { observer } = this.#options
    if (observer === undefined) return await this.#send(caller, work)
    return await observeRequest(async () => await this.#send(caller, work), caller.signal, (outcome, ms) => {
      observer.requestEnded(this.mount.name, outcome, ms)
    })
  }

  /** Tells the server, on the connection of a session, that the roots of its client have changed. */
  rootsChanged (session: string): void {
    this.#pool?.findOf(session)?.notifyRootsChanged()
  }

  async #send<T extends object> (caller: Caller, work: Work<T>): Promise<T> {
    return await this.#attempt(caller, work, true) ?? (await this.#attempt(caller, work, false))!
  }

  /** @returns undefined, if `mayRenew`, where the server had forgotten the session: there is a new one then */
  async #attempt<T extends object> (
    caller: Caller, work: Work<T>, mayRenew: boolean
  ): Promise<T | undefined> {
    return await this.#withConnection(caller, async (connection) => {
      try {
        return await connection.run(caller, work)
      } catch (err) {
        if (!mayRenew || !await isForgottenSession(err, connection)) throw this.#toError(err, connection, caller.signal)
        if (connection.caller === undefined) await this.#renew(connection)
        else this.#pool!.retire(connection)
        return undefined
      }
    })
  }

  async #withConnection<T> (caller: Caller, work: (connection: Connection) => Promise<T>): Promise<T> {
    if (this.#pool !== undefined && this.#needsOwnConnection(caller)) return await this.#pool.use(caller, work)
    if (this.#connection === undefined) throw this.#unavailable()
    return await work(this.#connection)
  }

  /** A server of 2026-07-28 is told who calls in each request, so it needs only one connection. */
  #needsOwnConnection ({ principal }: Caller): boolean {
    return this.mount.connection !== undefined || (principal !== undefined && this.#connection?.isStateless !== true)
  }

  async close (): Promise<void> {
    this.#closing.abort(new Error('Seed is shutting down'))
    this.#listChanges.stop()
    this.subscriptions.close()
    clearTimeout(this.#refreshTimer)
    clearTimeout(this.#retryTimer)
    await this.#connecting
    await this.#renewing
    await Promise.all([this.#connection?.close(), this.#pool?.close()])
    this.#connection = undefined
  }

  async #connect (): Promise<void> {
    clearTimeout(this.#retryTimer)
    try {
      await this.#open()
    } catch (err) {
      this.#retryLater(err)
    }
  }

  /** Opens a connection and fetches the lists. @throws any error if one of the two fails */
  async #open (): Promise<void> {
    const { mount, log } = this.#options
    const connection = await this.#openConnection({
      onListChanged: () => { this.#listChanges.announce() },
      onClosed: (closed) => { this.#lose(closed, closed.failure) }
    })
    try {
      const lists = await connection.list()
      this.#connection = connection
      this.#openedAt = performance.now()
      this.subscriptions.connect(connection.client)
      this.#outageLog.end()
      this.#options.observer?.connectionEnded(mount.name, 'ok')
      this.#setLists(lists)
      const { tools, prompts, resources } = lists.offers
      const counts = { tools: tools.length, prompts: prompts.length, resources: resources.length }
      const { revision } = connection
      log.info({ event: 'mount.connected', mount: mount.name, revision, ...counts },
        'A mounted MCP server is connected')
    } catch (err) {
      const cause = connection.causeOf(err)
      await connection.close()
      throw cause
    }
  }

  /** Opens the connection of a caller, unless the server is away. */
  async #openFor (caller: Caller, onClosed: (connection: Connection) => void): Promise<Connection> {
    const listing = this.#connection
    if (listing === undefined) throw this.#unavailable()
    try {
      return await this.#openConnection({ caller: toOwner(caller), onClosed, isLegacy: listing.isLegacy })
    } catch (err) {
      // The server may be away for all.
      this.#check(listing)
      throw err
    }
  }

  async #openConnection (
    options: Pick<ConnectionOptions, 'caller' | 'onListChanged' | 'onClosed' | 'isLegacy'>
  ): Promise<Connection> {
    const { mount, version, maxResultBytes, identify } = this.#options
    const { signal } = this.#closing
    const processLog = this.#processLog
    const onLogDropped = (dropped: number): void => { this.#logDropped(dropped) }
    return await Connection.open({
      mount, version, maxResultBytes, identify, processLog, onLogDropped, signal, ...options
    })
  }

  #logDropped (dropped: number): void {
    this.#droppedLog.log(() => {
      this.#options.log.warn({ event: 'mount.log_messages_dropped', mount: this.mount.name, dropped },
        'Log messages of a mounted MCP server did not reach the client: too many or too long for one call, or the ' +
        'client took them too slowly')
    })
  }

  /** Opens a new session instead of one that the server has forgotten, once for all calls that find it out. */
  async #renew (connection: Connection): Promise<void> {
    if (this.#connection !== connection) return
    this.#renewing ??= this.#open()
      .then(() => { connection.retire() }, (failure) => { this.#lose(connection, failure) })
      .finally(() => { this.#renewing = undefined })
    await this.#renewing
  }

  #setLists ({ offers, hints }: FetchedLists): void {
    this.freshness.fetched(hints)
    this.#refreshIn(this.freshness.refreshMs)
    if (this.offers !== NO_OFFERS && JSON.stringify(offers) === JSON.stringify(this.offers)) return
    this.offers = offers
    this.#options.onChanged()
    const unmatched = findUnmatchedNames(this.mount, offers)
    if (unmatched.length === 0) return
    const fields = { mount: this.mount.name, count: unmatched.length, unmatched: unmatched.slice(0, MAX_LOGGED) }
    this.#options.log.warn({ event: 'mount.names_unmatched', ...fields },
      'The file of SEED_MOUNTS has names that fit nothing that the mounted MCP server offers: they have no effect')
  }

  /** Fetches the lists again, unless the server is away: they are fetched when it is back. */
  async #fetchLists (): Promise<void> {
    const connection = this.#connection
    if (connection !== undefined) await this.#fetchListsFrom(connection)
  }

  async #fetchListsFrom (connection: Connection): Promise<void> {
    try {
      this.#setLists(await connection.list())
    } catch (err) {
      if (await isForgottenSession(err, connection)) await this.#renew(connection)
      else this.#lose(connection, connection.causeOf(err))
    }
  }

  #refreshIn (ms: number): void {
    clearTimeout(this.#refreshTimer)
    this.#refreshTimer = setTimeout(() => { this.#refreshing.request() }, ms)
    this.#refreshTimer.unref()
  }

  /** Finds out whether a connection whose call has failed is of use to others. One caller cannot make it a flood. */
  #check (connection: Connection): void {
    if (connection.caller !== undefined) this.#pool!.check(connection)
    else if (this.#connection !== connection) return
    if (this.#refreshing.isRunning) return
    this.#refreshIn(Math.max(0, this.freshness.fetchedAt + this.#options.retryMs - performance.now()))
  }

  /** Gives a connection up, unless another one has replaced it already. */
  #lose (connection: Connection, err: unknown): void {
    if (this.#connection !== connection) return
    this.#connection = undefined
    connection.retire()
    if (performance.now() - this.#openedAt > this.#options.retryMs * STABLE_FACTOR) this.#failures = 0
    this.#retryLater(err)
  }

  #retryLater (err: unknown): void {
    if (this.#closing.signal.aborted) return
    this.#failure = describeFailure(err)
    this.#options.observer?.connectionEnded(this.mount.name, this.#failure.isRefusal ? 'refused' : 'unavailable')
    this.#outageLog.write(this.#failure)
    const pause = Math.min(MAX_RETRY_MS, this.#options.retryMs * 2 ** this.#failures++)
    clearTimeout(this.#retryTimer)
    // Replicas that lost a server together do not come back together.
    this.#retryTimer = setTimeout(() => { this.connect() }, pause * (0.5 + Math.random() / 2))
    this.#retryTimer.unref()
  }

  #unavailable (): ToolError {
    return toUnavailableError(this.mount.name)
  }

  /** Returns what the caller is to know of a failure, and checks the connection if that may be what failed. */
  #toError (failure: unknown, connection: Connection, signal: AbortSignal | undefined): unknown {
    const { name } = this.mount
    const err = connection.causeOf(failure)
    if (signal?.aborted === true && findToolError(err) === undefined) {
      // The client may have given up as the server hangs. That the time is up says more, and is checked for all.
      if (isTimeUp(signal)) this.#check(connection)
      else this.#pool?.check(connection)
      return err
    }
    const answered = toAnsweredError(err, name)
    if (answered !== undefined) return answered
    this.#check(connection)
    return toConnectionError(err, name)
  }
}

async function isForgottenSession (err: unknown, connection: Connection): Promise<boolean> {
  return err instanceof SdkHttpError && err.status === 404 && await connection.hasLostSession()
}
