import type { Cluster, Redis, Result } from 'ioredis'

/**
 * Opens a window, or counts in the open one. One step, since a counter that never expires would lock somebody out for
 * ever. Returns the count and the milliseconds left.
 */
const COUNT_IN_WINDOW = `
local left = redis.call('PTTL', KEYS[1])
if left < 0 then
  redis.call('SET', KEYS[1], 1, 'EX', ARGV[1])
  return { 1, redis.call('PTTL', KEYS[1]) }
end
return { redis.call('INCR', KEYS[1]), left }
`

const COMPARE_AND_SET = `
if redis.call('GET', KEYS[1]) ~= ARGV[1] then return 0 end
redis.call('SET', KEYS[1], ARGV[2], 'EX', ARGV[3])
return 1
`

/** DEL needs no memory, and a full Redis refuses only the first write of a script. */
const SET_EVEN_IF_FULL = `
redis.call('DEL', KEYS[1])
return redis.call('SET', KEYS[1], ARGV[1], 'EX', ARGV[2])
`

/** Milliseconds since the epoch, by the clock of Redis. */
const NOW = `
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
`

/** EXPIRE follows the first write of these scripts, so a time to live that it would refuse is refused before. */
const CHECK_TTL = `
if not string.match(ARGV[2], '^[1-9]%d*$') then return redis.error_reply('ERR invalid expire time') end
`

/**
 * A set whose members expire one by one: a sorted set with the millisecond of expiry as score. ZADD comes first, since
 * a full Redis refuses only the first write of a script.
 */
const ADD = `
local ttl = ARGV[2] * 1000
redis.call('ZADD', KEYS[1], 'GT', now + ttl, ARGV[1])
redis.call('ZREMRANGEBYSCORE', KEYS[1], '-inf', now)
if redis.call('PTTL', KEYS[1]) < ttl then redis.call('PEXPIRE', KEYS[1], ttl) end
return 1
`
const ADD_MEMBER = `${CHECK_TTL}${NOW}${ADD}`

/** Counts only the other members that have not expired. */
const ADD_MEMBER_WITHIN = `${CHECK_TTL}${NOW}
local others = redis.call('ZCOUNT', KEYS[1], string.format('(%.0f', now), '+inf')
local expires = redis.call('ZSCORE', KEYS[1], ARGV[1])
if expires and tonumber(expires) > now then others = others - 1 end
if others >= tonumber(ARGV[3]) then return 0 end
${ADD}`

const LIVE_MEMBERS = `${NOW}
return redis.call('ZRANGEBYSCORE', KEYS[1], string.format('(%.0f', now), '+inf')
`

const COUNT_LIVE_MEMBERS = `${NOW}
return redis.call('ZCOUNT', KEYS[1], string.format('(%.0f', now), '+inf')
`

/**
 * A log is a hash: its entries by number, and the number of the newest. Only HSET takes memory and it comes first,
 * since a full Redis refuses only the first write of a script.
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
 * Returns a page of a log: the number of its newest entry, the number of the first entry returned, and the entries from
 * there, at least one and up to ARGV[2] bytes. A whole log could take longer than a command may.
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
 * A script, although it is one command: a script has a key, and in a cluster a key has one server, so the messages of a
 * channel keep their order.
 */
const PUBLISH = `
return redis.call('PUBLISH', KEYS[1], ARGV[1])
`

export type LogPage = [newest: number, first: number, entries: string[]]

declare module 'ioredis' {
  interface RedisCommander<Context> {
    countInWindow (key: string, ttlSeconds: number): Result<[count: number, leftMs: number], Context>
    compareAndSet (key: string, expected: string, value: string, ttlSeconds: number): Result<0 | 1, Context>
    setEvenIfFull (key: string, value: string, ttlSeconds: number): Result<'OK', Context>
    addMember (key: string, member: string, ttlSeconds: number): Result<1, Context>
    addMemberWithin (key: string, member: string, ttlSeconds: number, max: number): Result<0 | 1, Context>
    liveMembers (key: string): Result<string[], Context>
    countLiveMembers (key: string): Result<number, Context>
    appendEntry (
      key: string, value: string, ttlSeconds: number, maxEntries: number, ...expectedNumber: number[]
    ): Result<number, Context>
    logPage (key: string, after: number, bytes: number): Result<LogPage, Context>
    publishMessage (channel: string, message: string): Result<number, Context>
  }
}

/** Adds the scripts to a connection, as commands. */
export function defineScripts (redis: Redis | Cluster): void {
  const scripts = {
    countInWindow: COUNT_IN_WINDOW,
    compareAndSet: COMPARE_AND_SET,
    setEvenIfFull: SET_EVEN_IF_FULL,
    addMember: ADD_MEMBER,
    addMemberWithin: ADD_MEMBER_WITHIN,
    liveMembers: LIVE_MEMBERS,
    countLiveMembers: COUNT_LIVE_MEMBERS,
    appendEntry: APPEND,
    logPage: LOG_PAGE,
    publishMessage: PUBLISH
  }
  for (const [name, lua] of Object.entries(scripts)) redis.defineCommand(name, { numberOfKeys: 1, lua })
}
