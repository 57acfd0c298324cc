import { setTimeout as delay } from 'node:timers/promises'
import type { Config } from '../config/config.ts'
import { parseRedisUrl } from '../config/redis-url.ts'
import { isLoopbackHost } from '../net/addresses.ts'
import { openRedisClient } from '../store/redis-client.ts'
import type { RedisClient } from '../store/redis-client.ts'
import { question } from './finding.ts'
import type { Finding } from './finding.ts'
import { REQUEST_MS } from './within.ts'

/** Seed gives a command this long (src/store/redis-connection.ts). */
const COMMAND_MS = 300
const SLOW_MS = 50
const PINGS = 5
const CERTIFICATE = /CERT|LEAF_SIGNATURE/
/** The share of `maxmemory` from which little room is left. */
const FULL = 0.9

/** Checks the Redis of REDIS_URL: version, eviction, persistence, room, and how long it takes. */
export async function checkRedis ({ redis: { url, ...options }, authRequired }: Config): Promise<Finding[]> {
  if (url === undefined) return authRequired ? [inMemory()] : []
  const { nodes, topology } = parseRedisUrl(url)
  const host = nodes.map(({ host, port }) => `${host}:${port}`).join(',')
  const outage = { reason: 'no answer' }
  const note = (fields: object): void => { Object.assign(outage, fields) }
  const client = openRedisClient({ ...options, url, commandTimeoutMs: 2_000, log: { info: note, error: note } })
  try {
    const about = question('store.connection', `a connection to ${host}`)
    if (!await isConnected(client)) {
      const isCertificate = CERTIFICATE.test(outage.reason)
      const setting = isCertificate ? 'REDIS_TLS_CA' : 'REDIS_URL'
      return [about.error(outage.reason, unreachable(outage.reason, nodes), { setting })]
    }
    const findings = [about.ok('connected', `Redis at ${host} can be reached`), await checkWrites(client)]
    const info = await readInfo(client).catch(() => undefined)
    // The client leaves a server that takes no writes.
    if (info === undefined) return findings
    return [
      ...findings,
      ...describeTopology(topology),
      checkVersion(info),
      checkEviction(info),
      checkPersistence(info),
      checkRoom(info),
      judgeLatency(await measureLatency(client))
    ]
  } finally {
    await client.close()
  }
}

function inMemory (): Finding {
  return question('store.connection', 'REDIS_URL').warning('not set', 'Clients and sign-ins are kept in the memory ' +
    'of ' +
    'the process: they are lost when it ends, and a second replica would not know them',
  { setting: 'REDIS_URL', value: 'redis://redis:6379' })
}

async function isConnected (client: RedisClient): Promise<boolean> {
  const deadline = performance.now() + REQUEST_MS
  while (!await client.isHealthy()) {
    if (performance.now() > deadline) return false
    await delay(20)
  }
  return true
}

function unreachable (reason: string, nodes: Array<{ host: string }>): string {
  if (CERTIFICATE.test(reason)) return 'Its certificate is not trusted: set REDIS_TLS_CA to that of its CA'
  if (/WRONGPASS|NOAUTH|NOPERM/.test(reason)) return 'Redis refuses the user or the password of REDIS_URL'
  const isLocal = nodes.some(({ host }) => isLoopbackHost(host))
  return 'Redis cannot be reached: registration, sign-in and sessions would answer 503' +
    (isLocal ? '. Inside a container, localhost is the container itself: name the host of Redis' : '')
}

type Info = Readonly<Record<string, string>>

async function readInfo ({ commands }: RedisClient): Promise<Info> {
  const sections = await Promise.all(['server', 'memory', 'persistence'].map(async (name) => await commands.info(name)))
  const lines = sections.join('\n').matchAll(/^(\w+):(.*?)\r?$/gm)
  return Object.fromEntries([...lines].map(([, name, value]) => [name!, value!]))
}

/** Tries a write, as the server does when it connects: a replica, or a full Redis, takes none. */
async function checkWrites ({ commands }: RedisClient): Promise<Finding> {
  const about = question('store.writes', 'SET of a key that expires after a second')
  try {
    await commands.set('ping', '1', 'EX', 1)
    return about.ok('OK', 'Redis takes writes')
  } catch (err) {
    const [code] = (err as Error).message.split(' ')
    return about.error(code!, code === 'OOM'
      ? 'Redis is full: raise its maxmemory'
      : 'Redis takes no writes: REDIS_URL must name the primary, and its user may use all commands and keys',
    { setting: 'REDIS_URL' })
  }
}

/** Says what the other findings are about, where there are several servers. */
export function describeTopology (topology: 'single' | 'sentinel' | 'cluster'): Finding[] {
  const about = question('store.topology', 'REDIS_URL')
  if (topology === 'single') return []
  return topology === 'sentinel'
    ? [about.ok('sentinel', 'The findings are about the primary that the sentinels name. Its replicas, which may ' +
      'become the primary, need the same settings')]
    : [about.unknown('cluster', 'The findings are about one node, whichever answered: the others need the same ' +
      'version and settings')]
}

/** Redis 6.2 has the commands that the store uses. */
export function checkVersion ({ redis_version: version = '', valkey_version: valkey }: Info): Finding {
  const about = question('store.version', 'INFO server')
  if (valkey !== undefined) return about.ok(`Valkey ${valkey}`, `Valkey ${valkey}`)
  const [major = 0, minor = 0] = version.split('.').map(Number)
  return major > 6 || (major === 6 && minor >= 2)
    ? about.ok(version, `Redis ${version}`)
    : about.error(version, 'Seed needs Redis 6.2 or later, or Valkey')
}

function checkEviction ({ maxmemory_policy: policy = '' }: Info): Finding {
  const about = question('store.eviction', 'INFO memory')
  return policy === 'noeviction'
    ? about.ok(policy, 'Redis evicts nothing')
    : about.warning(`maxmemory-policy ${policy}`, 'A full Redis would evict sign-ins, and marks of what was revoked: ' +
      'start it with maxmemory-policy noeviction', { setting: 'maxmemory-policy', value: 'noeviction' })
}

function checkPersistence ({ aof_enabled: appendOnly }: Info): Finding {
  const about = question('store.persistence', 'INFO persistence')
  return appendOnly === '1'
    ? about.ok('appendonly yes', 'Redis keeps its data over a restart')
    : about.warning('appendonly no', 'A restart of Redis loses the last sign-ins, or all of them, and marks of what ' +
      'was ' +
      'revoked: start it with appendonly yes', { setting: 'appendonly', value: 'yes' })
}

function checkRoom ({ used_memory: used, maxmemory: limit }: Info): Finding {
  const about = question('store.room', 'INFO memory')
  if (Number(limit) === 0) return about.ok('no maxmemory', 'Redis limits its memory by nothing but the machine')
  const percent = Math.round(100 * Number(used) / Number(limit))
  return percent < 100 * FULL
    ? about.ok(`${percent} % of maxmemory`, `Redis uses ${percent} % of its maxmemory`)
    : about.warning(`${percent} % of maxmemory`, 'A full Redis takes no new sign-ins: raise its maxmemory',
      { setting: 'maxmemory' })
}

async function measureLatency ({ commands }: RedisClient): Promise<number> {
  const times: number[] = []
  for (let count = 0; count < PINGS; count++) {
    const startedAt = performance.now()
    await commands.ping()
    times.push(performance.now() - startedAt)
  }
  return Math.round(Math.max(...times))
}

/** @param slowest milliseconds */
export function judgeLatency (slowest: number): Finding {
  const about = question('store.latency', `PING, ${PINGS} times`)
  const answered = `${slowest} ms at most`
  if (slowest >= COMMAND_MS) {
    const meaning = `Seed waits ${COMMAND_MS} ms for a command: run Redis near it`
    return about.error(answered, meaning, { setting: 'REDIS_URL' })
  }
  return slowest >= SLOW_MS
    ? about.warning(answered, 'Each request needs several commands, so this is slow: run Redis near Seed')
    : about.ok(answered, `Redis answers within ${slowest} ms`)
}
