import { setTimeout as delay } from 'node:timers/promises'
import { openRedisClient } from './redis-client.ts'
import { StoreUnavailableError } from './store.ts'
import type { Redis, Result } from 'ioredis'
import type { RedisClientOptions } from './redis-client.ts'
import type { Store } from './store.ts'

const CLOSE_MS = 2000
const FIRST_CONTACT_MS = 1000
const PAGE_BYTES = 1024 * 1024

/** A subscriber only listens, so it would never notice that the other side is gone: it asks now and then. */
const HEARTBEAT_MS = 5000

/**
 * Opens a window or counts in the open one, as one step: it never leaves a counter without an end, which would lock
 * somebody out for ever. Gives the count and the milliseconds left.
 */
const COUNT_IN_WINDOW = `
local left = redis.call('PTTL', KEYS[1])
if left < 0 then
  redis.call('SET', KEYS[1], 1, 'EX', ARGV[1])
  return { 1, redis.call('PTTL', KEYS[1]) }
end
return { redis.call('INCR', KEYS[1]), left }
`

/** Compare-and-set as one step. */
const REPLACE = `
if redis.call('GET', KEYS[1]) ~= ARGV[1] then return 0 end
redis.call('SET', KEYS[1], ARGV[2], 'EX', ARGV[3])
return 1
`

/** Milliseconds since the epoch, by the clock of Redis. */
const NOW = `
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
`

/** EXPIRE comes after the first write in these scripts: a time that it would refuse is refused before. */
const CHECK_TTL = `
if not string.match(ARGV[2], '^[1-9]%d*$') then return redis.error_reply('ERR invalid expire time') end
`

/**
 * A set whose members leave one by one: a sorted set with the millisecond of leaving as score. ZADD comes first, as a
 * full Redis refuses only the first write of a script.
 */
const ADD = `
local ttl = ARGV[2] * 1000
redis.call('ZADD', KEYS[1], 'GT', now + ttl, ARGV[1])
redis.call('ZREMRANGEBYSCORE', KEYS[1], '-inf', now)
if redis.call('PTTL', KEYS[1]) < ttl then redis.call('PEXPIRE', KEYS[1], ttl) end
return 1
`
const ADD_MEMBER = `${CHECK_TTL}${NOW}${ADD}`

/** Of the members whose time has not run out only the others count. */
const ADMIT_MEMBER = `${CHECK_TTL}${NOW}
local others = redis.call('ZCOUNT', KEYS[1], string.format('(%.0f', now), '+inf')
local leaves = redis.call('ZSCORE', KEYS[1], ARGV[1])
if leaves and tonumber(leaves) > now then others = others - 1 end
if others >= tonumber(ARGV[3]) then return 0 end
${ADD}`

const LIVE_MEMBERS = `${NOW}
return redis.call('ZRANGEBYSCORE', KEYS[1], string.format('(%.0f', now), '+inf')
`

/**
 * A log: a hash of its entries by their numbers, and of `newest`. Only HSET takes memory and it comes first, as a full
 * Redis refuses only the first write of a script.
 */
const APPEND = `${CHECK_TTL}
local newest = tonumber(redis.call('HGET', KEYS[1], 'newest') or 0)
if ARGV[4] and tonumber(ARGV[4]) ~= newest + 1 then return newest end
newest = newest + 1
redis.call('HSET', KEYS[1], newest, ARGV[1], 'newest', newest)
redis.call('EXPIRE', KEYS[1], ARGV[2])
for number = newest - redis.call('HLEN', KEYS[1]) + 2, newest - ARGV[3] do redis.call('HDEL', KEYS[1], number) end
return newest
`

/**
 * A page of a log: the number of its newest entry, the number of the first one given, and those that come from there on,
 * up to ARGV[2] bytes but one at least. All at once would be more than the time limit of a command allows.
 */
const LOG_PAGE = `
local newest = tonumber(redis.call('HGET', KEYS[1], 'newest') or 0)
local first = math.max(ARGV[1] + 1, newest - redis.call('HLEN', KEYS[1]) + 2)
local entries, size = {}, 0
for number = first, newest do
  local entry = redis.call('HGET', KEYS[1], number)
  size = size + #entry
  if size > tonumber(ARGV[2]) and #entries > 0 then break end
  table.insert(entries, entry)
end
return { newest, first, entries }
`

/**
 * A script although it is one command: what has a key has a server of its own in a cluster, and so the messages of a
 * channel keep their order.
 */
const PUBLISH = `
return redis.call('PUBLISH', KEYS[1], ARGV[1])
`

declare module 'ioredis' {
  interface RedisCommander<Context> {
    countInWindow (key: string, ttlSeconds: number): Result<[count: number, leftMs: number], Context>
    replaceValue (key: string, expected: string, value: string, ttlSeconds: number): Result<0 | 1, Context>
    addMember (key: string, member: string, ttlSeconds: number): Result<1, Context>
    admitMember (key: string, member: string, ttlSeconds: number, most: number): Result<0 | 1, Context>
    liveMembers (key: string): Result<string[], Context>
    appendEntry (key: string, value: string, ttlSeconds: number, most: number, ...at: number[]): Result<number, Context>
    publishMessage (channel: string, message: string): Result<number, Context>
    logPage (key: string, after: number, bytes: number): Result<[newest: number, first: number, entries: string[]], Context>
  }
}

/**
 * The store of many replicas, on Redis 6.2 or later or Valkey. Each method is one atomic command or script.
 *
 * Every error of Redis means "unavailable", never "not found": a replica that refuses writes (READONLY), a dataset
 * being loaded (LOADING), a full memory (OOM), a failed save (MISCONF), a wrong password. It connects by itself, at
 * first and again after each loss; until then every method rejects.
 */
export function createRedisStore (options: RedisClientOptions): Store {
  const { keyPrefix } = options
  const client = openRedisClient(options)
  const redis = client.commands
  redis.defineCommand('countInWindow', { numberOfKeys: 1, lua: COUNT_IN_WINDOW })
  redis.defineCommand('replaceValue', { numberOfKeys: 1, lua: REPLACE })
  redis.defineCommand('addMember', { numberOfKeys: 1, lua: ADD_MEMBER })
  redis.defineCommand('admitMember', { numberOfKeys: 1, lua: ADMIT_MEMBER })
  redis.defineCommand('liveMembers', { numberOfKeys: 1, lua: LIVE_MEMBERS })
  redis.defineCommand('appendEntry', { numberOfKeys: 1, lua: APPEND })
  redis.defineCommand('logPage', { numberOfKeys: 1, lua: LOG_PAGE })
  redis.defineCommand('publishMessage', { numberOfKeys: 1, lua: PUBLISH })

  const subscriptions = new Map<string, Array<{ onMessage: (message: string) => void, onGap: () => void }>>()
  let subscriber: Redis | undefined
  let heartbeat: NodeJS.Timeout | undefined
  let closing: Promise<void> | undefined

  /** Listening needs a connection of its own. */
  function openSubscriber (): Redis {
    const connection = client.openSubscriber()
    connection.on('ready', () => { for (const channel of subscriptions.keys()) listen(connection, channel) })
    connection.on('message', (channel, message) => {
      for (const { onMessage } of subscriptions.get(channel)!) onMessage(message)
    })
    heartbeat = setInterval(() => { connection.ping().catch(() => {}) }, HEARTBEAT_MS).unref()
    return connection
  }

  /** A subscription that fails ends with its connection, and the next one begins it anew. */
  function listen (connection: Redis, channel: string): void {
    connection.subscribe(channel).then(async () => {
      // Whoever hears of a gap looks at once, over the other connection, which may come back later than this one.
      while (connection.status === 'ready' && redis.status !== 'ready') await delay(20, undefined, { ref: false })
      for (const { onGap } of subscriptions.get(channel)!) onGap()
    }, () => {})
  }

  async function answer<T> (command: Promise<T>): Promise<T> {
    try {
      const result = await command
      client.noted()
      return result
    } catch (err) {
      client.noted(err as Error)
      // ioredis hangs the command with its arguments on the error, and with them the value: no log shall meet it.
      Reflect.deleteProperty(err as object, 'command')
      throw new StoreUnavailableError(err)
    }
  }

  async function closeNow (): Promise<void> {
    client.retire()
    clearInterval(heartbeat)
    subscriber?.disconnect()
    await Promise.race([redis.quit().catch(() => {}), delay(CLOSE_MS, undefined, { ref: false })])
    redis.disconnect()
  }

  return {
    kind: 'redis',

    async get (key) {
      return await answer(redis.get(key)) ?? undefined
    },

    async set (key, value, ttlSeconds) {
      await answer(redis.set(key, value, 'EX', ttlSeconds))
    },

    async setIfAbsent (key, value, ttlSeconds) {
      return await answer(redis.set(key, value, 'EX', ttlSeconds, 'NX')) === 'OK'
    },

    async take (key) {
      return await answer(redis.getdel(key)) ?? undefined
    },

    async touch (key, ttlSeconds) {
      return await answer(redis.getex(key, 'EX', ttlSeconds)) ?? undefined
    },

    async delete (key) {
      return await answer(redis.del(key)) === 1
    },

    async increment (key, ttlSeconds) {
      const [count, leftMs] = await answer(redis.countInWindow(key, ttlSeconds))
      return { count, resetSeconds: Math.max(1, Math.ceil(leftMs / 1000)) }
    },

    async compareAndSet (key, expected, value, ttlSeconds) {
      return await answer(redis.replaceValue(key, expected, value, ttlSeconds)) === 1
    },

    async addMember (key, member, ttlSeconds) {
      await answer(redis.addMember(key, member, ttlSeconds))
    },

    async members (key) {
      return await answer(redis.liveMembers(key))
    },

    async addMemberWithin (key, member, ttlSeconds, most) {
      return await answer(redis.admitMember(key, member, ttlSeconds, most)) === 1
    },

    async removeMember (key, member) {
      await answer(redis.zrem(key, member))
    },

    async append (key, value, { ttlSeconds, most, at }) {
      return await answer(redis.appendEntry(key, value, ttlSeconds, most, ...at === undefined ? [] : [at]))
    },

    async entries (key, after) {
      let entries: Array<[number, string]> = []
      let last = after
      let until = Infinity
      for (;;) {
        const [newest, first, values] = await answer(redis.logPage(key, last, PAGE_BYTES))
        // Nothing left to read: or the log has ended meanwhile, and what was read of it is whole.
        if (values.length === 0) return { entries, newest: entries.length === 0 ? newest : last }
        // What was dropped meanwhile leaves no hole: those before it are dropped as well.
        if (first > last + 1) entries = []
        for (const [index, value] of values.entries()) entries.push([first + index, value])
        last = first + values.length - 1
        until = Math.min(until, newest)
        if (last >= until) return { entries, newest: last }
      }
    },

    async publish (channel, message) {
      await answer(redis.publishMessage(channel, message))
    },

    subscribe (channel, onMessage, onGap) {
      const name = keyPrefix + channel
      subscriptions.set(name, [...subscriptions.get(name) ?? [], { onMessage, onGap }])
      subscriber ??= openSubscriber()
      if (subscriber.status === 'ready') listen(subscriber, name)
    },

    // A write, because PING is also answered by a replica that refuses writes and by a Redis that is full.
    async ping () {
      if (!await client.isWhole()) throw new StoreUnavailableError(new Error('Not every server is connected and serving'))
      await answer(redis.set('ping', '1', 'EX', 1))
    },

    async ready () {
      const until = performance.now() + FIRST_CONTACT_MS
      while (performance.now() < until && !await client.isWhole()) await delay(20)
    },

    close () {
      closing ??= closeNow()
      return closing
    }
  }
}
