import { randomUUID } from 'node:crypto'
import t from 'tap'
import { freePort } from '../support/free-port.ts'
import { lacksRedis } from '../support/redis.ts'
import { startNode, startSentinel, tlsArguments } from '../support/redis-topologies.ts'
import { privatelySigned } from '../support/tls.ts'
import { until } from '../support/until.ts'
import { PROMPT_MS, rejectsEverything, storeContract } from './contract.ts'
import { BACK, LOST, PATIENT, listen, openAdmin, openStore, ready, shorten } from './open-redis.ts'

const PASSWORD = 'p@ss/word,1'
const ENCODED = encodeURIComponent(PASSWORD)

t.test('Sentinel', async (t) => {
  if (lacksRedis(t)) return
  const args = ['--requirepass', PASSWORD, '--masterauth', PASSWORD, '--repl-diskless-sync-delay', '0']
  const primary = await startNode(t, args)
  const replica = await startNode(t, [...args, '--replicaof', '127.0.0.1', String(primary.port)])
  const sentinel = await startSentinel(t, primary, { password: PASSWORD, lines: ['requirepass sentinels-own'] })
  const sentinelAdmin = openAdmin(t, `redis://127.0.0.1:${sentinel}`, { password: 'sentinels-own' })
  await until(
    async () => (await sentinelAdmin.call('SENTINEL', 'REPLICAS', 'mymaster') as string[][]).some((
      fields
    ) => fields.includes(String(replica.port)) && fields[fields.indexOf('master-link-status') + 1] === 'ok'),
    'the sentinel knows the replica'
  )

  const away = await freePort()
  const nodes = `127.0.0.1:${away},127.0.0.1:${sentinel}`
  const url = `redis+sentinel://:${ENCODED}@${nodes}/mymaster/1`
  const options = { sentinelPassword: 'sentinels-own' }

  await t.test('the contract', async (t) => {
    const admin = openAdmin(t, `redis://127.0.0.1:${primary.port}/1`, { password: PASSWORD })
    await storeContract(t, async (t) => {
      const keyPrefix = `seed-test:${randomUUID()}:`
      const { store, lines } = openStore(t, url, keyPrefix, { ...PATIENT, ...options })
      await ready(store)
      t.same(lines, [])
      return { store, elapse: (seconds) => shorten(admin, keyPrefix, seconds) }
    })
  })

  await t.test('sentinels that do not answer, refuse or know no such primary', async (t) => {
    for (const [url_, sentinelPassword, reason] of [
      [url.replace(`,127.0.0.1:${sentinel}`, ''), 'sentinels-own', 'NO_PRIMARY'],
      [url, 'wrong', 'WRONGPASS'],
      [url.replace(`127.0.0.1:${away},`, '').replace('mymaster', 'another'), 'sentinels-own', 'NO_PRIMARY'],
      [url.replace(ENCODED, 'wrong'), 'sentinels-own', 'WRONGPASS']
    ] as const) {
      const { store, lines } = openStore(t, url_, 'seed:', { sentinelPassword })
      await rejectsEverything(t, store)
      await until(() => lines.length > 0, 'it is logged')
      await rejectsEverything(t, store)
      t.same(lines.map(({ msg, reason }) => ({ msg, reason })), [{ msg: LOST, reason }])
      t.notMatch(JSON.stringify(lines), /wrong|sentinels-own|p@ss/)
      await store.close()
    }
  })

  await t.test('a failover', async (t) => {
    const { store, lines } = openStore(t, url, 'seed:', options)
    const { store: other, lines: othersLines } = openStore(t, url, 'seed:', options)
    await Promise.all([ready(store), ready(other)])
    const listener = await listen(other)
    await store.set('key', 'value', 100)
    await openAdmin(t, `redis://127.0.0.1:${primary.port}`, { password: PASSWORD }).wait(1, 0)
    t.same(lines, [])

    await primary.kill('SIGKILL')
    await rejectsEverything(t, store)
    await Promise.all([ready(store), ready(other)])
    t.equal(await store.get('key'), 'value', 'what was replicated is there')
    await until(() => listener.gaps > 1, 'the subscription is back')
    await store.publish('channel', 'after')
    await until(() => listener.heard.length > 0, 'the message has come')
    t.same(listener.heard, ['after'])
    for (const lines_ of [lines, othersLines]) {
      await until(() => lines_.length > 1, 'the return is logged')
      t.match(lines_, [{ msg: LOST, host: nodes, reason: /^[A-Z]+$/ }, { msg: BACK, host: nodes }])
      t.equal(lines_.length, 2)
    }
  })

  await t.test('close while no sentinel answers', async (t) => {
    const { store, lines } = openStore(t, url.replace(`,127.0.0.1:${sentinel}`, ''), 'seed:', options)
    await until(() => lines.length > 0, 'it is logged')
    const started = performance.now()
    await store.close()
    t.ok(performance.now() - started < PROMPT_MS)
    await rejectsEverything(t, store)
  })
})

t.test('Sentinel with TLS', async (t) => {
  if (lacksRedis(t)) return
  const { ca, files } = privatelySigned(t, ['127.0.0.1'])
  const primary = await startNode(t, (port) => [...tlsArguments(files, port), '--requirepass', PASSWORD])
  const sentinel = await startSentinel(t, primary, { password: PASSWORD, args: (port) => tlsArguments(files, port) })
  const url = `rediss+sentinel://:${ENCODED}@127.0.0.1:${sentinel}/mymaster`
  const { store } = openStore(t, url, 'seed:', { tlsCa: ca })
  await ready(store)
  await store.set('key', 'value', 10)
  t.equal(
    await openAdmin(t, `rediss://127.0.0.1:${primary.port}`, { password: PASSWORD, tls: { ca } }).get('seed:key'),
    'value'
  )
  const listener = await listen(store)
  await store.publish('channel', 'hello')
  await until(() => listener.heard.length > 0, 'the message has come')

  const { store: untrusting, lines } = openStore(t, url)
  await until(() => lines.length > 0, 'it is logged')
  await rejectsEverything(t, untrusting)
  t.match(lines, [{ msg: LOST, reason: 'NO_PRIMARY' }], 'the sentinel is not trusted')
})
