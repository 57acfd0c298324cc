import { Redis } from 'ioredis'
import type { RedisAddress } from '../config/redis-url.ts'
import { PrimaryConnector, ServerConnector } from './redis-connectors.ts'
import { commonOptions, errorCode, retryDelay } from './redis-connection.ts'
import type { RedisClientOptions, RedisConnection } from './redis-connection.ts'
import { RedisReachability } from './redis-reachability.ts'

/** A connected server is left alone when none of its replies within this time met `commandTimeout`. */
const TOO_SLOW_MS = 1000
const TIMED_OUT = 'Command timed out'

/** Replies of a server that takes no writes, or no longer: a replica, or a primary that lost its replicas. */
const REFUSES_WRITES = /\b(READONLY|MASTERDOWN|NOREPLICAS)\b/
/** Replies of a server without memory or disk space: it reads, and may take writes again on the same connection. */
const IS_FULL = /\b(OOM|MISCONF)\b/
/** Interval of the writes that find out whether a full server has space again. */
const FULL_MS = 500

/** Connects to one server: that of the address, or the primary that the sentinels name. */
export function connectServer (address: RedisAddress, options: RedisClientOptions): RedisConnection {
  const reachability = new RedisReachability(address, options.log, { onBack: () => { clearInterval(writeChecks) } })
  /** The code with which the server refuses writes, such as READONLY. */
  let refusal: string | undefined
  let slowSince: number | undefined
  let writeChecks: NodeJS.Timeout | undefined

  const redis = new Redis(redisOptions(address, options, {
    // A failover takes seconds: a quick reconnect would find the same server.
    retryStrategy: (attempt) => retryDelay(refusal === undefined ? 50 : 1000, attempt),
    reconnectOnError (err) {
      refusal = REFUSES_WRITES.exec(err.message)?.[0] ?? refusal
      return refusal !== undefined
    }
  }))
  const unknownError = address.topology === 'single' ? 'ETIMEDOUT' : 'NO_PRIMARY'
  redis.on('error', (err) => reachability.markLost(errorCode(err) ?? unknownError))
  redis.on('close', () => reachability.markLost(refusal ?? 'CLOSED'))
  redis.on('ready', () => {
    refusal = undefined
    slowSince = undefined
    reachability.checkRecovery(takesWrites)
  })

  /** A connected server may refuse writes, so this tries one. Only those refusals and lack of space count. */
  async function takesWrites (): Promise<boolean> {
    let full = false
    await redis.set('ping', '1', 'EX', 1).catch((err: Error) => { full = recordIfFull(err) })
    return refusal === undefined && !full && redis.status === 'ready'
  }

  function recordIfFull ({ message }: Error): boolean {
    const [code] = IS_FULL.exec(message) ?? []
    if (code === undefined) return false
    reachability.markLost(code)
    clearInterval(writeChecks)
    writeChecks = setInterval(() => { reachability.checkRecovery(takesWrites) }, FULL_MS).unref()
    return true
  }

  return {
    commands: redis,
    primaries: () => [redis],
    isHealthy: async () => redis.status === 'ready',
    recordResult (err) {
      if (err !== undefined) recordIfFull(err)
      if (err?.message !== TIMED_OUT) slowSince = undefined
      else slowSince ??= performance.now()
      // The next connection is ready only when its own first commands were answered in time.
      if (slowSince === undefined || performance.now() - slowSince < TOO_SLOW_MS || redis.status !== 'ready') return
      reachability.markLost('ETIMEDOUT')
      redis.disconnect(true)
    },
    openSubscriber: () => redis.duplicate({ autoResubscribe: false }).on('error', () => {}),
    stopRetrying () {
      reachability.close()
      clearInterval(writeChecks)
    }
  }
}

interface Retry {
  retryStrategy (attempt: number): number
  reconnectOnError (err: Error): boolean
}

function redisOptions (address: RedisAddress, options: RedisClientOptions, retry: Retry) {
  const common = { ...commonOptions(address, options), ...retry, db: address.db, keyPrefix: options.keyPrefix }
  if (address.topology === 'single') return { ...common, ...address.nodes[0], Connector: ServerConnector }
  return {
    ...common,
    Connector: PrimaryConnector,
    sentinels: address.nodes,
    name: address.primaryName,
    sentinelPassword: options.sentinelPassword,
    sentinelCommandTimeout: common.commandTimeout,
    sentinelRetryStrategy: retry.retryStrategy,
    enableTLSForSentinelMode: address.tls,
    sentinelTLS: common.tls
  }
}
