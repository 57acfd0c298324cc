import { Cluster, Redis } from 'ioredis'
import { parseRedisUrl } from '../config/redis-url.ts'
import { PrimaryConnector, ServerConnector } from './redis-connectors.ts'
import type { RedisAddress } from '../config/redis-url.ts'
import type { RedisOptions } from 'ioredis'

/**
 * Fail fast: with the defaults of ioredis a command to a dead or hung Redis waits for ever, and requests pile up.
 * Nothing is sent twice either: the first try may have spent the code, although its answer was lost.
 */
const FAIL_FAST = {
  enableOfflineQueue: false,
  maxRetriesPerRequest: 0,
  autoResendUnfulfilledCommands: false,
  commandTimeout: 300,
  connectTimeout: 1000,
  // A hung host never closes its connection: without this the kernel holds on to it for a quarter of an hour.
  socketTimeout: 1000,
  disconnectTimeout: 500,
  maxLoadingRetryTime: 1000
} satisfies RedisOptions

/** A server that answers, but nothing within `commandTimeout` for so long, is left alone until it is quicker. */
const TOO_SLOW_MS = 1000
const TIMED_OUT = 'Command timed out'

/** How long the nodes of a cluster may take to say which of them has what. */
const SLOTS_MS = 500
/** Nodes that joined or left a cluster are learnt when a command meets them, and at this interval. */
const SLOTS_INTERVAL_MS = 30_000
/** How often a cluster of which a part is away is looked at. */
const RECOVERY_MS = 250

/** A server that answers so is not, or no longer, one that takes writes: a replica, or a primary that lost its replicas. */
const REFUSES_WRITES = /\b(READONLY|MASTERDOWN|NOREPLICAS)\b/
/** One that answers so has no room, or no disk: it reads, and may take writes again on the same connection. */
const IS_FULL = /\b(OOM|MISCONF)\b/
/** How often a write is tried until then. */
const FULL_MS = 500

/** The same of a cluster that has lost a part of itself. */
const CLUSTER_REFUSES = /\b(CLUSTERDOWN|READONLY|MASTERDOWN|NOREPLICAS)\b/

export interface RedisClientOptions {
  /** As src/config/redis-url.ts reads it. */
  url: string
  keyPrefix: string
  /** What the sentinels themselves want to be told. */
  sentinelPassword?: string | undefined
  /** Certificates (PEM) that are trusted instead of those that Node trusts. */
  tlsCa?: string | undefined
  log: {
    info (obj: object, msg: string): void
    error (obj: object, msg: string): void
  }
}

/** Connections to Redis that heal themselves, whatever its layout. */
export interface RedisClient {
  readonly commands: Redis | Cluster
  /** Whether every server that holds a part of the data is connected and serves it. */
  isWhole (): Promise<boolean>
  /** Told of each command, with its error where it failed. */
  noted (err?: Error): void
  /** One more connection, to listen on. It has lost its subscriptions each time that it is ready. Its losses are not logged. */
  openSubscriber (): Redis
  /** No more lines in the log and no more attempts: the connections are about to be closed. */
  retire (): void
}

/**
 * Connects by itself, at first and again after each loss; until then every command rejects. A failover is such a loss:
 * sentinels and clusters are asked again who the primary is. One line in the log tells of a loss and one of the return.
 */
export function openRedisClient (options: RedisClientOptions): RedisClient {
  const address = parseRedisUrl(options.url)
  return address.topology === 'cluster' ? openCluster(address, options) : openServer(address, options)
}

/** One server: that of the address, or the one that the sentinels name. */
function openServer (address: RedisAddress, options: RedisClientOptions): RedisClient {
  const reachability = watchReachability(address, options.log, { onBack: () => { clearInterval(writing) } })
  const tls = tlsOptions(address, options)
  /** What it answers instead of taking writes, READONLY for example. */
  let refusal: string | undefined
  let slowSince: number | undefined
  let writing: NodeJS.Timeout | undefined

  function retryStrategy (attempt: number): number {
    // A failover takes seconds: a quick next connection would find the same server.
    return retryDelay(refusal === undefined ? 50 : 1000, attempt)
  }

  const redis = new Redis({
    ...FAIL_FAST,
    ...credentials(address),
    ...tls,
    ...address.topology === 'single'
      ? { ...address.nodes[0], Connector: ServerConnector }
      : {
          Connector: PrimaryConnector,
          sentinels: address.nodes,
          name: address.primaryName,
          sentinelPassword: options.sentinelPassword,
          sentinelCommandTimeout: FAIL_FAST.commandTimeout,
          sentinelRetryStrategy: retryStrategy,
          enableTLSForSentinelMode: address.tls,
          sentinelTLS: tls.tls
        },
    db: address.db,
    keyPrefix: options.keyPrefix,
    retryStrategy,
    reconnectOnError: (err) => {
      refusal = REFUSES_WRITES.exec(err.message)?.[0] ?? refusal
      return refusal !== undefined
    }
  })
  redis.on('error', (err) => reachability.lost(errorCode(err) ?? (address.topology === 'single' ? 'ETIMEDOUT' : 'NO_PRIMARY')))
  redis.on('close', () => reachability.lost(refusal ?? 'CLOSED'))
  redis.on('ready', () => {
    refusal = undefined
    slowSince = undefined
    reachability.check(takesWrites)
  })

  /** One that is connected may refuse writes: a write finds out. Another error is no reason to leave it. */
  async function takesWrites (): Promise<boolean> {
    let full = false
    await redis.set('ping', '1', 'EX', 1).catch((err: Error) => { full = noteFull(err) })
    return refusal === undefined && !full && redis.status === 'ready'
  }

  function noteFull ({ message }: Error): boolean {
    const [code] = IS_FULL.exec(message) ?? []
    if (code === undefined) return false
    reachability.lost(code)
    clearInterval(writing)
    writing = setInterval(() => { reachability.check(takesWrites) }, FULL_MS).unref()
    return true
  }

  return {
    commands: redis,
    isWhole: async () => redis.status === 'ready',
    noted (err) {
      if (err !== undefined) noteFull(err)
      if (err?.message !== TIMED_OUT) slowSince = undefined
      else slowSince ??= performance.now()
      // What the next connection is asked before it is ready has to be answered in time too.
      if (slowSince === undefined || performance.now() - slowSince < TOO_SLOW_MS || redis.status !== 'ready') return
      reachability.lost('ETIMEDOUT')
      redis.disconnect(true)
    },
    openSubscriber: () => redis.duplicate({ autoResubscribe: false }).on('error', () => {}),
    retire () {
      reachability.retire()
      clearInterval(writing)
    }
  }
}

/** All primaries of a cluster. Redirections (MOVED, ASK) are followed, as what was redirected was not executed. */
function openCluster (address: RedisAddress, options: RedisClientOptions): RedisClient {
  const reachability = watchReachability(address, options.log, { onLost: recover, onBack: settle })
  const nodeOptions = { ...FAIL_FAST, Connector: ServerConnector, ...credentials(address), ...tlsOptions(address, options) }
  let recovery: NodeJS.Timeout | undefined
  let nodeError = 'CLOSED'

  const cluster = new Cluster(address.nodes, {
    keyPrefix: options.keyPrefix,
    enableOfflineQueue: false,
    // It asks one node, which may be the one that is away. What a node cannot serve it refuses by itself.
    enableReadyCheck: false,
    clusterRetryStrategy: (attempt) => retryDelay(50, attempt),
    retryDelayOnFailover: 0,
    retryDelayOnClusterDown: 0,
    slotsRefreshTimeout: SLOTS_MS,
    slotsRefreshInterval: SLOTS_INTERVAL_MS,
    // Names are resolved by each connection: certificates are for names.
    dnsLookup: (name, found) => found(null, name),
    redisOptions: {
      ...nodeOptions,
      reconnectOnError: (err) => {
        const refusal = CLUSTER_REFUSES.exec(err.message)?.[0]
        if (refusal !== undefined) reachability.lost(refusal)
        return false
      }
    }
  })
  // What is wrong with a node is told before it is given up.
  cluster.on('node error', (err) => { nodeError = errorCode(err) ?? nodeError })
  cluster.on('error', () => reachability.lost(nodeError))
  cluster.on('close', () => reachability.lost(nodeError))
  cluster.on('-node', (node) => { if (owners().has(nodeKey(node))) reachability.lost(nodeError) })
  // ioredis connects to a node with the first command for it, and refuses those that come while it does.
  cluster.on('+node', (node) => { node.connect().catch(() => {}) })

  /** The nodes that have slots. */
  function owners (): Set<string | undefined> {
    return new Set(cluster.slots.map(([owner]) => owner))
  }

  /** Each of them has its own opinion of whether the cluster is up. */
  async function isWhole (): Promise<boolean> {
    const needed = owners()
    const nodes = cluster.nodes('master').filter((node) => node.status === 'ready' && needed.has(nodeKey(node)))
    if (cluster.status !== 'ready' || nodes.length < Math.max(1, needed.size)) return false
    const infos = await Promise.all(nodes.map(async (node) => await node.cluster('INFO').catch(() => '') as string))
    return infos.every((info) => info.includes('cluster_state:ok'))
  }

  /** ioredis forgets a node that is lost, until a command is redirected to it: look for it until the cluster is whole. */
  function recover (): void {
    clearTimeout(recovery)
    recovery = setTimeout(() => {
      recover()
      if (cluster.status === 'ready') cluster.refreshSlotsCache()
      reachability.check(isWhole)
    }, RECOVERY_MS).unref()
  }

  function settle (): void {
    clearTimeout(recovery)
    nodeError = 'CLOSED'
  }

  function anyNode (): { host: string, port: number } {
    const known = cluster.nodes().filter(({ status }) => status === 'ready').map(({ options: { host, port } }) => ({ host: host!, port: port! }))
    const from = known.length > 0 ? known : address.nodes
    return from[Math.floor(Math.random() * from.length)]!
  }

  /** Any node will do, as each gets the messages of all. The subscriber of ioredis itself does not tell when it moves. */
  function openSubscriber (): Redis {
    const subscriber = new Redis({
      ...nodeOptions,
      ...anyNode(),
      autoResubscribe: false,
      retryStrategy: (attempt) => {
        // Read by the next connection: it is another node's.
        Object.assign(subscriber.options, anyNode())
        return retryDelay(50, attempt)
      }
    })
    // A node that has left the cluster may be alive, and silent.
    cluster.on('-node', (node) => { if (nodeKey(node) === nodeKey(subscriber)) subscriber.disconnect(true) })
    return subscriber.on('error', () => {})
  }

  return {
    commands: cluster,
    isWhole,
    // The other nodes may be quick: who asks the slow one is told so each time.
    noted: () => {},
    openSubscriber,
    retire () {
      reachability.retire()
      clearTimeout(recovery)
    }
  }
}

/** Logs a loss once and the return once. */
function watchReachability ({ nodes }: RedisAddress, log: RedisClientOptions['log'], { onLost, onBack }: { onLost?: () => void, onBack?: () => void } = {}) {
  const host = nodes.map(({ host, port }) => `${host}:${port}`).join(',')
  let reachable = true
  let retired = false

  return {
    /** Only a code is logged, never the error: that of a refused login carries the password among its arguments. */
    lost (reason: string): void {
      if (!reachable || retired) return
      reachable = false
      log.error({ host, reason }, 'Redis is not reachable; what needs it answers 503 until it returns')
      onLost?.()
    },

    async check (isBack: () => Promise<boolean>): Promise<void> {
      if (reachable || !await isBack() || reachable || retired) return
      reachable = true
      log.info({ host }, 'Redis is reachable again')
      onBack?.()
    },

    retire (): void {
      retired = true
    }
  }
}

/** Jitter, so that the replicas of Seed do not come back all at once. */
function retryDelay (shortestMs: number, attempt: number): number {
  return shortestMs + Math.random() * Math.min(2000 - shortestMs, shortestMs * 2 ** attempt)
}

/** Without a user name it is the default user's password; a user may have none. */
function credentials ({ username, password }: RedisAddress): Pick<RedisOptions, 'username' | 'password'> {
  if (username !== undefined) return { username, password: password ?? '' }
  return password === undefined ? {} : { password }
}

/** Certificates are always verified, against the name or address that was connected to. */
function tlsOptions ({ tls }: RedisAddress, { tlsCa }: RedisClientOptions): Pick<RedisOptions, 'tls'> {
  return tls ? { tls: tlsCa === undefined ? {} : { ca: tlsCa } } : {}
}

function nodeKey ({ options }: Redis): string {
  return `${options.host}:${options.port}`
}

/** ECONNREFUSED of a socket, the first word of an answer of Redis (WRONGPASS, NOAUTH), either of them in a longer text, or nothing. */
function errorCode (err: NodeJS.ErrnoException): string | undefined {
  return err.code ?? /^[A-Z]+\b|\b[A-Z]{5,}\b/.exec(err.message)?.[0]
}
