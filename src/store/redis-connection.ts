import type { Cluster, Redis, RedisOptions } from 'ioredis'
import type { RedisAddress } from '../config/redis-url.ts'
import type { Log } from '../logging/log.ts'

export interface RedisClientOptions {
  /** A URL in the form that src/config/redis-url.ts parses. */
  url: string
  keyPrefix: string
  /** The password of the sentinels themselves. */
  sentinelPassword?: string | undefined
  /** Certificates (PEM) to trust instead of those that Node trusts. */
  tlsCa?: string | undefined
  /** Time in which Redis must answer a command; 300 ms by default. */
  commandTimeoutMs?: number | undefined
  log: RedisLog
}

export type RedisLog = Pick<Log, 'info' | 'error'>

/** Connections to Redis that reconnect by themselves, whatever its topology. */
export interface RedisConnection {
  readonly commands: Redis | Cluster
  /** The servers that hold the data, each a part of it. */
  primaries (): Redis[]
  /** Returns whether every server that holds a part of the data is connected and serves it. */
  isHealthy (): Promise<boolean>
  /** Must be called after each command, with its error if it failed. */
  recordResult (err?: Error): void
  /** Opens one more connection, for subscriptions, which it loses with each reconnect. Its losses are not logged. */
  openSubscriber (): Redis
  /** Ends logging and retries. */
  stopRetrying (): void
}

/**
 * Returns the options that all connections have in common.
 *
 * They fail fast: with the defaults of ioredis a command to a dead or hung Redis waits for ever, and requests pile up.
 * No command is sent twice either: the first attempt may have spent a code although its reply was lost.
 */
export function commonOptions (address: RedisAddress, { commandTimeoutMs = 300, tlsCa }: RedisClientOptions) {
  return {
    enableOfflineQueue: false,
    maxRetriesPerRequest: 0,
    autoResendUnfulfilledCommands: false,
    commandTimeout: commandTimeoutMs,
    connectTimeout: 1000,
    // A hung host never closes its connection: without this the kernel keeps it for a quarter of an hour.
    socketTimeout: 1000,
    disconnectTimeout: 500,
    maxLoadingRetryTime: 1000,
    ...credentials(address),
    // Certificates are always verified, against the name or address of the connection.
    ...(address.tls && { tls: tlsCa === undefined ? {} : { ca: tlsCa } })
  } satisfies RedisOptions
}

/** A password without a user name is the default user's; a user may have none. */
function credentials ({ username, password }: RedisAddress): Pick<RedisOptions, 'username' | 'password'> {
  if (username !== undefined) return { username, password: password ?? '' }
  return password === undefined ? {} : { password }
}

/** Returns a delay with jitter, so that the replicas of Seed do not all come back at once. */
export function retryDelay (shortestMs: number, attempt: number): number {
  return shortestMs + Math.random() * Math.min(2000 - shortestMs, shortestMs * 2 ** attempt)
}

export function nodeKey ({ options }: Redis): string {
  return `${options.host}:${options.port}`
}

/**
 * Returns a code for the log: ECONNREFUSED and such of a socket, or a word of a reply of Redis (WRONGPASS, NOAUTH).
 * Never the message, since that of a refused login may repeat the password.
 */
export function errorCode (err: NodeJS.ErrnoException): string | undefined {
  return err.code ?? /^[A-Z]+\b|\b[A-Z]{5,}\b/.exec(err.message)?.[0]
}
