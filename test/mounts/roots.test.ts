import t from 'tap'
import type { Server } from '@modelcontextprotocol/server'
import { connectAsked } from '../support/asked-clients.ts'
import type { AskedClient } from '../support/asked-clients.ts'
import { ownRedisForTests } from '../support/redis.ts'
import { startReplicas } from '../support/replicas.ts'
import { openSession, postMcp, ready, startSeed } from '../support/seed.ts'
import { until } from '../support/until.ts'
import { startMounted, startUpstream, writeMounts } from '../support/upstream.ts'
import type { Upstream } from '../support/upstream.ts'

/** Roots of clients that change while a mounted server knows them (`notifications/roots/list_changed`). */

const CHANGED = 'notifications/roots/list_changed'
const ROOTS = { roots: [{ uri: 'file:///home/ada' }] }
const capabilities = { roots: { listChanged: true as unknown as object } }

const askRoots = async (server: Server): Promise<unknown> => await server.request({ method: 'roots/list' })
const heard = ({ messages }: Upstream): number => messages.filter(({ method }) => method === CHANGED).length

/** Lets a client say that its roots have changed, until a server has heard it: its stream may not be open yet. */
async function change ({ client }: AskedClient, isDone: () => boolean): Promise<void> {
  await until(async () => {
    await client.sendRootsListChanged()
    return isDone()
  }, 'the server knows the roots')
}

t.test('a server of 2025 hears that the roots of a session have changed, and gets them outside of any call', async (t) => {
  const [upstream, other] = [await startUpstream(t, 'session'), await startUpstream(t, 'session')]
  const answers: unknown[] = []
  upstream.rootsChanged = async (server) => {
    answers.push(await Promise.all([askRoots(server), askRoots(server)]))
  }
  const seed = await startSeed(t, {
    definitions: [],
    timings: { mountsWaitMs: 60_000, mountsRetryMs: 10 },
    env: {
      SEED_MOUNTS: await writeMounts({
        odd: { url: upstream.url, connection: 'session' },
        own: { url: other.url, connection: 'person' },
        shared: { url: other.url }
      })
    }
  })
  await ready(seed)
  const connect = async (sub: string): Promise<AskedClient> => {
    const client = await connectAsked(t, 'legacy', seed, { capabilities, token: await seed.provider.mint({ sub }) })
    for (const mount of ['odd', 'own', 'shared']) await client.call(`${mount}_add`)
    return client
  }
  const [ada, second, bob] = [await connect('ada'), await connect('ada'), await connect('bob')]
  await change(ada, () => answers.length > 0)
  t.same(answers[0], [ROOTS, ROOTS])
  t.match(ada.questions[0], { method: 'roots/list' })
  t.same([second.questions, bob.questions], [[], []], 'no other session is asked')
  t.ok(ada.questions.length <= answers.length + 1, 'two questions at once are put to the client once')
  t.equal(heard(other), 0, 'a connection of several sessions has no roots')

  const modern = await connectAsked(t, 'modern', seed, { capabilities, token: await seed.provider.mint({ sub: 'eve' }) })
  t.equal(await modern.call('odd_add'), '{}')
  const outside = await upstream.ask({ method: 'roots/list' })
  t.match(outside.filter((answer) => typeof answer === 'string').join(), /no call to which the request could belong/)
  t.same(outside.filter((answer) => typeof answer === 'object'), [ROOTS, ROOTS, ROOTS], 'the three sessions')
  t.same(modern.questions, [], 'a client of 2026-07-28 is asked within calls alone')
})

t.test('a server that asks for roots again and again does not use up what the client may request', async (t) => {
  const upstream = await startUpstream(t, 'session')
  const seed = await startMounted(t, { odd: { url: upstream.url, connection: 'session' } })
  const client = await connectAsked(t, 'legacy', seed, { capabilities })
  await client.call('odd_add')
  const ask = async (): Promise<unknown[]> => await upstream.ask({ method: 'roots/list' })
  await until(async () => (await ask()).some((answer) => typeof answer === 'object'), 'the stream of the client is open')
  const began = performance.now()
  for (let count = 0; count < 3; count++) t.match((await ask()).at(-1), ROOTS)
  t.ok(performance.now() - began > 1_900, 'a second between two questions')
})

t.test('a server is not told of changes that the client has not declared', async (t) => {
  const upstream = await startUpstream(t, 'session')
  const seed = await startMounted(t, { odd: { url: upstream.url, connection: 'session' } })
  const session = await openSession(seed)
  const call = session.request('tools/call', { name: 'odd_add', arguments: {} })
  t.match((await postMcp(seed, call)).body.result.content, [{ text: '{}' }])
  const notification = { body: JSON.stringify({ jsonrpc: '2.0', method: CHANGED }), headers: session.headers }
  t.equal((await postMcp(seed, notification)).status, 202)
  t.match((await postMcp(seed, call)).body.result.content, [{ text: '{}' }])
  t.equal(heard(upstream), 0)
})

t.test('changed roots reach the connection of a session at every replica, and so does the answer', async (t) => {
  const redisUrl = (await ownRedisForTests(t))?.url
  if (redisUrl === undefined) return
  const upstream = await startUpstream(t, 'session')
  const answers: unknown[] = []
  upstream.rootsChanged = async (server) => { answers.push(await askRoots(server)) }
  const mounts = { odd: { url: upstream.url, connection: 'session', connectTimeoutSeconds: 60 } }
  const replicas = await startReplicas(t, { redisUrl, env: { SEED_MOUNTS: await writeMounts(mounts) } })
  const client = await connectAsked(t, 'legacy', replicas, {
    capabilities, token: await replicas.token(), fetch: replicas.roundRobin
  })
  const openings = (): number => upstream.messages.filter(({ method }) => method === 'initialize').length
  // That of the lists, and that of the session, at each replica.
  await until(async () => {
    await client.call('odd_add').catch(() => {})
    return openings() === 4
  }, 'the session has a connection at each replica')
  await change(client, () => answers.length > 1)
  t.same(answers.slice(0, 2), [ROOTS, ROOTS])
})
