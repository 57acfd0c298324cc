import { randomUUID } from 'node:crypto'
import t from 'tap'
import { StoreUnavailableError } from '../../src/store/store.ts'
import { lacksRedis } from '../support/redis.ts'
import { CLUSTER_ARGUMENTS, SEED_RIGHTS, formCluster, startNode, tlsArguments } from '../support/redis-topologies.ts'
import { privatelySigned } from '../support/tls.ts'
import { until } from '../support/until.ts'
import { PROMPT_MS, rejectsEverything, storeContract } from './contract.ts'
import { BACK, LOST, PATIENT, listen, openAdmin, openStore, ready, shorten } from './open-redis.ts'
import type { Redis } from 'ioredis'
import type { RedisServer } from '../support/redis.ts'
import type { Test } from 'tap'

const PASSWORD = 'p@ss/word,1'
const ENCODED = encodeURIComponent(PASSWORD)

t.test('Cluster', async (t) => {
  if (lacksRedis(t)) return
  const args = [...CLUSTER_ARGUMENTS, '--requirepass', PASSWORD, '--masterauth', PASSWORD]
  const nodes = await Promise.all([1, 2, 3].map(() => startNode(t, args)))
  await formCluster(nodes, { password: PASSWORD })
  const urlOf = (...of: RedisServer[]): string => `redis+cluster://:${ENCODED}@${of.map(({
    port
  }) => `127.0.0.1:${port}`).join(',')}`
  const url = urlOf(...nodes)
  const openAdmins = (t: Test): Redis[] => nodes.map(({ port }) => openAdmin(
    t,
    `redis://127.0.0.1:${port}`,
    { password: PASSWORD }
  ))

  /** Keys of the store, one of each node. */
  async function keysOfNodes (admin: Redis): Promise<string[]> {
    const keys: string[] = []
    for (let number = 0; keys.filter(Boolean).length < nodes.length; number++) {
      const slot = await admin.cluster('KEYSLOT', `seed:key ${number}`) as number
      keys[Math.floor(slot * nodes.length / 16384)] ??= `key ${number}`
    }
    return keys
  }

  await t.test('the contract', async (t) => {
    const admins = openAdmins(t)
    await storeContract(t, async (t) => {
      const keyPrefix = `seed-test:${randomUUID()}:`
      const { store, lines } = openStore(t, url, keyPrefix, PATIENT)
      await store.ready()
      await store.ping()
      t.same(lines, [])
      return {
        store,
        elapse: async (seconds) => { for (const admin of admins) await shorten(admin, keyPrefix, seconds) }
      }
    })
  })

  await t.test('stores that know different nodes share keys and messages', async (t) => {
    const stores = nodes.map((node) => openStore(t, urlOf(node)).store)
    await Promise.all(stores.map((store) => store.ready()))
    const listeners = await Promise.all(stores.map(listen))
    for (const key of await keysOfNodes(openAdmins(t)[0]!)) {
      await stores[0]!.set(key, 'value', 10)
      t.equal(await stores[1]!.take(key), 'value')
    }
    for (let number = 0; number < 20; number++) await stores[number % 3]!.publish('channel', String(number))
    const expected = Array.from({ length: 20 }, (_, number) => String(number))
    for (const { heard } of listeners) {
      await until(() => heard.length >= 20, 'the messages have come')
      t.same(heard, expected, 'once each, in order')
    }
  })

  await t.test('keys that move are followed', async (t) => {
    const admins = openAdmins(t)
    const [key] = await keysOfNodes(admins[0]!) as [string]
    const { store, lines } = openStore(t, urlOf(nodes[1]!))
    await store.ready()
    const slot = await admins[0]!.cluster('KEYSLOT', `seed:${key}`) as number
    const [from, to] = await Promise.all(admins.map((admin) => admin.cluster('MYID'))) as [string, string]
    await admins[1]!.cluster('SETSLOT', slot, 'IMPORTING', from)
    await admins[0]!.cluster('SETSLOT', slot, 'MIGRATING', to)
    await store.set(key, 'asked', 100)
    t.equal(await store.get(key), 'asked', 'ASK')
    await t.rejects(store.increment(key, 10), StoreUnavailableError, 'an answer that is an error stays one')
    await admins[1]!.cluster('SETSLOT', slot, 'NODE', to)
    await admins[0]!.cluster('SETSLOT', slot, 'NODE', to)
    t.equal(await store.take(key), 'asked', 'MOVED')
    await admins[0]!.cluster('SETSLOT', slot, 'IMPORTING', to)
    await admins[1]!.cluster('SETSLOT', slot, 'MIGRATING', from)
    await admins[0]!.cluster('SETSLOT', slot, 'NODE', from)
    await admins[1]!.cluster('SETSLOT', slot, 'NODE', from)
    await until(async () => (await Promise.all(
      admins.map((admin) => admin.cluster('INFO'))
    )).every((info) => String(info).includes('cluster_state:ok')), 'all is as it was')
    t.same(lines, [])
  })

  await t.test('a killed node', async (t) => {
    const admins = openAdmins(t)
    const keys = await keysOfNodes(admins[0]!)
    const { store, lines } = openStore(t, url)
    const { store: newcomer, lines: newcomersLines } = openStore(t, urlOf(nodes[0]!, nodes[1]!))
    await Promise.all([store.ready(), newcomer.ready()])
    const listeners = await Promise.all([listen(store), listen(newcomer)])
    for (const key of keys) await store.set(key, 'value', 100)

    await nodes[2]!.kill('SIGKILL')
    const started = performance.now()
    await t.rejects(store.get(keys[2]!), StoreUnavailableError, 'its keys')
    await t.rejects(store.set(keys[2]!, 'new', 100), StoreUnavailableError)
    await t.rejects(store.increment(keys[2]!, 100), StoreUnavailableError)
    await t.rejects(store.ping(), StoreUnavailableError)
    t.ok(performance.now() - started < PROMPT_MS, 'without waiting for the node')
    await until(
      async () => String(await admins[0]!.cluster('INFO')).includes('cluster_state:fail'),
      'the others call it down'
    )
    await until(async () => String(await admins[1]!.cluster('INFO')).includes('cluster_state:fail'), 'all of them')
    await rejectsEverything(t, store)
    await until(() => lines.length > 0, 'it is logged')

    const { store: late, lines: latesLines } = openStore(t, url)
    await rejectsEverything(t, late)
    await until(() => latesLines.length > 0, 'a store that came late logs it as well')

    await nodes[2]!.restart()
    await Promise.all([ready(store), ready(newcomer), ready(late)])
    t.equal(await store.get(keys[0]!), 'value')
    t.equal(await store.get(keys[2]!), undefined, 'it came back without its keys')
    await store.set(keys[2]!, 'value', 100)
    t.equal(await late.get(keys[2]!), 'value')
    await store.publish('channel', 'after')
    for (const { heard } of listeners) {
      await until(() => heard.length > 0, 'the message has come')
      t.same(heard, ['after'])
    }
    for (const lines_ of [lines, newcomersLines, latesLines]) {
      await until(() => lines_.length > 1, 'the return is logged')
      t.same(lines_.map(({ msg }) => msg), [LOST, BACK], 'one line for each')
    }
    t.equal(lines[0]!.host, nodes.map(({ port }) => `127.0.0.1:${port}`).join(','))
  })

  await t.test('a subscription moves when its node dies', async (t) => {
    const { store } = openStore(t, url)
    await store.ready()
    const listener = await listen(store)
    const counts = await Promise.all(openAdmins(t).map(async (admin) => String(await admin.client(
      'LIST',
      'TYPE',
      'PUBSUB'
    )).trim() !== ''))
    const node = nodes[counts.indexOf(true)]!
    await node.kill('SIGKILL')
    await until(() => listener.gaps > 1, 'it is subscribed elsewhere, and says so')
    await node.restart()
    await ready(store)
    await store.publish('channel', 'after')
    await until(() => listener.heard.length > 0, 'the message has come')
    t.same(listener.heard, ['after'])
  })

  await t.test('a hung node', async (t) => {
    const keys = await keysOfNodes(openAdmins(t)[0]!)
    const { store, lines } = openStore(t, url)
    await store.ready()
    await nodes[1]!.kill('SIGSTOP')
    const started = performance.now()
    await t.rejects(store.get(keys[1]!), StoreUnavailableError)
    t.ok(performance.now() - started < PROMPT_MS, 'without waiting for the node')
    await until(() => lines.length > 0, 'it is logged')
    await nodes[1]!.kill('SIGCONT')
    await ready(store)
    await until(() => lines.length > 1, 'the return is logged')
    t.same(lines.map(({ msg }) => msg), [LOST, BACK])
  })

  await t.test('all nodes down', async (t) => {
    const { store, lines } = openStore(t, url)
    await store.ready()
    const listener = await listen(store)
    await Promise.all(nodes.map((node) => node.kill('SIGKILL')))
    await rejectsEverything(t, store)
    const { store: late, lines: latesLines } = openStore(t, url)
    await until(() => latesLines.length > 0, 'it is logged')
    t.equal(latesLines[0]!.reason, 'ECONNREFUSED')
    const { store: closed } = openStore(t, url)
    await closed.close()
    await rejectsEverything(t, closed)
    await Promise.all(nodes.map((node) => node.restart()))
    await Promise.all([ready(store), ready(late)])
    await until(() => listener.gaps > 1, 'the subscription is back')
    await store.publish('channel', 'after')
    await until(() => listener.heard.length > 0, 'the message has come')
    for (const lines_ of [lines, latesLines]) {
      await until(() => lines_.length > 1, 'the return is logged')
      t.same(lines_.map(({ msg }) => msg), [LOST, BACK])
    }
  })

  await t.test('a wrong password is unavailable, and not in the log', async (t) => {
    const { store, lines } = openStore(t, url.replace(ENCODED, 'wrong-one'))
    await rejectsEverything(t, store)
    await until(() => lines.length > 0, 'it is logged')
    t.match(lines, [{ msg: LOST, reason: 'WRONGPASS' }])
    t.notMatch(JSON.stringify(lines), 'wrong-one')
  })
})

t.test('a cluster fails over to a replica', async (t) => {
  if (lacksRedis(t)) return
  const primaries = await Promise.all([1, 2, 3].map(() => startNode(t, CLUSTER_ARGUMENTS)))
  const replica = await startNode(t, [...CLUSTER_ARGUMENTS, '--repl-diskless-sync-delay', '0'])
  await formCluster(primaries, { replicas: [replica] })
  const {
    store,
    lines
  } = openStore(t, `redis+cluster://127.0.0.1:${primaries[1]!.port},127.0.0.1:${primaries[2]!.port}`)
  const listener = await listen(store)
  await store.ready()
  const keys = Array.from({ length: 50 }, (_, number) => `key ${number}`)
  for (const key of keys) await store.set(key, key, 100)
  await openAdmin(t, primaries[0]!.url).wait(1, 0)
  t.same(lines, [])

  await primaries[0]!.kill('SIGKILL')
  await until(() => lines.length > 0, 'the loss is logged')
  await ready(store)
  for (const key of keys) t.equal(await store.get(key), key)
  await store.publish('channel', 'after')
  await until(() => listener.heard.length > 0, 'the message has come')
  await until(() => lines.length > 1, 'the return is logged')
  t.same(lines.map(({ msg }) => msg), [LOST, BACK])
})

t.test('Cluster with TLS and a user with the least rights', async (t) => {
  if (lacksRedis(t)) return
  const { ca, files } = privatelySigned(t, ['127.0.0.1', 'localhost'])
  const node = await startNode(t, (port) => [
    ...CLUSTER_ARGUMENTS,
    '--cluster-announce-ip',
    '127.0.0.1',
    '--user',
    'seed',
    'on',
    `>${PASSWORD}`,
    ...SEED_RIGHTS,
    ...tlsArguments(files, port)
  ])
  await formCluster([node], { tls: { ca } })
  const url = `rediss+cluster://seed:${ENCODED}@localhost:${node.port}`
  const { store } = openStore(t, url, 'seed-test:', { tlsCa: ca })
  await store.ready()
  await store.set('key', 'value', 10)
  t.equal(await store.get('key'), 'value')
  const listener = await listen(store)
  await store.publish('channel', 'hello')
  await until(() => listener.heard.length > 0, 'the message has come')

  const lines: object[] = []
  // A busy machine may give up the node before it has seen the certificate.
  for (let tries = 0; tries < 5 && !/CERT|VERIFY/.test(JSON.stringify(lines)); tries++) {
    const untrusting = openStore(t, url)
    await until(() => untrusting.lines.length > 0, 'it is logged')
    await rejectsEverything(t, untrusting.store)
    lines.splice(0, 1, ...untrusting.lines)
  }
  t.match(lines, [{ msg: LOST, reason: /CERT|VERIFY/ }])
})
