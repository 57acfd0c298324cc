import t from 'tap'
import type { Test } from 'tap'
import { ProtocolError } from '@modelcontextprotocol/server'
import { ConnectionPool } from '../../src/mounts/connection/connection-pool.ts'
import { readMounts } from '../../src/mounts/settings/mounts-file.ts'
import type { Principal } from '../../src/tokens/principal.ts'
import { modernRequest, openSession, postMcp, ready, startSeed } from '../support/seed.ts'
import type { TestSeed } from '../support/seed.ts'
import { until } from '../support/until.ts'
import { startMounted, startUpstream, writeMounts } from '../support/upstream.ts'
import type { Upstream } from '../support/upstream.ts'

/** A mounted server that counts the calls of each of its sessions: `<session> <count>`. */
async function startCounter (t: Test): Promise<Upstream> {
  const upstream = await startUpstream(t, 'session')
  const counts = new Map<string, number>()
  upstream.call = (_name, _args, { sessionId = 'none' }) => {
    counts.set(sessionId, (counts.get(sessionId) ?? 0) + 1)
    return { content: [{ type: 'text', text: `${sessionId} ${counts.get(sessionId)}` }] }
  }
  return upstream
}

/** Seed with sign-in in front of a mounted server, and a function that calls its tool with a token. */
async function startSignedIn (t: Test, mount: object, env: Record<string, string> = {}) {
  const seed = await startSeed(t, {
    definitions: [],
    timings: { mountsWaitMs: 60_000, mountsRetryMs: 10 },
    env: { SEED_MOUNTS: await writeMounts({ calc: { connectTimeoutSeconds: 60, ...mount } }), ...env }
  })
  await ready(seed)
  const call = async (token: string): Promise<string> => {
    const answer = await postMcp(seed, modernRequest('tools/call', { name: 'calc_add', arguments: {} }), token)
    return answer.body.result.content[0].text
  }
  return { seed, call }
}

const tokenOf = async ({ provider }: TestSeed, sub: string, claims: object = {}): Promise<string> =>
  await provider.mint({ sub, ...claims })

t.test('each person has a session of their own at a mounted server, with all their clients and tokens', async (t) => {
  const upstream = await startCounter(t)
  const { seed, call } = await startSignedIn(t, { url: upstream.url, connection: 'person' })
  const [ada, bob] = [await tokenOf(seed, 'ada'), await tokenOf(seed, 'bob')]
  const [first, other] = [await call(ada), await call(bob)]
  const session = first.split(' ')[0]!
  t.equal(first, `${session} 1`)
  t.match(other, / 1$/, 'nothing of the first person is there')
  t.not(other.split(' ')[0], session)
  t.equal(await call(await tokenOf(seed, 'ada', { client_id: 'another-client' })), `${session} 2`)
  t.match(await call(await tokenOf(seed, 'ada', { sub: 'ada ' })), / 1$/, 'a name that is almost the same')
  t.equal(await call(bob), other.replace(/1$/, '2'))
})

t.test('with a connection for each session, clients of one person do not meet, nor do sessions of one client', async (t) => {
  const upstream = await startCounter(t)
  const { seed, call } = await startSignedIn(t, { url: upstream.url, connection: 'session' })
  const ada = await tokenOf(seed, 'ada')
  const modern = await call(ada)
  t.equal(await call(ada), modern.replace(/1$/, '2'), 'without a session, the person and client are the session')
  t.match(await call(await tokenOf(seed, 'ada', { client_id: 'another-client' })), / 1$/)
  const sessions = [await openSession(seed, ada), await openSession(seed, ada)]
  const inSession = async (index: number): Promise<string> => {
    const request = sessions[index]!.request('tools/call', { name: 'calc_add', arguments: {} })
    return (await postMcp(seed, request, ada)).body.result.content[0].text
  }
  const [one, two] = [await inSession(0), await inSession(1)]
  t.equal(new Set([modern, one, two].map((text) => text.split(' ')[0])).size, 3)
  t.equal(await inSession(0), one.replace(/1$/, '2'))
  const complete = sessions[0]!.request('completion/complete', {
    ref: { type: 'ref/prompt', name: 'calc_greet' }, argument: { name: 'who', value: 'A' }
  })
  const opened = openings(upstream)
  t.same((await postMcp(seed, complete, ada)).body.result.completion.values, ['A1', 'A2'])
  t.equal(openings(upstream), opened, 'completions use the connection of the session')
})

/** Counts the sessions that were opened at a mounted server. */
function openings ({ messages }: Upstream): number {
  return messages.filter(({ method }) => method === 'initialize').length
}

t.test('without sign-in, sessions are kept apart, and a request without a session shares with nobody', async (t) => {
  const upstream = await startCounter(t)
  const seed = await startMounted(t, { calc: { url: upstream.url, connection: 'session' } })
  const call = async (era: 'legacy' | 'modern'): Promise<string> =>
    (await seed.send(era, 'tools/call', { name: 'calc_add', arguments: {} })).response.result.content[0].text
  const first = await call('legacy')
  t.equal(await call('legacy'), first.replace(/1$/, '2'))
  t.match([await call('modern'), await call('modern')], [/ 1$/, / 1$/])
  await until(() => upstream.openSessions === 2, 'those of single requests end with them')
  const path = await writeMounts({ calc: { url: upstream.url, connection: 'person' } })
  t.throws(() => readMounts(path, { authRequired: false }), /connection must be shared or session with AUTH_REQUIRED=false/)
  await t.rejects(startSeed(t, { env: { AUTH_REQUIRED: 'false', SEED_MOUNTS: path } }), /connection must be shared/)
})

t.test('a connection that is unused for a while ends at the mounted server, and all end with Seed', async (t) => {
  const upstream = await startCounter(t)
  const { seed, call } = await startSignedIn(t, { url: upstream.url, connection: 'person', idleSeconds: 1 })
  const ada = await tokenOf(seed, 'ada')
  const first = await call(ada)
  t.equal(upstream.openSessions, 2, 'that of the lists, and that of the person')
  await until(() => upstream.openSessions === 1, 'the session is deleted')
  t.not((await call(ada)).split(' ')[0], first.split(' ')[0])
  await seed.app.close()
  t.equal(upstream.openSessions, 0)
})

t.test('a full pool closes what is idle, of the same person first, and says when all are in use', async (t) => {
  const upstream = await startCounter(t)
  const { seed, call } = await startSignedIn(t, { url: upstream.url, connection: 'session', maxConnections: 2 })
  const ada = async (client: string): Promise<string> => await call(await tokenOf(seed, 'ada', { client_id: client }))
  const bob = await tokenOf(seed, 'bob')
  const first = await call(bob)
  await ada('one')
  t.match(await ada('two'), / 1$/)
  t.equal(await call(bob), first.replace(/1$/, '2'), 'another person has not lost anything')
  t.match(await ada('one'), / 1$/, 'the person has')
  t.match(await call(await tokenOf(seed, 'eve')), / 1$/, 'the longest unused makes room for a third person')
  t.equal(upstream.openSessions, 3)

  const finish: Array<() => void> = []
  upstream.call = async () => {
    await new Promise<void>((resolve) => { finish.push(resolve) })
    return { content: [{ type: 'text', text: 'done' }] }
  }
  const running = [ada('three'), call(bob)]
  await until(() => finish.length === 2, 'both connections are in use')
  const eve = await tokenOf(seed, 'eve')
  t.equal(await call(eve), 'All connections to the server behind calc are in use: try again later')
  t.equal(await call(eve), 'All connections to the server behind calc are in use: try again later')
  for (const one of finish) one()
  t.same(await Promise.all(running), ['done', 'done'])
  t.match(seed.logs.filter(({ event }) => event === 'mount.connections_in_use'), [{ mount: 'calc', maxConnections: 2 }])
})

t.test('one person with many clients leaves connections to others, and is told when all of theirs are in use', async (t) => {
  const upstream = await startCounter(t)
  const { seed, call } = await startSignedIn(t, { url: upstream.url, connection: 'session', maxConnections: 8 })
  const finish: Array<() => void> = []
  upstream.call = async () => {
    await new Promise<void>((resolve) => { finish.push(resolve) })
    return { content: [{ type: 'text', text: 'done' }] }
  }
  const ada = await tokenOf(seed, 'ada')
  const declaring = async (capabilities: Record<string, unknown>): Promise<string> => {
    const request = modernRequest('tools/call', { name: 'calc_add', arguments: {} }, 1, capabilities)
    return (await postMcp(seed, request, ada)).body.result.content[0].text
  }
  const running = [declaring({}), declaring({ roots: {} })]
  await until(() => finish.length === 2, 'a quarter is in use')
  const refusal = 'All of your connections to the server behind calc are in use (2 at most): ' +
    'end other calls or sessions, or try again later'
  t.equal(await declaring({ sampling: {} }), refusal, 'whatever the client declares')
  t.equal(await call(await tokenOf(seed, 'ada', { client_id: 'another-client' })), refusal, 'with another client too')
  running.push(declaring({}))
  await until(() => finish.length === 3, 'a connection that there is takes further calls')
  running.push(call(await tokenOf(seed, 'bob')))
  await until(() => finish.length === 4, 'another person is not affected')
  for (const one of finish) one()
  t.same(await Promise.all(running), ['done', 'done', 'done', 'done'])
  const logged = seed.logs.filter(({ event }) => event === 'mount.connections_in_use')
  t.match(logged, [{ mount: 'calc', maxConnections: 8, maxOfPerson: 2 }])
  t.equal(logged.length, 1)
})

t.test('a session that the mounted server has forgotten is opened anew for its person alone', async (t) => {
  const upstream = await startCounter(t)
  const { seed, call } = await startSignedIn(t, { url: upstream.url, connection: 'person' })
  const ada = await tokenOf(seed, 'ada')
  await call(ada)
  upstream.forgetSessions()
  t.match(await call(ada), / 1$/)
  upstream.call = () => { throw new ProtocolError(-31_001, 'no') }
  const answer = await postMcp(seed, modernRequest('tools/call', { name: 'calc_add', arguments: {} }), ada)
  t.match(answer.body.error, { code: -31_001, message: 'no' })
})

t.test('a connection that does not answer any more is replaced; one that answers is kept', async (t) => {
  const upstream = await startCounter(t)
  const { seed, call } = await startSignedIn(t, { url: upstream.url, connection: 'person' })
  const ada = await tokenOf(seed, 'ada')
  const first = await call(ada)
  let isBroken: (method: string) => boolean = (method) => method === 'tools/call'
  upstream.intercept = (request, response) => {
    if (request.method !== 'POST' || !isBroken(upstream.messages.at(-1)!.method!)) return false
    response.writeHead(500).end()
    return true
  }
  t.match(await call(ada), 'HTTP status 500')
  isBroken = () => false
  t.equal(await call(ada), first.replace(/1$/, '2'), 'the session is the same')
  isBroken = (method) => ['tools/call', 'ping'].includes(method)
  upstream.messages.length = 0
  await Promise.all([call(ada), call(ada)])
  await until(() => upstream.messages.some(({ method }) => method === 'ping'), 'the session is tried')
  isBroken = () => false
  await until(async () => (await call(ada)).split(' ')[0] !== first.split(' ')[0], 'there is a new session')
})

t.test('a connection that cannot be opened fails the calls of its person, who is told so, and the log says why', async (t) => {
  const upstream = await startCounter(t)
  const { seed, call } = await startSignedIn(t, { url: upstream.url, connection: 'person' })
  const [ada, bob] = [await tokenOf(seed, 'ada'), await tokenOf(seed, 'bob')]
  const first = await call(bob)
  let isOpenable = false
  upstream.intercept = (_request, response) => {
    if (upstream.messages.at(-1)?.method !== 'initialize' || isOpenable) return false
    response.writeHead(503).end()
    return true
  }
  const unavailable = 'The server behind calc is not available at the moment: try again later'
  t.same(await Promise.all([call(ada), call(ada)]), [unavailable, unavailable])
  t.equal(await call(ada), unavailable, 'again, while the error stands')
  t.equal(await call(bob), first.replace(/1$/, '2'))
  t.match(seed.logs.filter(({ event }) => event === 'mount.connection_failed'), [
    { mount: 'calc', reason: 'it answered with HTTP status 503' }
  ])
  isOpenable = true
  await until(async () => / \d$/.test(await call(ada)), 'the person has a connection')
})

t.test('while the server is away, calls of a person without a connection fail at once', async (t) => {
  const upstream = await startCounter(t)
  await upstream.stop()
  const { seed, call } = await startSignedIn(t, { url: upstream.url, connection: 'person' })
  const ada = await tokenOf(seed, 'ada')
  await upstream.start()
  await until(async () => (await call(ada).catch(() => '')).endsWith(' 1'), 'the server is there')
  await upstream.stop()
  t.match(await call(await tokenOf(seed, 'bob')), /not available/)
  const outages = (): number => seed.logs.filter(({ event }) => event === 'mount.unavailable').length
  await until(() => outages() === 2, 'the server is away again')
  t.match(await call(await tokenOf(seed, 'eve')), /not available/)
  await upstream.start()
})

t.test('a caller who gives up does not end the connection that others wait for', async (t) => {
  const upstream = await startCounter(t)
  const { seed, call } = await startSignedIn(t, { url: upstream.url, connection: 'person', timeoutSeconds: 1, idleSeconds: 1 })
  const ada = await tokenOf(seed, 'ada')
  let goOn: (() => void) | undefined
  upstream.intercept = async () => {
    if (upstream.messages.at(-1)?.method === 'initialize' && goOn === undefined) {
      await new Promise<void>((resolve) => { goOn = resolve })
    }
    return false
  }
  t.match(await call(ada), 'did not finish within 1 second')
  goOn!()
  await until(() => upstream.openSessions === 2, 'the connection is open, although nobody waits for it')
  await until(() => upstream.openSessions === 1, 'it is closed when it is not used')
  t.match(await call(ada), / 1$/)
})

t.test('a connection that could not be opened makes room for one of another person', async (t) => {
  const lines: object[] = []
  const add = (line: object): void => { lines.push(line) }
  const pool = new ConnectionPool({
    mount: { name: 'calc', requestHeaders: {}, maxConnections: 1 },
    log: { info: add, warn: add, error: add },
    retryMs: 60_000,
    open: async ({ principal }) => { throw new Error(`not for ${principal!.personKey}`) }
  }, 'person')
  for (const personKey of ['ada', 'bob']) {
    const caller = { principal: { personKey } as Principal }
    await t.rejects(pool.use(caller, async () => await Promise.resolve()), /not available at the moment/)
  }
  t.match(lines, [{ event: 'mount.connection_failed', reason: 'not for ada' }])
  await pool.close()
})

t.test('a server of 2026-07-28 has no session to lose: a call of a person that fails changes nothing', async (t) => {
  const upstream = await startUpstream(t)
  const { seed, call } = await startSignedIn(t, { url: upstream.url, connection: 'person' })
  const ada = await tokenOf(seed, 'ada')
  upstream.intercept = (_request, response) => {
    if (upstream.messages.at(-1)!.method !== 'tools/call') return false
    response.writeHead(500).end()
    return true
  }
  t.match(await call(ada), 'HTTP status 500')
  upstream.intercept = () => false
  t.equal(await call(ada), '{}')
})
