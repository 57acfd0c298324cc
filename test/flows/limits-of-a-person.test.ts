import t from 'tap'
import { getTokens, startBroker } from '../support/broker.ts'
import { initialize, request } from '../support/mcp.ts'
import { interactiveTools } from '../support/interactive-tools.ts'
import { sendModern, sendRaw, startRawSession } from '../support/raw-client.ts'
import { keys } from '../../src/store/keys.ts'
import { ready, startSeed } from '../support/seed.ts'
import { until } from '../support/until.ts'

/** Client ids are free to choose, so the limits of a person hold for all of their clients together, over HTTP. */

const CLIENTS = ['client-1', 'client-2', 'client-3', 'client-4']

t.test('sessions of a person are limited over all of their clients, and others find room', async (t) => {
  const seed = await startBroker(t, { env: { SESSIONS_PER_PRINCIPAL: '2', SESSIONS_TOTAL: '8' } })
  const sessions = []
  const statuses: number[] = []
  for (const clientId of CLIENTS) {
    const { accessToken } = await getTokens(seed, { clientId })
    for (let count = 0; count < 2; count++) {
      const { status, headers } = await sendRaw(seed.url, accessToken, { body: initialize() })
      statuses.push(status)
      const id = headers.get('mcp-session-id')
      if (id !== null) sessions.push({ id, accessToken })
    }
  }
  t.same(statuses, Array(8).fill(200), 'the session that was unused the longest gives way')
  const headersOf = (id: string) => ({ 'mcp-session-id': id, 'mcp-protocol-version': '2025-11-25' })
  const pings: number[] = []
  for (const { id, accessToken } of sessions) {
    pings.push((await sendRaw(seed.url, accessToken, { body: request('ping'), headers: headersOf(id) })).status)
  }
  t.same(pings, [...Array(6).fill(404), 200, 200])
  const bob = await getTokens(seed, { login: 'bob' })
  t.ok(await startRawSession(seed.url, bob.accessToken))

  const { accessToken } = await getTokens(seed, { clientId: 'client-2' })
  const { id, accessToken: owner } = sessions.at(-1)!
  const headers = headersOf(id)
  const foreign = await sendRaw(seed.url, accessToken, { body: request('ping'), headers })
  t.equal(foreign.status, 404, 'a session still belongs to one client of the person')
  t.equal((await sendRaw(seed.url, owner, { method: 'DELETE', headers })).status, 204)
  t.ok(await startRawSession(seed.url, accessToken), 'the end of a session of one client makes room for another client')
})

t.test('sessions with an open stream or a running call do not give way: then a new one is refused', async (t) => {
  const seed = await startBroker(t, { env: { SESSIONS_PER_PRINCIPAL: '2' }, definitions: interactiveTools })
  const { accessToken } = await getTokens(seed)
  const [streaming, calling] = [
    await startRawSession(seed.url, accessToken), await startRawSession(seed.url, accessToken)
  ]
  t.equal((await streaming.get()).status, 200)
  const call = calling.post(request('tools/call', { name: 'wait', arguments: { ms: 3_000 } }))
  await seed.logged(({ msg }) => msg === 'Waiting')
  await new Promise((resolve) => setTimeout(resolve, 500))
  const refused = await sendRaw(seed.url, accessToken, { body: initialize() })
  t.equal(refused.status, 429)
  t.ok(refused.headers.has('retry-after'))

  await call
  await until(async () => (await sendRaw(seed.url, accessToken, { body: initialize() })).status === 200,
    'the session whose call has ended gives way')
  t.equal((await calling.post(request('ping'))).status, 404)
  t.equal((await streaming.post(request('ping'))).status, 200, 'the one with the stream does not')
})

t.test('requests, calls and streams of a person are limited over all of their clients', async (t) => {
  const env = { MCP_LIMIT_PER_PRINCIPAL: '60', CALLS_PER_PRINCIPAL: '1', STREAMS_PER_PRINCIPAL: '1' }
  const seed = await startBroker(t, { env, definitions: interactiveTools })
  const [one, other] = [
    (await getTokens(seed, { clientId: 'client-1' })).accessToken,
    (await getTokens(seed, { clientId: 'client-2' })).accessToken
  ]
  const bob = (await getTokens(seed, { login: 'bob' })).accessToken
  const echo = { name: 'echo', arguments: { text: 'x' } }

  const waiting = sendModern(seed.url, one, 'tools/call', { name: 'wait', arguments: { ms: 2_000 } })
  await seed.logged(({ msg }) => msg === 'Waiting')
  const refused = await sendModern(seed.url, other, 'tools/call', echo)
  t.match(refused, { status: 429, body: { error: { message: /You already have 1 call running/ } } })
  t.equal((await sendModern(seed.url, bob, 'tools/call', echo)).status, 200)

  const sessions = [await startRawSession(seed.url, one), await startRawSession(seed.url, other)]
  t.equal((await sessions[0]!.get()).status, 200)
  t.equal((await sessions[1]!.get()).status, 429, 'the stream of another client')
  await waiting

  const minute = (): number => Math.floor(Date.now() / 60_000)
  for (let begun = -1; begun !== minute();) {
    begun = minute()
    const statuses: number[] = []
    for (let count = 0; count < 80; count++) {
      statuses.push((await sendModern(seed.url, count % 2 === 0 ? one : other, 'tools/call', echo)).status)
    }
    if (begun === minute()) {
      t.ok(statuses.indexOf(429) <= 60, 'both clients use up one limit')
      t.same(new Set(statuses.slice(60)), new Set([429]), 'and none of them has any left')
    }
  }
  t.equal((await sendModern(seed.url, bob, 'tools/call', echo)).status, 200)
})

t.test('without sign-in, sessions are limited for each address', async (t) => {
  const seed = await startSeed(t, {
    env: { AUTH_REQUIRED: 'false', SESSIONS_PER_PRINCIPAL: '1', TRUST_PROXY: '127.0.0.1' }
  })
  await ready(seed)
  const initializeFrom = async (address: string): Promise<number> =>
    (await sendRaw(seed.url, '', { body: initialize(), headers: { 'x-forwarded-for': address } })).status
  t.equal(await initializeFrom('192.0.2.1'), 200)
  t.equal(await initializeFrom('192.0.2.1'), 200)
  t.equal(await initializeFrom('192.0.2.2'), 200)
  t.equal((await seed.app.store.members(keys.sessions())).length, 2, 'and nobody is locked out by a neighbour')
})
