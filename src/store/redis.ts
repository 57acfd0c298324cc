import { setTimeout as delay } from 'node:timers/promises'
import type { Log } from '../logging/log.ts'
import { createRecordReports } from './record.ts'
import type { RedisClient } from './redis-client.ts'
import { defineScripts } from './redis-scripts.ts'
import type { LogPage } from './redis-scripts.ts'
import { RedisSubscriber } from './redis-subscriber.ts'
import { StoreUnavailableError } from './store.ts'
import type { Store } from './store.ts'

const FIRST_CONTACT_MS = 1000
const PAGE_BYTES = 1024 * 1024
/** Keys that Redis looks at for one command of a scan: less than a millisecond of its time. */
const SCAN_KEYS = 500

/**
 * The store of many replicas, on Redis 6.2 or later or Valkey. Each method is one atomic command or script.
 *
 * Every error of Redis means "unavailable", never "not found": a replica that refuses writes (READONLY), a dataset
 * that is being loaded (LOADING), a full memory (OOM), a failed save (MISCONF), a wrong password.
 */
export function createRedisStore (client: RedisClient, log: Pick<Log, 'warn'>): Store {
  const redis = client.commands
  defineScripts(redis)
  const subscriber = new RedisSubscriber(client)
  let closing: Promise<void> | undefined

  async function run<T> (command: Promise<T>): Promise<T> {
    try {
      const result = await command
      client.recordResult()
      return result
    } catch (err) {
      client.recordResult(err as Error)
      // ioredis attaches the command and its arguments, values among them, which must not be logged.
      Reflect.deleteProperty(err as object, 'command')
      throw new StoreUnavailableError(err)
    }
  }

  return {
    kind: 'redis',
    ...createRecordReports(log),

    async get (key) {
      return await run(redis.get(key)) ?? undefined
    },

    async set (key, value, ttlSeconds, { evenIfFull = false } = {}) {
      await run(evenIfFull ? redis.setEvenIfFull(key, value, ttlSeconds) : redis.set(key, value, 'EX', ttlSeconds))
    },

    async setIfAbsent (key, value, ttlSeconds) {
      return await run(redis.set(key, value, 'EX', ttlSeconds, 'NX')) === 'OK'
    },

    async take (key) {
      return await run(redis.getdel(key)) ?? undefined
    },

    async touch (key, ttlSeconds) {
      return await run(redis.getex(key, 'EX', ttlSeconds)) ?? undefined
    },

    async compareAndSet (key, expected, value, ttlSeconds) {
      return await run(redis.compareAndSet(key, expected, value, ttlSeconds)) === 1
    },

    async delete (key) {
      return await run(redis.del(key)) === 1
    },

    async increment (key, ttlSeconds) {
      const [count, leftMs] = await run(redis.countInWindow(key, ttlSeconds))
      return { count, resetSeconds: Math.max(1, Math.ceil(leftMs / 1000)) }
    },

    async addMember (key, member, ttlSeconds) {
      await run(redis.addMember(key, member, ttlSeconds))
    },

    members: async (key) => await run(redis.liveMembers(key)),

    countMembers: async (key) => await run(redis.countLiveMembers(key)),

    async addMemberWithin (key, member, ttlSeconds, max) {
      return await run(redis.addMemberWithin(key, member, ttlSeconds, max)) === 1
    },

    async removeMember (key, member) {
      await run(redis.zrem(key, member))
    },

    async append (key, value, { ttlSeconds, maxEntries, expectedNumber }) {
      const expected = expectedNumber === undefined ? [] : [expectedNumber]
      return await run(redis.appendEntry(key, value, ttlSeconds, maxEntries, ...expected))
    },

    async entries (key, after) {
      return await readLog(after, async (last) => await run(redis.logPage(key, last, PAGE_BYTES)))
    },

    async * scan (prefix) {
      // A server that is away would be left out.
      if (!await client.isHealthy()) throw new StoreUnavailableError(new Error('Not every server is connected'))
      const seen = new Set<string>()
      const pattern = `${escapeGlob(client.keyPrefix + prefix)}*`
      for (const server of client.primaries()) {
        let cursor = '0'
        do {
          const [next, found] = await run(server.scan(cursor, 'MATCH', pattern, 'COUNT', SCAN_KEYS))
          const batch = [...new Set(found)].map((key) => key.slice(client.keyPrefix.length))
            .filter((key) => !seen.has(key))
          for (const key of batch) seen.add(key)
          if (batch.length > 0) yield batch
          cursor = next
        } while (cursor !== '0')
      }
    },

    async publish (channel, message) {
      await run(redis.publishMessage(client.channelName(channel), message))
    },

    subscribe (channel, onMessage, onGap) {
      subscriber.subscribe(client.keyPrefix + client.channelName(channel), { onMessage, onGap })
    },

    // A write, because PING is also answered by a replica that refuses writes and by a Redis that is full.
    async ping () {
      if (!await client.isHealthy()) throw new StoreUnavailableError(new Error('Not every server is connected'))
      await run(redis.set('ping', '1', 'EX', 1))
    },

    async ready () {
      const until = performance.now() + FIRST_CONTACT_MS
      while (performance.now() < until && !await client.isHealthy()) await delay(20)
    },

    close () {
      subscriber.close()
      closing ??= client.close()
      return closing
    }
  }
}

/** Makes a text match itself alone in a pattern of SCAN. */
function escapeGlob (text: string): string {
  return text.replace(/[\\*?[\]^-]/g, '\\$&')
}

/** Reads a log page by page, up to the entry that was the newest at the first page. */
async function readLog (after: number, readPage: (after: number) => Promise<LogPage>): ReturnType<Store['entries']> {
  let entries: Array<[number, string]> = []
  let last = after
  let until = Infinity
  for (;;) {
    const [newest, first, values] = await readPage(last)
    // Nothing is left, or the log has expired meanwhile: what was read of it is complete.
    if (values.length === 0) return { entries, newest: entries.length === 0 ? newest : last }
    // Entries that were dropped meanwhile leave no gap: those before them are dropped as well.
    if (first > last + 1) entries = []
    for (const [index, value] of values.entries()) entries.push([first + index, value])
    last = first + values.length - 1
    until = Math.min(until, newest)
    if (last >= until) return { entries, newest: last }
  }
}
