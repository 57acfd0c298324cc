import { Cluster, Redis } from 'ioredis'
import type { RedisAddress } from '../config/redis-url.ts'
import { ServerConnector } from './redis-connectors.ts'
import { commonOptions, errorCode, nodeKey, retryDelay } from './redis-connection.ts'
import type { RedisClientOptions, RedisConnection } from './redis-connection.ts'
import { RedisReachability } from './redis-reachability.ts'

/** Time in which the nodes must say which of them has which slots. */
const SLOTS_MS = 500
/** Nodes that joined or left are learnt when a command meets them, and at this interval. */
const SLOTS_INTERVAL_MS = 30_000
/** Interval at which an incomplete cluster is checked. */
const RECOVERY_MS = 250

/** Replies of a cluster that has lost a part of itself. */
const REFUSES = /\b(CLUSTERDOWN|READONLY|MASTERDOWN|NOREPLICAS)\b/

/** Connects to all primaries. Redirections (MOVED, ASK) are followed, since a redirected command was not executed. */
export function connectCluster (address: RedisAddress, options: RedisClientOptions): RedisConnection {
  const reachability = new RedisReachability(address, options.log, { onLost: awaitRecovery, onBack: endRecovery })
  const nodeOptions = { ...commonOptions(address, options), Connector: ServerConnector }
  let recovery: NodeJS.Timeout | undefined
  let nodeError = 'CLOSED'

  const cluster = new Cluster(address.nodes, {
    keyPrefix: options.keyPrefix,
    enableOfflineQueue: false,
    // The check asks one node, which may be the one that is away. A node refuses by itself what it cannot serve.
    enableReadyCheck: false,
    clusterRetryStrategy: (attempt) => retryDelay(50, attempt),
    retryDelayOnFailover: 0,
    retryDelayOnClusterDown: 0,
    slotsRefreshTimeout: SLOTS_MS,
    slotsRefreshInterval: SLOTS_INTERVAL_MS,
    // Each connection resolves its name, since certificates are for names.
    dnsLookup: (name, found) => found(null, name),
    redisOptions: {
      ...nodeOptions,
      reconnectOnError (err) {
        const refusal = REFUSES.exec(err.message)?.[0]
        if (refusal !== undefined) reachability.markLost(refusal)
        return false
      }
    }
  })
  // The error of a node comes before the events that give it up.
  cluster.on('node error', (err) => { nodeError = errorCode(err) ?? nodeError })
  cluster.on('error', () => reachability.markLost(nodeError))
  cluster.on('close', () => reachability.markLost(nodeError))
  cluster.on('-node', (node) => { if (slotOwners(cluster).has(nodeKey(node))) reachability.markLost(nodeError) })
  // ioredis connects to a node with the first command for it, and refuses commands that come while it does.
  cluster.on('+node', (node) => { node.connect().catch(() => {}) })

  const isHealthy = async (): Promise<boolean> => await servesAllSlots(cluster)

  /**
   * ioredis forgets a lost node until a command is redirected to it, so this looks for it until the cluster is whole.
   */
  function awaitRecovery (): void {
    clearTimeout(recovery)
    recovery = setTimeout(() => {
      awaitRecovery()
      if (cluster.status === 'ready') cluster.refreshSlotsCache()
      reachability.checkRecovery(isHealthy)
    }, RECOVERY_MS).unref()
  }

  function endRecovery (): void {
    clearTimeout(recovery)
    nodeError = 'CLOSED'
  }

  /** Any node will do, since each gets the messages of all. ioredis's own subscriber does not say when it moves. */
  function openSubscriber (): Redis {
    const subscriber = new Redis({
      ...nodeOptions,
      ...anyNode(cluster, address),
      autoResubscribe: false,
      retryStrategy (attempt) {
        // The next connection reads these options: it is to another node.
        Object.assign(subscriber.options, anyNode(cluster, address))
        return retryDelay(50, attempt)
      }
    })
    // A node that has left the cluster may be alive, and silent.
    cluster.on('-node', (node) => { if (nodeKey(node) === nodeKey(subscriber)) subscriber.disconnect(true) })
    return subscriber.on('error', () => {})
  }

  return {
    commands: cluster,
    primaries: () => cluster.nodes('master'),
    isHealthy,
    // The other nodes may be quick, so a slow one is no reason to leave the cluster.
    recordResult () {},
    openSubscriber,
    stopRetrying () {
      reachability.close()
      clearTimeout(recovery)
    }
  }
}

/** Returns the nodes that have slots. */
function slotOwners (cluster: Cluster): Set<string | undefined> {
  return new Set(cluster.slots.map(([owner]) => owner))
}

/** Each node has its own opinion of whether the cluster is up. */
async function servesAllSlots (cluster: Cluster): Promise<boolean> {
  const owners = slotOwners(cluster)
  const nodes = cluster.nodes('master').filter((node) => node.status === 'ready' && owners.has(nodeKey(node)))
  if (cluster.status !== 'ready' || nodes.length < Math.max(1, owners.size)) return false
  const infos = await Promise.all(nodes.map(async (node) => await node.cluster('INFO').catch(() => '') as string))
  return infos.every((info) => info.includes('cluster_state:ok'))
}

function anyNode (cluster: Cluster, address: RedisAddress): { host: string, port: number } {
  const ready = cluster.nodes().filter(({ status }) => status === 'ready')
  const known = ready.map(({ options: { host, port } }) => ({ host: host!, port: port! }))
  const nodes = known.length > 0 ? known : address.nodes
  return nodes[Math.floor(Math.random() * nodes.length)]!
}
