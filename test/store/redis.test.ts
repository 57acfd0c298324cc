import { randomUUID } from 'node:crypto'
import { once } from 'node:events'
import { connect, createServer } from 'node:net'
import { inspect } from 'node:util'
import { Redis } from 'ioredis'
import t from 'tap'
import { ServerConnector } from '../../src/store/redis-connectors.ts'
import { StoreUnavailableError } from '../../src/store/store.ts'
import { freePort } from '../support/free-port.ts'
import { ownRedisForTests, redisForTests } from '../support/redis.ts'
import { until } from '../support/until.ts'
import { PROMPT_MS, rejectsEverything, storeContract } from './contract.ts'
import { BACK, LOST, PATIENT, openAdmin, openStore, ready, shorten } from './open-redis.ts'
import type { AddressInfo, Socket } from 'node:net'
import type { Store } from '../../src/store/store.ts'
import { startTcpProxy } from '../support/tcp-proxy.ts'
import type { Test } from 'tap'

const SECRET = 'the-value-nobody-may-log'

t.test('the contract', async (t) => {
  const redis = await redisForTests(t)
  if (!redis) return
  const admin = openAdmin(t, redis.url)
  await storeContract(t, async (t) => {
    const keyPrefix = `seed-test:${randomUUID()}:`
    const { store } = openStore(t, redis.url, keyPrefix, PATIENT)
    t.equal(store.kind, 'redis')
    await ready(store)
    return { store, elapse: (seconds) => shorten(admin, keyPrefix, seconds) }
  })
})

t.test('two prefixes do not see each other', async (t) => {
  const redis = await redisForTests(t)
  if (!redis) return
  const run = randomUUID()
  const { store: one } = openStore(t, redis.url, `${run}:one:`, PATIENT)
  const { store: two } = openStore(t, redis.url, `${run}:two:`, PATIENT)
  const admin = openAdmin(t, redis.url)
  await Promise.all([ready(one), ready(two)])
  await one.set('key', 'one', 10)
  await one.increment('count', 10)
  t.equal(await two.get('key'), undefined)
  t.equal(await two.setIfAbsent('key', 'two', 10), true)
  t.equal((await two.increment('count', 10)).count, 1)
  t.equal(await two.take('key'), 'two')
  t.equal(await one.get('key'), 'one')
  t.same(
    (await admin.keys(`${run}:*`)).filter((key) => !key.endsWith(':ping')).sort(),
    [`${run}:one:count`, `${run}:one:key`, `${run}:two:count`]
  )
})

t.test('a script that Redis has forgotten is sent again', async (t) => {
  const redis = await ownRedisForTests(t)
  if (!redis) return
  const { store, lines } = openStore(t, redis.url, 'seed:', PATIENT)
  await ready(store)
  await store.increment('key', 10)
  await store.increment('key', 10)
  await openAdmin(t, redis.url).script('FLUSH')
  t.equal((await store.increment('key', 10)).count, 3)
  t.same(lines, [])
})

t.test('a log that changes while it is read page by page', async (t) => {
  const redis = await ownRedisForTests(t)
  if (!redis) return
  const { store } = openStore(t, redis.url, 'seed:', PATIENT)
  await ready(store)
  const numbers = ({
    entries,
    newest
  }: Awaited<ReturnType<Store['entries']>>) => ({ numbers: entries.map(([number]) => number), newest })
  const large = 'x'.repeat(1024 * 1024)
  for (let number = 1; number <= 5; number++) await store.append('log', large, { ttlSeconds: 100, maxEntries: 10 })

  // What follows on the same connection comes between the first piece and the second.
  const [grown] = await Promise.all([
    store.entries('log', 0),
    store.append('log', 'new', { ttlSeconds: 100, maxEntries: 10 })
  ])
  t.same(numbers(grown), { numbers: [1, 2, 3, 4, 5], newest: 5 }, 'up to what was the newest')
  const [dropped] = await Promise.all([
    store.entries('log', 0),
    store.append('log', 'newer', { ttlSeconds: 100, maxEntries: 3 })
  ])
  t.same(numbers(dropped), { numbers: [5, 6, 7], newest: 7 }, 'no hole where entries were dropped')
  for (let number = 8; number <= 9; number++) await store.append('log', large, { ttlSeconds: 100, maxEntries: 3 })
  const [ended] = await Promise.all([store.entries('log', 7), store.delete('log')])
  t.same(numbers(ended), { numbers: [8], newest: 8 }, 'what was read before it ended')
})

t.test('a counter without an expiry gets one', async (t) => {
  const redis = await ownRedisForTests(t)
  if (!redis) return
  const { store } = openStore(t, redis.url, 'seed:', PATIENT)
  await ready(store)
  await openAdmin(t, redis.url).set('seed:key', 1_000_000)
  t.same(await store.increment('key', 10), { count: 1, resetSeconds: 10 })
})

t.test('a killed Redis', async (t) => {
  const redis = await ownRedisForTests(t)
  if (!redis) return
  const { store, lines } = openStore(t, redis.url)
  await ready(store)
  t.same(lines, [], 'a first connection is no news')

  await redis.kill('SIGKILL')
  await rejectsEverything(t, store)
  await until(() => lines.length > 0, 'the loss is logged')
  await refusals(redis.port)
  await rejectsEverything(t, store)
  t.match(lines, [{ level: 'error', msg: LOST, host: `127.0.0.1:${redis.port}`, reason: /^[A-Z]+$/ }])

  await redis.restart()
  await ready(store)
  await store.set('key', 'value', 10)
  t.equal(await store.get('key'), 'value', 'recovers by itself')
  t.same(lines.map(({ msg }) => msg), [LOST, BACK], 'with one line for each')
  t.match(lines[1], { level: 'info', host: `127.0.0.1:${redis.port}` })

  await redis.kill('SIGKILL')
  await until(() => lines.length === 3, 'the next loss is logged')
  t.equal(lines[2]?.msg, LOST)
})

t.test('a command that was under way when Redis died rejects and is not sent again', async (t) => {
  const redis = await ownRedisForTests(t)
  if (!redis) return
  const { store } = openStore(t, redis.url)
  await ready(store)
  await redis.kill('SIGSTOP')
  const counted = t.rejects(store.increment('key', 10), StoreUnavailableError)
  await redis.kill('SIGKILL')
  await counted
  await redis.restart()
  await ready(store)
  t.equal((await store.increment('key', 10)).count, 1)
})

t.test('a hung Redis', async (t) => {
  const redis = await ownRedisForTests(t)
  if (!redis) return
  const { store, lines } = openStore(t, redis.url)
  await ready(store)

  await redis.kill('SIGSTOP')
  await rejectsEverything(t, store)
  await until(() => lines.length > 0, 'the loss is logged')
  let fastest = Infinity
  for (let tries = 0; tries < 10; tries++) {
    const started = performance.now()
    await t.rejects(store.get('key'), StoreUnavailableError)
    fastest = Math.min(fastest, performance.now() - started)
  }
  t.ok(fastest < 100, 'rejects at once when it is known to hang')

  await redis.kill('SIGCONT')
  await ready(store)
  await store.set('key', 'value', 10)
  t.equal(await store.get('key'), 'value', 'recovers by itself')
  t.same(
    lines.map(({ msg, reason }) => ({ msg, reason })),
    [{ msg: LOST, reason: 'ETIMEDOUT' }, { msg: BACK, reason: undefined }]
  )
})

t.test('a Redis whose replies are too slow is left until it is quicker', async (t) => {
  const redis = await ownRedisForTests(t)
  if (!redis) return
  const proxy = await startTcpProxy(t, redis.port)
  const { store, lines } = openStore(t, `redis://127.0.0.1:${proxy.port}`)
  await ready(store)

  proxy.set({ delayMs: 250 })
  const isLost = async (): Promise<boolean> => await store.get('key').then(() => false, () => lines.length > 0)
  await until(isLost, 'the loss is logged')
  proxy.set('clear')
  await ready(store)
  await until(() => lines.length > 1, 'the return is logged')
  t.match(lines, [{ msg: LOST, reason: 'ETIMEDOUT' }, { msg: BACK }])
})

t.test('a Redis that is down at the start', async (t) => {
  const redis = await ownRedisForTests(t)
  if (!redis) return
  await redis.kill('SIGKILL')
  const { store, lines } = openStore(t, redis.url)
  await rejectsEverything(t, store)
  await until(() => lines.length > 0, 'it is logged')
  t.same(lines, [
    { level: 'error', event: 'redis.unreachable', msg: LOST, host: `127.0.0.1:${redis.port}`, reason: 'ECONNREFUSED' }
  ])
  await refusals(redis.port)
  await redis.restart()
  await ready(store)
  t.same(lines.map(({ msg }) => msg), [LOST, BACK])
})

t.test('ready waits until Redis answers, and at most a second', async (t) => {
  const redis = await ownRedisForTests(t)
  if (!redis) return
  const { store } = openStore(t, redis.url)
  await t.rejects(store.get('key'), StoreUnavailableError, 'a new store is not connected yet')
  await store.ready()
  t.equal(await store.get('key'), undefined)

  await redis.kill('SIGKILL')
  const { store: early } = openStore(t, redis.url)
  const started = performance.now()
  await early.ready()
  const waited = performance.now() - started
  t.ok(waited >= 990 && waited < PROMPT_MS, `it waited ${Math.round(waited)} ms`)
  await rejectsEverything(t, early)
})

t.test('a host that does not exist', async (t) => {
  const { store, lines } = openStore(t, 'redis://redis.invalid')
  await rejectsEverything(t, store)
  await until(() => lines.length > 0, 'it is logged')
  t.match(lines, [{ level: 'error', msg: LOST, host: 'redis.invalid:6379', reason: /^E[A-Z_]+$/ }])
})

t.test('a rediss:// URL uses TLS only', async (t) => {
  const redis = await ownRedisForTests(t)
  if (!redis) return
  const { store, lines } = openStore(t, redis.url.replace('redis:', 'rediss:'))
  await rejectsEverything(t, store)
  await until(() => lines.length > 0, 'it is logged')
  t.equal(lines[0]?.msg, LOST)
  await rejectsEverything(t, store)
})

t.test('a second error of a socket does not end the process', async (t) => {
  const connector = new ServerConnector({ host: '127.0.0.1', port: await freePort(), disconnectTimeout: 100 })
  const socket = await connector.connect()
  const [first] = await once(socket, 'error') as [Error]
  await new Promise(setImmediate)
  t.equal(connector.firstError, first)
  t.doesNotThrow(() => socket.emit('error', new Error('an alert after a refused certificate')))
  t.equal(connector.firstError, first)
})

t.test('a full Redis', async (t) => {
  const redis = await ownRedisForTests(t, { args: ['--maxmemory-policy', 'noeviction'] })
  if (!redis) return
  const { store, lines } = openStore(t, redis.url)
  await ready(store)
  await store.set('kept', 'value', 100)
  await store.append('log', 'kept', { ttlSeconds: 100, maxEntries: 1 })
  const admin = openAdmin(t, redis.url)
  await admin.config('SET', 'maxmemory', '1')

  const full = { name: 'StoreUnavailableError', cause: { message: /^OOM / } }
  await t.rejects(store.set('key', SECRET, 10), full)
  await t.rejects(store.setIfAbsent('key', SECRET, 10), full)
  await t.rejects(store.increment('count', 10), full)
  await t.rejects(store.compareAndSet('kept', 'value', SECRET, 10), full)
  await t.rejects(store.addMember('set', SECRET, 10), full)
  await t.rejects(store.addMemberWithin('set', SECRET, 10, 1), full)
  await t.rejects(store.append('log', SECRET, { ttlSeconds: 10, maxEntries: 1 }), full)
  await t.rejects(store.ping(), full, 'ping says that writes are refused')
  await store.set('mark', '1', 10, { evenIfFull: true })
  t.equal(await store.take('mark'), '1', 'a mark that must not wait for room is there')
  t.equal(await store.get('kept'), 'value', 'what is there can be read')
  t.equal(await store.take('kept'), 'value')
  t.same(await store.members('set'), [])
  t.same(await store.entries('log', 0), { entries: [[1, 'kept']], newest: 1 }, 'as it was')
  t.equal(
    await store.append('log', SECRET, { ttlSeconds: 10, maxEntries: 1, expectedNumber: 1 }),
    1,
    'what needs no memory is answered'
  )

  await admin.config('SET', 'maxmemory', '0')
  await until(() => lines.length > 1, 'Seed notices by itself')
  await store.set('key', 'value', 10)
  t.same(
    lines.map(({ msg, reason }) => ({ msg, reason })),
    [{ msg: LOST, reason: 'OOM' }, { msg: BACK, reason: undefined }],
    'one line marks the loss, one the return'
  )
})

t.test('a replica that refuses writes', async (t) => {
  const redis = await ownRedisForTests(t)
  if (!redis) return
  const { store, lines } = openStore(t, redis.url)
  await ready(store)
  const admin = openAdmin(t, redis.url)
  await admin.replicaof('127.0.0.1', await freePort())
  await t.rejects(store.set('key', SECRET, 10), { name: 'StoreUnavailableError', cause: { message: /READONLY/ } })
  await until(() => lines.length > 0, 'the connection is given up')
  await rejectsEverything(t, store)
  await reconnections(admin, 2)
  await admin.replicaof('NO', 'ONE')
  await ready(store)
  t.same(
    lines.map(({ msg, reason }) => ({ msg, reason })),
    [{ msg: LOST, reason: 'READONLY' }, { msg: BACK, reason: undefined }]
  )
})

t.test('a primary that refuses writes since it has lost its replicas', async (t) => {
  const redis = await ownRedisForTests(t)
  if (!redis) return
  const { store, lines } = openStore(t, redis.url)
  await ready(store)
  const admin = openAdmin(t, redis.url)
  await admin.config('SET', 'min-replicas-to-write', '1')
  await t.rejects(store.increment('key', 10), { name: 'StoreUnavailableError', cause: { message: /NOREPLICAS/ } })
  await until(() => lines.length > 0, 'the connection is given up: another server may be the primary')
  await reconnections(admin, 2)
  await admin.config('SET', 'min-replicas-to-write', '0')
  await ready(store)
  await until(() => lines.length > 1, 'the return is logged')
  t.same(
    lines.map(({ msg, reason }) => ({ msg, reason })),
    [{ msg: LOST, reason: 'NOREPLICAS' }, { msg: BACK, reason: undefined }]
  )
})

t.test('a message reaches the subscribers of all replicas under the same prefix, and no others', async (t) => {
  const redis = await redisForTests(t)
  if (!redis) return
  const run = randomUUID()
  const stores = [
    'one:', 'one:', 'two:', ''
  ].map((prefix) => openStore(t, redis.url, `${run}:${prefix}`, PATIENT).store)
  const heard: string[][] = []
  for (const store of stores) {
    const messages: string[] = []
    let gaps = 0
    heard.push(messages)
    store.subscribe('channel', (message) => { messages.push(message) }, () => { gaps++ })
    await until(() => gaps > 0, 'the subscription has begun')
    await ready(store)
  }
  await stores[0]!.publish('channel', 'to one')
  await stores[2]!.publish('channel', 'to two')
  await stores[3]!.publish('channel', 'to none of them')
  await until(() => heard.every((messages) => messages.length > 0), 'the messages have come')
  t.same(heard, [['to one'], ['to one'], ['to two'], ['to none of them']])
})

t.test('two databases of one Redis do not hear each other', async (t) => {
  const redis = await ownRedisForTests(t)
  if (!redis) return
  const heard: string[][] = []
  const stores = [0, 1].map((database) => openStore(t, `${redis.url}/${database}`, 'seed:', PATIENT).store)
  for (const store of stores) {
    const messages: string[] = []
    let gaps = 0
    heard.push(messages)
    store.subscribe('channel', (message) => { messages.push(message) }, () => { gaps++ })
    await until(() => gaps > 0, 'the subscription has begun')
    await ready(store)
  }
  await stores[0]!.publish('channel', 'to 0')
  await stores[1]!.publish('channel', 'to 1')
  await until(() => heard.every((messages) => messages.length > 0), 'the messages have come')
  t.same(heard, [['to 0'], ['to 1']])
})

t.test('a subscription survives a killed Redis, and reports a gap', async (t) => {
  const redis = await ownRedisForTests(t)
  if (!redis) return
  const { store, lines } = openStore(t, redis.url)
  const { store: other } = openStore(t, redis.url)
  const heard: string[] = []
  const gaps = { early: 0, late: 0 }
  store.subscribe('channel', (message) => { heard.push(`early ${message}`) }, () => { gaps.early++ })
  await until(() => gaps.early === 1, 'the subscription has begun')
  await Promise.all([ready(store), ready(other)])

  await redis.kill('SIGKILL')
  await t.rejects(other.publish('channel', SECRET), StoreUnavailableError)
  store.subscribe('channel', (message) => { heard.push(`late ${message}`) }, () => { gaps.late++ })
  await until(() => lines.length > 0, 'the loss is logged')
  await refusals(redis.port)
  t.same(gaps, { early: 1, late: 0 }, 'nothing is promised while Redis is away')

  await redis.restart()
  await until(() => gaps.early > 1 && gaps.late > 0, 'both are back')
  await ready(other)
  await other.publish('channel', 'after')
  await until(() => heard.length === 2, 'the message has come')
  t.same(heard, ['early after', 'late after'], 'once each')
  await until(() => lines.length > 1, 'the first connection is back as well')
  t.same(lines.map(({ msg }) => msg), [LOST, BACK], 'one connection speaks for both')
})

t.test('a subscription that is made while Redis is down begins when it is up', async (t) => {
  const redis = await ownRedisForTests(t)
  if (!redis) return
  await redis.kill('SIGKILL')
  const { store } = openStore(t, redis.url)
  const heard: string[] = []
  let gaps = 0
  store.subscribe('channel', (message) => { heard.push(message) }, () => { gaps++ })
  await refusals(redis.port)
  t.equal(gaps, 0)
  await redis.restart()
  await until(() => gaps === 1, 'the subscription has begun')
  await ready(store)
  await store.publish('channel', 'hello')
  await until(() => heard.length > 0, 'the message has come')
  t.same(heard, ['hello'])
})

t.test('a subscriber notices that Redis hangs, although it only receives', async (t) => {
  const redis = await ownRedisForTests(t)
  if (!redis) return
  const wire = await listenBetween(t, redis.port)
  const { store } = openStore(t, wire.url)
  await ready(store)
  const heard: string[] = []
  let gaps = 0
  const known = wire.sockets.length
  store.subscribe('channel', (message) => { heard.push(message) }, () => { gaps++ })
  await until(() => gaps === 1, 'the subscription has begun')
  t.equal(wire.sockets.length, known + 1, 'it has a connection of its own')

  await redis.kill('SIGSTOP')
  await once(wire.sockets[known]!, 'close')
  await redis.kill('SIGCONT')
  await until(() => gaps > 1, 'the subscription is back')
  await ready(store)
  await store.publish('channel', 'hello')
  await until(() => heard.length > 0, 'the message has come')
  t.same(heard, ['hello'])
})

t.test('passwords', async (t) => {
  const redis = await ownRedisForTests(t, { args: ['--requirepass', 'p@ss/word'] })
  if (!redis) return
  const url = (password: string): string => redis.url.replace('//', `//:${encodeURIComponent(password)}@`)

  t.test('the right one', async (t) => {
    const { store, lines } = openStore(t, url('p@ss/word'))
    await ready(store)
    t.same(lines, [])
  })

  t.test('the right one with its user', async (t) => {
    const { store } = openStore(t, redis.url.replace('//', '//default:p%40ss%2Fword@'))
    await ready(store)
  })

  t.test('a wrong one is unavailable, and not in the log', async (t) => {
    const { store, lines } = openStore(t, url(SECRET))
    await rejectsEverything(t, store)
    await until(() => lines.length > 0, 'it is logged')
    await rejectsEverything(t, store)
    t.same(lines, [
      { level: 'error', event: 'redis.unreachable', msg: LOST, host: `127.0.0.1:${redis.port}`, reason: 'WRONGPASS' }
    ])
  })

  t.test('none', async (t) => {
    const { store, lines } = openStore(t, redis.url)
    await rejectsEverything(t, store)
    await until(() => lines.length > 0, 'it is logged')
    t.equal(lines[0]?.reason, 'NOAUTH')
  })
})

t.test('an error contains no value', async (t) => {
  const redis = await ownRedisForTests(t)
  if (!redis) return
  const { store } = openStore(t, redis.url)
  await ready(store)
  const err: unknown = await store.set('key', SECRET, 0).catch((err) => err)
  t.match(err, { name: 'StoreUnavailableError', retryAfterSeconds: 1, cause: Error })
  t.notMatch(inspect(err, { depth: Infinity, showHidden: true }), SECRET)
})

t.test('the query of the URL changes no connection option', async (t) => {
  const redis = await ownRedisForTests(t)
  if (!redis) return
  const { store } = openStore(
    t,
    `${redis.url}/0?commandTimeout=60000&socketTimeout=60000&enableOfflineQueue=true&keyPrefix=other:`
  )
  await ready(store)
  await store.set('key', 'value', 10)
  t.equal(await openAdmin(t, redis.url).get('seed:key'), 'value')
  await redis.kill('SIGSTOP')
  await rejectsEverything(t, store)
})

t.test('close', async (t) => {
  const redis = await ownRedisForTests(t)
  if (!redis) return

  async function closesInTime (t: Test, store: Store): Promise<void> {
    const started = performance.now()
    await store.close()
    t.ok(performance.now() - started < PROMPT_MS, 'without waiting for Redis')
    await rejectsEverything(t, store)
  }

  await t.test('waits for commands under way, leaves no connection and logs nothing', async (t) => {
    const { store, lines } = openStore(t, redis.url)
    await ready(store)
    const written = store.set('key', 'value', 10)
    const read = store.get('key')
    await closesInTime(t, store)
    await written
    t.equal(await read, 'value')
    const admin = openAdmin(t, redis.url)
    await until(
      async () => String(await admin.client('LIST')).trim().split('\n').length === 1,
      'only this connection is left'
    )
    t.same(lines, [])
  })

  await t.test('before the connection is open', async (t) => {
    const { store, lines } = openStore(t, redis.url)
    await closesInTime(t, store)
    t.same(lines, [])
  })

  await t.test('while Redis hangs', async (t) => {
    const { store, lines } = openStore(t, redis.url)
    await ready(store)
    await redis.kill('SIGSTOP')
    await closesInTime(t, store)
    await redis.kill('SIGCONT')
    t.same(lines, [])
  })

  await t.test('while Redis hangs at the start', async (t) => {
    await redis.kill('SIGSTOP')
    const { store, lines } = openStore(t, redis.url)
    await until(() => lines.length > 0, 'the handshake timed out')
    await closesInTime(t, store)
    await redis.kill('SIGCONT')
  })

  await t.test('while Redis is down', async (t) => {
    const { store, lines } = openStore(t, redis.url)
    await ready(store)
    await redis.kill('SIGKILL')
    await until(() => lines.length > 0, 'the loss is logged')
    await closesInTime(t, store)
    await redis.restart()
    const admin = openAdmin(t, redis.url)
    await once(admin, 'ready')
    await t.rejects(store.ping(), StoreUnavailableError, 'and does not come back with it')
  })
})

/** A port in front of that of Redis: what connects to it is seen, and when it hangs up. */
async function listenBetween (t: Test, redisPort: number): Promise<{ url: string, sockets: Socket[] }> {
  const sockets: Socket[] = []
  const server = createServer((socket) => {
    sockets.push(socket)
    const upstream = connect(redisPort, '127.0.0.1')
    socket.pipe(upstream).pipe(socket)
    socket.on('error', () => {}).on('close', () => upstream.destroy())
    upstream.on('error', () => {}).on('close', () => socket.destroy())
  })
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  t.teardown(() => {
    server.close()
    for (const socket of sockets) socket.destroy()
  })
  return { url: `redis://127.0.0.1:${(server.address() as AddressInfo).port}`, sockets }
}

/** Waits until `count` more connections were made: those of the store, which does not say that Redis is back. */
async function reconnections (admin: Redis, count: number): Promise<void> {
  const made = async (): Promise<number> => Number(
    /total_connections_received:(\d+)/.exec(await admin.info('stats'))![1]
  )
  const before = await made()
  await until(async () => await made() >= before + count, 'the store has connected again')
}

/** Waits until some attempts of the store to connect to `port` have had the time to be refused. */
async function refusals (port: number): Promise<void> {
  const probe = new Redis(port, '127.0.0.1', { retryStrategy: () => 100 })
  let refused = 0
  probe.on('error', () => refused++)
  await until(() => refused > 5, 'connections were refused')
  probe.disconnect()
}
