import { Redis } from 'ioredis'
import type { ConnectionOptions } from 'node:tls'
import { openRedisClient } from '../../src/store/redis-client.ts'
import { createRedisStore } from '../../src/store/redis.ts'
import { until } from '../support/until.ts'
import type { RedisClientOptions } from '../../src/store/redis-connection.ts'
import type { Store } from '../../src/store/store.ts'
import type { Test } from 'tap'

export const LOST = 'Redis is unreachable; requests that need it get 503 until it is back'
export const BACK = 'Redis is reachable again'

/** For tests that are not about time: a busy machine may take longer than a command may. */
export const PATIENT = { commandTimeoutMs: 10_000 }

export interface Line {
  level: 'info' | 'warn' | 'error'
  msg: string
  host?: string
  reason?: string
}

/** A store on Redis and the lines it logs; closed when the test ends. */
export function openStore (t: Test, url: string, keyPrefix = 'seed:', options: Partial<RedisClientOptions> = {}): {
  store: Store
  lines: Line[]
} {
  const lines: Line[] = []
  const write = (level: Line['level']) => (fields: object, msg: string) => { lines.push({ level, msg, ...fields }) }
  const log = { info: write('info'), warn: write('warn'), error: write('error') }
  const store = createRedisStore(openRedisClient({ url, keyPrefix, log, ...options }), log)
  t.teardown(() => store.close())
  return { store, lines }
}

export async function ready (store: Store): Promise<void> {
  await until(() => store.ping().then(() => true, () => false), 'the store is ready')
}

/** The messages that `store` receives on a channel, and how often it learnt that it may have missed some. */
export async function listen (store: Store): Promise<{ heard: string[], gaps: number }> {
  const listener = { heard: [] as string[], gaps: 0 }
  store.subscribe('channel', (message) => { listener.heard.push(message) }, () => { listener.gaps++ })
  await until(() => listener.gaps > 0, 'the subscription has begun')
  return listener
}

/** A connection that does what a store may not. */
export function openAdmin (t: Test, url: string, options: { password?: string, tls?: ConnectionOptions } = {}): Redis {
  const admin = new Redis(url, options)
  admin.on('error', () => {})
  t.teardown(() => admin.disconnect())
  return admin
}

/**
 * Redis rounds no time to live to what a test would like to wait for: shorten it instead, and that of each member of a
 * set.
 */
export async function shorten (admin: Redis, keyPrefix: string, seconds: number): Promise<void> {
  for (const key of await admin.keys(`${keyPrefix}*`)) {
    await admin.pexpire(key, await admin.pttl(key) - seconds * 1000)
    if (await admin.type(key) !== 'zset') continue
    for (const member of await admin.zrange(key, '0', '-1')) await admin.zincrby(key, -seconds * 1000, member)
  }
}
