import { unlessAborted } from '../../async/unless-aborted.ts'
import type { RequestLog } from '../../define/context.ts'
import { ToolError } from '../../define/tool.ts'
import { toUnavailableError } from './call-error.ts'
import { connectionKey } from '../caller/caller.ts'
import type { Caller } from '../caller/caller.ts'
import type { Connection } from './connection.ts'
import { describeFailure } from './failure.ts'
import type { Mount } from '../settings/mounts-file.ts'
import { RareLog } from './rare-log.ts'

const DEFAULT_MAX_CONNECTIONS = 100
const DEFAULT_MAX_PROCESSES = 20
const DEFAULT_IDLE_SECONDS = 300

/** The share of the connections that one person may have, with all their clients and sessions. */
const SHARE_OF_PERSON = 0.25

export interface ConnectionPoolOptions {
  mount: Mount
  log: RequestLog
  /** The time for which callers get the error of a connection that could not be opened. */
  retryMs: number
  /**
   * Opens a connection for a caller.
   *
   * @param onClosed called when the connection has ended by itself
   * @throws ToolError if the server is known to be away; any other error if the connection cannot be opened
   */
  open (caller: Caller, onClosed: (connection: Connection) => void): Promise<Connection>
}

interface Entry {
  key: string | symbol
  /** The person, who may have several sessions. */
  owner: string | undefined
  opening: Promise<Connection>
  /** The connection, once it is open. */
  connection: Connection | undefined
  hasFailed: boolean
  /** The requests that run on it, or wait for it. */
  users: number
  timer: NodeJS.Timeout | undefined
}

/**
 * The connections to a mounted server that belong to single callers. No caller ever gets that of another. One that is
 * unused for `idleSeconds` is closed, and an idle one also when `maxConnections` are open and another is needed.
 */
export class ConnectionPool {
  readonly #options: ConnectionPoolOptions
  readonly #scope: 'person' | 'session'
  readonly #maxConnections: number
  readonly #maxOfPerson: number
  readonly #idleMs: number
  /** In the order of their last use. */
  readonly #entries = new Map<string | symbol, Entry>()
  readonly #closing = new Set<Promise<void>>()
  readonly #checking = new Set<Connection>()
  readonly #failures = new RareLog()
  readonly #exhaustions = new RareLog()
  readonly #exhaustionsOfPersons = new RareLog()

  constructor (options: ConnectionPoolOptions, scope: 'person' | 'session') {
    const defaultMax = options.mount.process === undefined ? DEFAULT_MAX_CONNECTIONS : DEFAULT_MAX_PROCESSES
    const { maxConnections = defaultMax, idleSeconds = DEFAULT_IDLE_SECONDS } = options.mount
    this.#options = options
    this.#scope = scope
    this.#maxConnections = maxConnections
    this.#maxOfPerson = Math.max(1, Math.floor(maxConnections * SHARE_OF_PERSON))
    this.#idleMs = idleSeconds * 1_000
  }

  /**
   * Runs work with the caller's connection, which is opened if there is none.
   *
   * @throws ToolError if the connection cannot be opened, or all are in use; the reason of the abort; errors of `work`
   */
  async use<T> (caller: Caller, work: (connection: Connection) => Promise<T>): Promise<T> {
    const entry = this.#entryOf(caller)
    entry.users++
    // A failed one is still to be forgotten when its time is up.
    if (!entry.hasFailed) clearTimeout(entry.timer)
    try {
      return await work(await unlessAborted(entry.opening, caller.signal))
    } finally {
      entry.users--
      if (entry.users === 0) this.#onIdle(entry)
    }
  }

  /** Returns the open connection of a session, if there is one. @param session its digest */
  findOf (session: string): Connection | undefined {
    if (this.#scope !== 'session') return undefined
    const connections = [...this.#entries.values()].map(({ connection }) => connection)
    return connections.find((connection) => connection?.caller?.session?.digest === session)
  }

  /** Gives a connection up, whose caller gets another one. Requests that run on it are finished. */
  retire (connection: Connection): void {
    for (const entry of this.#entries.values()) {
      if (entry.connection === connection) this.#remove(entry)
    }
  }

  /** Gives a connection up if its session does not answer: a request on it has failed. */
  async check (connection: Connection): Promise<void> {
    if (this.#checking.has(connection)) return
    this.#checking.add(connection)
    if (!await connection.isAlive()) this.retire(connection)
    this.#checking.delete(connection)
  }

  /** Closes all connections. */
  async close (): Promise<void> {
    for (const entry of this.#entries.values()) {
      this.#entries.delete(entry.key)
      clearTimeout(entry.timer)
      this.#closeLater(entry.opening.then(async (connection) => { await connection.close() }, () => {}))
    }
    await Promise.all(this.#closing)
  }

  #entryOf (caller: Caller): Entry {
    // The request of a caller without a key has a connection of its own.
    const key = connectionKey(this.#scope, caller) ?? Symbol('one request')
    const known = this.#entries.get(key)
    if (known !== undefined) {
      this.#entries.delete(key)
      this.#entries.set(key, known)
      return known
    }
    const owner = caller.principal?.personKey
    const evicted = this.#makeRoom(owner)
    const entry: Entry = {
      key, owner, users: 0, connection: undefined, hasFailed: false, timer: undefined, opening: undefined as never
    }
    entry.opening = this.#open(entry, caller, evicted)
    // Each caller that waits gets the error.
    entry.opening.catch(() => {})
    this.#entries.set(key, entry)
    return entry
  }

  async #open (entry: Entry, caller: Caller, evicted: Promise<void> | undefined): Promise<Connection> {
    const { mount: { name }, log, retryMs, open } = this.#options
    try {
      await evicted
      const connection = await open(caller, (closed) => { this.retire(closed) })
      entry.connection = connection
      // The caller may have given up meanwhile.
      if (entry.users === 0) this.#onIdle(entry)
      return connection
    } catch (err) {
      entry.hasFailed = true
      // The error stands for a while: a caller who tries again at once does not become a flood.
      entry.timer = setTimeout(() => { this.#entries.delete(entry.key) }, retryMs)
      entry.timer.unref()
      if (err instanceof ToolError) throw err
      const { reason } = describeFailure(err)
      this.#failures.log(() => {
        log.warn({ event: 'mount.connection_failed', mount: name, reason },
          'A connection to a mounted MCP server could not be opened for one caller; others are not affected')
      })
      throw toUnavailableError(name)
    }
  }

  /**
   * Makes room for a connection, where there is none: closes the idle one that was not used for longest, if possible
   * one of the same person, so that nobody ends those of others by opening many.
   *
   * @throws ToolError if all are in use, or all that the person may have: clients choose how many sessions they open
   */
  #makeRoom (owner: string | undefined): Promise<void> | undefined {
    const all = [...this.#entries.values()]
    const own = owner === undefined ? [] : all.filter((one) => one.owner === owner)
    const hasShare = own.length < this.#maxOfPerson
    if (hasShare && all.length < this.#maxConnections) return undefined
    const entry = own.find(isIdle) ?? (hasShare ? all.find(isIdle) : undefined)
    if (entry !== undefined) return this.#remove(entry)
    throw hasShare ? this.#allInUse() : this.#allOfPersonInUse()
  }

  #allInUse (): ToolError {
    const { mount: { name }, log } = this.#options
    this.#exhaustions.log(() => {
      log.warn({ event: 'mount.connections_in_use', mount: name, maxConnections: this.#maxConnections },
        'All connections to a mounted MCP server are in use: calls fail until one is idle (maxConnections)')
    })
    return new ToolError(`All connections to the server behind ${name} are in use: try again later`)
  }

  #allOfPersonInUse (): ToolError {
    const { mount: { name }, log } = this.#options
    const maxOfPerson = this.#maxOfPerson
    this.#exhaustionsOfPersons.log(() => {
      log.warn({ event: 'mount.connections_in_use', mount: name, maxConnections: this.#maxConnections, maxOfPerson },
        'One person uses a quarter of the connections to a mounted MCP server: further calls of theirs fail until one' +
        ' is idle (maxConnections)')
    })
    return new ToolError(`All of your connections to the server behind ${name} are in use (${maxOfPerson} at most):` +
      ' end other calls or sessions, or try again later')
  }

  #onIdle (entry: Entry): void {
    if (entry.connection === undefined || this.#entries.get(entry.key) !== entry) return
    if (typeof entry.key === 'symbol') {
      this.#remove(entry)
      return
    }
    entry.timer = setTimeout(() => { this.#remove(entry) }, this.#idleMs)
    entry.timer.unref()
  }

  /** @returns when the connection is closed; before that if requests still run on it */
  #remove (entry: Entry): Promise<void> {
    this.#entries.delete(entry.key)
    clearTimeout(entry.timer)
    return this.#closeLater(Promise.resolve(entry.connection?.retire()))
  }

  /** Remembers that a connection is being closed, for `close`. */
  #closeLater (closing: Promise<void>): Promise<void> {
    this.#closing.add(closing)
    return closing.finally(() => { this.#closing.delete(closing) })
  }
}

function isIdle ({ users, connection, hasFailed }: Entry): boolean {
  return users === 0 && (connection !== undefined || hasFailed)
}
