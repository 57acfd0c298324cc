import t from 'tap'
import type { Test } from 'tap'
import { digest } from '../../../src/crypto/hash.ts'
import { createCluster } from '../../../src/mcp/cluster/cluster.ts'
import { SessionNotFoundError, TooManySessionsError } from '../../../src/mcp/sessions/session.ts'
import type { SessionOptions } from '../../../src/mcp/sessions/session.ts'
import { createSessionsInUse } from '../../../src/mcp/sessions/sessions-in-use.ts'
import { createSessions } from '../../../src/mcp/sessions/sessions.ts'
import { StoreUnavailableError } from '../../../src/store/store.ts'
import type { Principal } from '../../../src/tokens/principal.ts'
import { keys } from '../../../src/store/keys.ts'
import { LaterRecordError } from '../../../src/store/store.ts'
import {
  ABLE, SESSIONS, asPrincipal, call, captureLog, initialize, request, send, startEngines, startSession, testStore
} from '../../support/mcp.ts'

const CLIENT = { clientInfo: { name: 'test', version: '1' }, capabilities: {}, protocolVersion: '2025-11-25' }

/** Two replicas with a clock that the test moves. */
function setUp (t: Test, options: Partial<SessionOptions> = {}) {
  const clock = { now: 1_800_000_000_000 }
  const now = () => clock.now
  const store = testStore(t, { now })
  const create = () => {
    const cluster = createCluster(store, captureLog().log)
    t.teardown(async () => { await cluster.replicas.close() })
    return createSessions(cluster, { ...SESSIONS, ...options, inUse: createSessionsInUse() }, now)
  }
  return {
    store,
    sessions: create(),
    elsewhere: create(),
    elapse: (seconds: number) => { clock.now += seconds * 1_000 }
  }
}

t.test('initialize creates a session id of 192 bits, whatever id the client sent', async (t) => {
  const { engines } = startEngines(t)
  const ids = new Set<string>()
  for (const id of [undefined, 'fixated', 'A'.repeat(32)]) {
    const {
      status,
      headers,
      body
    } = await send(engines[0]!, initialize(), { headers: id === undefined ? {} : { 'mcp-session-id': id } })
    t.equal(status, 200)
    t.match(body, { id: 'init', result: { protocolVersion: '2025-11-25' } })
    t.match(headers['mcp-session-id'], /^[\w-]{32}$/)
    t.not(headers['mcp-session-id'], id)
    ids.add(headers['mcp-session-id']!)
  }
  t.equal(ids.size, 3)
})

t.test('a session is served at every replica, to its own principal only', async (t) => {
  const cluster = startEngines(t)
  const [one, other] = cluster.engines as [typeof cluster.engines[0], typeof cluster.engines[0]]
  const ada = asPrincipal('ada')
  const { id, headers, post, end } = await startSession(cluster, { principal: ada })
  for (const at of [
    0,
    1
  ]) t.equal((await post(call('echo', { text: 'hi' }), { at })).body.result.content[0].text, 'ada: hi')

  const refreshed = asPrincipal('ada', { iat: 5, jti: 'another token', scope: 'openid more' })
  t.equal(
    (await post(request('ping'), { principal: refreshed })).status,
    200,
    'a refreshed token continues the session'
  )

  const missing = await send(
    other,
    request('ping'),
    { headers: { 'mcp-protocol-version': '2025-11-25' }, principal: ada }
  )
  t.equal(missing.status, 400)
  t.match(missing.body, { jsonrpc: '2.0', id: null, error: { message: /Mcp-Session-Id is missing/ } })
  for (const method of [
    'GET',
    'DELETE'
  ] as const) t.equal((await send(other, undefined, { method, principal: ada })).status, 400, method)

  const strangers: Array<[name: string, { principal: Principal | undefined, id?: string }]> = [
    ['somebody else', { principal: asPrincipal('bob') }],
    ['another client of the same person', { principal: asPrincipal('ada', { client: 'client-2' }) }],
    ['the same subject of another issuer', { principal: asPrincipal('ada', { iss: 'https://other.example' }) }],
    ['nobody', { principal: undefined }],
    ['an unknown id', { principal: ada, id: 'A'.repeat(32) }],
    ['no id at all', { principal: ada, id: '' }],
    ["the session's name in the store", { principal: ada, id: digest(id) }],
    ['a key of the store', { principal: ada, id: `../session:${id}` }],
    ['a long one', { principal: ada, id: 'x'.repeat(10_000) }]
  ]
  const refuse = async (principal: Principal | undefined, given: string, method: 'POST' | 'GET' | 'DELETE') => {
    const body = method === 'POST' ? request('ping') : undefined
    try {
      await send(one, body, { method, principal, headers: { ...headers, 'mcp-session-id': given } })
    } catch (err) {
      return err as Error
    }
  }
  for (const [name, { principal, id: given = id }] of strangers) {
    for (const method of ['POST', 'GET', 'DELETE'] as const) {
      const refused = await refuse(principal, given, method)
      t.ok(refused instanceof SessionNotFoundError, `${name}, ${method}`)
      t.same(
        { ...refused, message: refused?.message },
        { ...new SessionNotFoundError(), message: 'Session not found' },
        'all alike'
      )
    }
  }

  t.equal((await post(request('ping'), { at: 1 })).status, 200, 'and the session continues for its own principal')
  t.match(await end({ at: 1 }), { status: 204, answer: { body: null } })
  for (const method of ['POST', 'GET', 'DELETE'] as const) {
    t.ok(await refuse(ada, id, method) instanceof SessionNotFoundError, `ended, ${method}`)
  }
})

t.test('invalid initialize requests create no session', async (t) => {
  const { engines: [engine], store } = startEngines(t, { count: 1 })
  const refused = async (body: unknown, status: number, code: number, message: RegExp) => {
    const answer = await send(engine!, body)
    t.match({ status: answer.status, error: answer.body.error }, { status, error: { code, message } })
    t.equal(answer.headers['mcp-session-id'], undefined)
  }
  await refused({
    ...initialize(),
    params: { ...initialize().params, clientInfo: { name: 'x'.repeat(20_000), version: '1' } }
  }, 400, -32602, /too large/)
  await refused(initialize('2025-11-25', { experimental: { x: 'y'.repeat(20_000) } }), 400, -32602, /too large/)
  await refused([initialize('2025-03-26')], 400, -32600, /initialize must be sent alone/)
  await refused([initialize('2025-03-26'), request('ping')], 400, -32600, /initialize must be sent alone/)
  await refused(initialize('2025-11-25', { sampling: 'no object' }), 200, -32603, /./)
  await refused(request('initialize', {}), 200, -32602, /^Invalid params: /)
  await refused({ jsonrpc: '2.0', id: 1, method: 'initialize' }, 200, -32602, /^Invalid params: /)
  t.same(await store.members(keys.sessions()), [], 'none of them created a session')
})

t.test('an unused session expires, and use renews it', async (t) => {
  const { sessions, elsewhere, elapse, store } = setUp(t, { idleTtlSeconds: 600 })
  const { id, session } = await sessions.create('ada', CLIENT)
  for (let time = 0; time < 10; time++) {
    elapse(599)
    t.match(
      await (time % 2 === 0 ? sessions : elsewhere).use(id, 'ada'),
      { digest: session.digest, clientInfo: CLIENT.clientInfo }
    )
  }
  elapse(661)
  await t.rejects(elsewhere.use(id, 'ada'), SessionNotFoundError)
  await t.rejects(sessions.renew(session), SessionNotFoundError)
  await t.rejects(sessions.end(id, 'ada'), SessionNotFoundError)
  await t.rejects(sessions.setLogLevel(session, 'error'), SessionNotFoundError)
  t.same(await store.members(keys.sessionsOf('ada')), [])
})

t.test('uses are recorded once a minute', async (t) => {
  const { sessions, elapse, store } = setUp(t)
  const { id } = await sessions.create('ada', CLIENT)
  const writes = () => store.calls.filter(([method]) => method === 'compareAndSet').length
  for (let second = 0; second < 59; second++) {
    elapse(1)
    await sessions.use(id, 'ada')
  }
  t.equal(writes(), 0)
  elapse(1)
  await Promise.all([sessions.use(id, 'ada'), sessions.use(id, 'ada')])
  t.equal(writes(), 2)
  t.equal(store.calls.filter(([method]) => method === 'addMember').length, 2, 'by one of the concurrent requests')
})

t.test('use does not prolong a session beyond its maximum age', async (t) => {
  const { sessions, elapse } = setUp(t, { idleTtlSeconds: 600, maxAgeSeconds: 1_000 })
  const { id, session } = await sessions.create('ada', CLIENT)
  for (let second = 0; second < 900; second += 100) {
    elapse(100)
    await sessions.use(id, 'ada')
  }
  elapse(99)
  t.ok(await sessions.renew(session))
  elapse(1)
  await t.rejects(sessions.use(id, 'ada'), SessionNotFoundError)
  await t.rejects(sessions.renew(session), SessionNotFoundError)
})

t.test('a record beyond its maximum age is not found, even if the store still has it', async (t) => {
  const { sessions, store, elapse } = setUp(t, { idleTtlSeconds: 600, maxAgeSeconds: 1_000 })
  const { id, session } = await sessions.create('ada', CLIENT)
  elapse(1_000)
  await store.set(keys.session(session.digest), JSON.stringify({ form: 1, ...session }), 100)
  await t.rejects(sessions.use(id, 'ada'), SessionNotFoundError)
  await t.rejects(sessions.renew(session), SessionNotFoundError)
})

t.test('the limit of sessions per principal', async (t) => {
  const { sessions, elsewhere, elapse } = setUp(t, { maxPerPrincipal: 3 })
  const opened = [
    await sessions.create('ada', CLIENT),
    await elsewhere.create('ada', CLIENT),
    await sessions.create('ada', CLIENT)
  ]
  const release = [...opened, opened[0]!].map(({ session }) => elsewhere.hold(session))
  const refused = await elsewhere.create('ada', CLIENT).catch((err: unknown) => err)
  for (const end of release) end()
  t.ok(refused instanceof TooManySessionsError)
  t.match(
    refused,
    { statusCode: 429, retryAfterSeconds: 60, message: /too many open sessions/, detail: 'SESSIONS_PER_PRINCIPAL is 3' }
  )
  t.ok(await sessions.create('bob', CLIENT))

  await sessions.end(opened[1]!.id, 'ada')
  opened[1] = await elsewhere.create('ada', CLIENT)
  elapse(60)
  await sessions.use(opened[0]!.id, 'ada')
  elapse(1)
  t.ok(await sessions.create('ada', CLIENT), 'the session that was unused the longest gives way')
  await t.rejects(sessions.use(opened[2]!.id, 'ada'), SessionNotFoundError, 'whose client begins a new one')
  t.ok(await sessions.use(opened[0]!.id, 'ada'))
  t.ok(await sessions.use(opened[1]!.id, 'ada'))
})

t.test('concurrent initializations do not exceed the limit', async (t) => {
  const { store, sessions, elsewhere } = setUp(t, { maxPerPrincipal: 10 })
  await Promise.allSettled(Array.from(
    { length: 100 },
    async (_, index) => await (index % 2 === 0 ? sessions : elsewhere).create('ada', CLIENT)
  ))
  t.ok((await store.members(keys.sessionsOf('ada'))).length <= 10)
})

t.test('sessions whose record is lost do not count', async (t) => {
  const { sessions, store } = setUp(t, { maxPerPrincipal: 1 })
  const { session } = await sessions.create('ada', CLIENT)
  await store.delete(keys.session(session.digest))
  t.ok(await sessions.create('ada', CLIENT))
  await store.set(keys.sessionsOf('bob'), 'x', 1)
  t.equal((await store.members(keys.sessions())).length, 1)
})

t.test('a session of an earlier version is counted by principal', async (t) => {
  const { sessions, store } = setUp(t, { maxPerPrincipal: 1 })
  const { id, session } = await sessions.create('ada', CLIENT)
  const { callerKey, ...earlier } = session
  await store.set(keys.session(session.digest), JSON.stringify({ form: 1, ...earlier }), 100)
  t.equal(callerKey, 'ada')
  const release = sessions.hold(session)
  await t.rejects(sessions.create('ada', CLIENT), TooManySessionsError)
  release()
  await sessions.end(id, 'ada')
  t.ok(await sessions.create('ada', CLIENT))
})

t.test('at the total limit initialize gets 503, and does not count for the principal', async (t) => {
  const { sessions, store } = setUp(t, { maxTotal: 2 })
  await sessions.create('ada', CLIENT)
  const { id } = await sessions.create('bob', CLIENT)
  const refused = await sessions.create('eve', CLIENT).catch((err: unknown) => err)
  t.match(
    refused,
    { name: 'TooManySessionsError', statusCode: 503, retryAfterSeconds: 60, detail: 'SESSIONS_TOTAL is 2' }
  )
  t.same(await store.members(keys.sessionsOf('eve')), [])
  await sessions.end(id, 'bob')
  t.ok(await sessions.create('eve', CLIENT))
})

t.test('a session of a later release is not taken for one that has ended', async (t) => {
  const { sessions, store } = setUp(t)
  const { id, session } = await sessions.create('ada', CLIENT)
  await store.set(keys.session(session.digest), JSON.stringify({ ...session, form: 2 }), 100)
  await t.rejects(sessions.use(id, 'ada'), LaterRecordError)
})

t.test('of two concurrent DELETEs one gets 404', async (t) => {
  const { sessions, elsewhere } = setUp(t)
  const { id } = await sessions.create('ada', CLIENT)
  const ends = await Promise.allSettled([sessions.end(id, 'ada'), elsewhere.end(id, 'ada')])
  t.same(ends.map(({ status }) => status).sort(), ['fulfilled', 'rejected'])
})

t.test('setting the log level is not lost to a concurrent use', async (t) => {
  const { sessions, elsewhere, elapse } = setUp(t)
  const { id, session } = await sessions.create('ada', CLIENT)
  elapse(100)
  await Promise.all([
    elsewhere.use(id, 'ada'),
    sessions.setLogLevel(session, 'error'),
    elsewhere.setLogLevel(session, 'error')
  ])
  t.equal((await sessions.use(id, 'ada')).logLevel, 'error')
})

t.test('during an outage of the store sessions get 503, not 404', async (t) => {
  const cluster = startEngines(t, { definitions: [] })
  const { post, get, end } = await startSession(cluster)
  cluster.store.isDown = true
  const attempts = [
    async () => await post(request('ping')),
    async () => await get(),
    async () => await end(),
    async () => await startSession(cluster)
  ]
  for (const attempt of attempts) await t.rejects(attempt() as Promise<unknown>, StoreUnavailableError)
  cluster.store.isDown = false
  t.equal((await post(request('ping'))).status, 200)
})

t.test('a full store keeps existing sessions alive, and refuses new ones', async (t) => {
  const { store, sessions, elapse } = setUp(t, { idleTtlSeconds: 100 })
  const { id } = await sessions.create('ada', CLIENT)
  const full = async (): Promise<never> => { throw new StoreUnavailableError(new Error('OOM')) }
  Object.assign(store, { compareAndSet: full, set: full, addMember: full, addMemberWithin: full })
  for (let uses = 0; uses < 5; uses++) {
    elapse(90)
    t.match(await sessions.use(id, 'ada'), CLIENT)
  }
  await t.rejects(sessions.create('ada', CLIENT), StoreUnavailableError)
  for (const name of ['compareAndSet', 'set', 'addMember', 'addMemberWithin']) Reflect.deleteProperty(store, name)
  elapse(90)
  t.match(await sessions.use(id, 'ada'), CLIENT)
  await sessions.end(id, 'ada')
  await t.rejects(sessions.use(id, 'ada'), SessionNotFoundError)
})

t.test('the log level applies at every replica', async (t) => {
  const cluster = startEngines(t)
  const { post } = await startSession(cluster)
  const logged = async (at: number) => {
    const { events } = await post(call('count', { steps: 1, pauseMs: 0 }), { at })
    return (await events.rest()).filter(({ method }) => method === 'notifications/message').length
  }
  t.equal(await logged(0), 1)
  t.same((await post(request('logging/setLevel', { level: 'warning' }), { at: 1 })).body.result, {})
  t.equal(
    (await post(call('count', { steps: 1, pauseMs: 0 }), { at: 0 })).body.result.content[0].text,
    'Counted to 1',
    'nothing is sent, so nothing is streamed'
  )
  await post(request('logging/setLevel', { level: 'info' }), { at: 0 })
  t.equal(await logged(1), 1)
  t.ok((await post(request('logging/setLevel', { level: 'loud' }))).body.error, 'no such level')
})

t.test('a log level that the store cannot save is an error', async (t) => {
  const cluster = startEngines(t)
  const { post } = await startSession(cluster)
  const { store } = cluster
  const replace = store.compareAndSet
  store.compareAndSet = async () => { throw new StoreUnavailableError() }
  await t.rejects(post(request('logging/setLevel', { level: 'error' })), StoreUnavailableError)
  store.compareAndSet = replace
})

t.test('the capabilities of a session are its client\'s, at every replica', async (t) => {
  const cluster = startEngines(t)
  const able = await startSession(cluster, { capabilities: ABLE })
  const unable = await startSession(cluster, { capabilities: {} })
  t.match((await unable.post(call('ask_roots'), { at: 1 })).body.result, { isError: true })
  const { events } = await able.post(call('ask_roots'), { at: 1 })
  t.match(await events.message(), { method: 'roots/list' })
})
