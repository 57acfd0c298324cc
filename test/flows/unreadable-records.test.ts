import { randomBytes } from 'node:crypto'
import t from 'tap'
import type { Test } from 'tap'
import { digest } from '../../src/crypto/hash.ts'
import { keys } from '../../src/store/keys.ts'
import {
  getTokens, grantKey, newRequest, post, redeem, refresh, register, signIn, startBroker, toCallback
} from '../support/broker.ts'
import { interactiveTools } from '../support/interactive-tools.ts'
import { call, request } from '../support/mcp.ts'
import { challengeOf } from '../support/proxy.ts'
import { startRawSession } from '../support/raw-client.ts'
import { ping, ready, startSeed } from '../support/seed.ts'
import type { TestSeed } from '../support/seed.ts'
import { createPlainClient, readTokens, signedIn } from '../support/sign-in.ts'

/** Values that something other than Seed has written to the store. Whatever they are, no client gets a 500. */

/** Never to appear in the log. */
const CONTENT = 'content-of-a-record'
const JUNK = ['', CONTENT, 'null', '5', `"${CONTENT}"`, '[]', '{}', `{"id":"${CONTENT}"}`, '{"__proto__":null}']

/** Texts that are no valid record: junk, and a valid record with one member missing or of another type. */
function * spoilt (valid: string): Generator<string> {
  yield * JUNK
  const record = JSON.parse(valid) as Record<string, unknown>
  for (const [name, value] of Object.entries(record)) {
    const { [name]: _removed, ...others } = record
    yield JSON.stringify(others)
    for (const wrong of [null, 5, CONTENT, [null], { a: null }]) {
      if (typeof wrong !== typeof value || value === null) yield JSON.stringify({ ...record, [name]: wrong })
    }
  }
}

/** Puts each spoilt form of a record in its place, and sends a request that needs the record. */
async function checkRecord (
  t: Test, { app, logs }: TestSeed, { kind, key, status, send }: {
    kind: string
    key: string
    /** Expected where the record is junk. */
    status: number
    send: () => Promise<{ statusCode: number } | { status: number }>
  }
): Promise<void> {
  const valid = (await app.store.get(key))!
  for (const text of spoilt(valid)) {
    await app.store.set(key, text, 600)
    const response = await send()
    const received = 'status' in response ? response.status : response.statusCode
    if (JUNK.includes(text)) t.equal(received, status, `${kind}: ${text}`)
    else t.ok(received < 500, `${kind}: ${received} for ${text}`)
  }
  t.match(logs.filter((line) => line['kind'] === kind), [{ level: 40, msg: /^Unreadable .* it is ignored/ }], 'one warning')
  t.notMatch(JSON.stringify(logs), CONTENT)
  t.same(logs.filter(({ level }) => level >= 50), [], 'no error')
}

t.test('an unreadable client, sign-in, code or grant is as good as none', async (t) => {
  const seed = await startBroker(t)
  const clientId = await register(seed.url)
  await checkRecord(t, seed, {
    kind: 'registered client',
    key: keys.client(clientId),
    status: 400,
    send: async () => await fetch(newRequest(seed, clientId).url)
  })

  const { browser, callback } = await toCallback(seed)
  await checkRecord(t, seed, {
    kind: 'pending sign-in',
    key: keys.signIn(digest(callback.searchParams.get('state')!)),
    status: 400,
    send: async () => {
      const { status } = await browser.get(callback)
      // 0 is a redirect to the client.
      return { status: status === 0 ? 302 : status }
    }
  })

  const signedIn = await signIn(seed)
  await checkRecord(t, seed, {
    kind: 'authorization code',
    key: keys.code(digest(signedIn.code)),
    status: 400,
    send: async () => await redeem(seed.url, signedIn)
  })

  const tokens = await getTokens(seed)
  await checkRecord(t, seed, {
    kind: 'grant',
    key: grantKey(tokens.refreshToken),
    status: 400,
    send: async () => await refresh(seed.url, tokens.clientId, tokens.refreshToken)
  })

  const others = await getTokens(seed)
  await seed.app.store.set(grantKey(others.refreshToken), CONTENT, 600)
  t.equal((await post(`${seed.url}/oauth/revoke`, { client_id: others.clientId, token: others.refreshToken }))
    .statusCode, 200, 'revoking what cannot be read does no harm')
  t.equal((await ping(seed.url, others.accessToken)).status, 200)
})

t.test('an unreadable revocation mark revokes', async (t) => {
  const seed = await startBroker(t)
  for (const mark of JUNK.filter((text) => text !== '5')) {
    const { accessToken, refreshToken } = await getTokens(seed)
    await seed.app.store.set(keys.revoked(`grant:${refreshToken.split('.')[0]!}`), mark, 600)
    t.equal((await ping(seed.url, accessToken)).status, 401, mark)
  }
  t.equal(seed.logs.filter(({ kind }) => kind === 'revocation mark').length, 1)
  t.notMatch(JSON.stringify(seed.logs), CONTENT)
})

t.test('in proxy mode an unreadable approval or family of refresh tokens is as good as none', async (t) => {
  const seed = await startSeed(t)
  await ready(seed)
  const client = await createPlainClient(seed.url)
  const page = await client.walk()
  await checkRecord(t, seed, {
    kind: 'approval of a sign-in',
    key: keys.approval(digest(challengeOf(client.verifier))),
    status: 400,
    send: async () => await client.redeem(page)
  })

  const other = await createPlainClient(seed.url)
  const families: string[] = []
  const { store } = seed.app
  const { set } = store
  store.set = async (key, value, ttlSeconds) => {
    if (key.startsWith(keys.refreshFamily(''))) families.push(key)
    await set(key, value, ttlSeconds)
  }
  const tokens = await signedIn(other)
  t.equal(families.length, 1)
  await checkRecord(t, seed, {
    kind: 'family of refresh tokens',
    key: families[0]!,
    status: 400,
    send: async () => await other.refresh(tokens.refresh_token!)
  })
})

t.test('in proxy mode without SEED_SECRET a secret that Seed has not made is replaced', async (t) => {
  const seed = await startSeed(t)
  await ready(seed)
  for (const secret of ['', 'guessed', '{}']) {
    await seed.app.store.set(keys.secret(), secret, 600)
    const client = await createPlainClient(seed.url)
    const tokens = await signedIn(client)
    t.match(await seed.app.store.get(keys.secret()), /^[\w-]{43}$/)
    t.match(await readTokens(await client.refresh(tokens.refresh_token!)), { status: 200 })
  }
  t.equal(seed.logs.filter(({ kind }) => kind === 'secret').length, 1)
})

t.test('an unreadable session or stream is as good as none, and the messages around unreadable ones arrive', async (t) => {
  const seed = await startBroker(t, { definitions: interactiveTools })
  const { store } = seed.app
  const { accessToken } = await getTokens(seed)
  const session = await startRawSession(seed.url, accessToken)
  const name = digest(session.id)
  const record = (await store.get(keys.session(name)))!
  await checkRecord(t, seed, {
    kind: 'session',
    key: keys.session(name),
    status: 404,
    send: async () => {
      // No replica has it in its cache.
      await store.publish('replicas', JSON.stringify({ kind: 'log-level-changed', session: name }))
      return await session.post(call('echo', { text: 'x' }))
    }
  })
  const other = await startRawSession(seed.url, accessToken)
  await store.set(keys.session(name), (await store.get(keys.session(digest(other.id))))!, 600)
  t.equal((await session.post(request('ping'))).status, 404, "nor is another session's record its own")
  await store.set(keys.session(name), record, 600)

  const stream = `${randomBytes(9).toString('base64url')}.${randomBytes(9).toString('base64url')}`
  await store.set(keys.stream(name, stream), JSON.stringify({ requests: [1], closed: 1, shift: 0 }), 600)
  await checkRecord(t, seed, {
    kind: "state of a call's stream",
    key: keys.stream(name, stream),
    status: 400,
    send: async () => {
      const response = await session.get(`${stream}.0`)
      await response.events?.cut()
      return response
    }
  })

  const limits = { ttlSeconds: 600, maxEntries: 1_000 }
  const message = (text: string): string =>
    JSON.stringify({ jsonrpc: '2.0', method: 'notifications/message', params: { text } })
  for (const text of [...JUNK, message('replayed')]) await store.append(keys.events(name, stream), text, limits)
  await store.set(keys.stream(name, stream), JSON.stringify({ requests: [1], closed: JUNK.length + 1 }), 600)
  t.match(await (await session.get(`${stream}.0`)).events!.rest(), [{ params: { text: 'replayed' } }])

  const { events } = await session.get()
  for (const text of [...JUNK, message('queued')]) await store.append(keys.queue(name), text, limits)
  await store.publish('replicas', JSON.stringify({ kind: 'message-queued', session: name }))
  t.match(await events!.message(), { params: { text: 'queued' } })
  for (const text of JUNK) await store.append(keys.changes(), text, limits)
  await session.post(call('change_tools'))
  t.match(await events!.message(), { method: 'notifications/tools/list_changed' })
  await store.append(keys.changes(), CONTENT, limits)
  await store.publish('replicas', '{"kind":"change-published"}')
  await session.post(call('change_tools'))
  t.match(await events!.message(), { method: 'notifications/tools/list_changed' })
  await events!.cut()
  t.notMatch(JSON.stringify(seed.logs), CONTENT)
  t.same(seed.logs.filter(({ level }) => level >= 50), [])
})

t.test("an unreadable answer of a client is ignored: the call waits for the client's own", async (t) => {
  const seed = await startBroker(t, { definitions: interactiveTools })
  const { store } = seed.app
  const { accessToken } = await getTokens(seed)
  const session = await startRawSession(seed.url, accessToken)
  const { events } = await session.post(call('ask_form'))
  const { id } = await events!.message() as { id: string }
  const junk = [
    ...JUNK, '{"jsonrpc":"2.0","id":5,"result":{}}', '{"jsonrpc":"2.0","id":"x"}', '{"jsonrpc":"2.0","id":"x","error":5}'
  ]
  for (const text of junk) {
    const key = keys.answer(digest(session.id), id)
    await store.set(key, text, 600)
    await store.publish('replicas', JSON.stringify({ kind: 'request-answered', request: id }))
    while (await store.get(key) !== undefined) await new Promise((resolve) => { setImmediate(resolve) })
  }
  const answer = { jsonrpc: '2.0', id, result: { action: 'accept', content: { name: 'Ada', age: 36 } } }
  t.equal((await session.post(answer)).status, 202)
  t.match(await events!.message(), { result: { content: [{ text: 'Ada is 36' }] } })
  t.equal(seed.logs.filter(({ kind }) => kind === "client's answer").length, 1)
})

t.test('messages on the channels that no replica has sent change nothing', async (t) => {
  const seed = await startBroker(t, { definitions: interactiveTools })
  const { store } = seed.app
  const { accessToken } = await getTokens(seed)
  const session = await startRawSession(seed.url, accessToken)
  const { events } = await session.get()
  const name = digest(session.id)
  const claims = ['stream-claimed', 'stream-released'].flatMap((kind) =>
    ['', 's.x.1', CONTENT, 's.1.1\n'].map((position) =>
      JSON.stringify({ kind, session: name, reader: 'x', position })))
  for (const channel of ['revocations', 'replicas', 'shared-counters']) {
    for (const text of [...JUNK, ...claims]) await store.publish(channel, text)
  }
  await store.publish('shared-counters', 'x'.repeat(300_000))
  await session.post(call('change_tools'))
  t.match(await events!.message(), { method: 'notifications/tools/list_changed' })
  await events!.cut()
  t.equal((await ping(seed.url, accessToken)).status, 200)
  for (const kind of ['message about revocations', 'message between replicas', 'message about limits']) {
    t.match(seed.logs.filter((line) => line['kind'] === kind), [{ level: 40 }], kind)
  }
  t.notMatch(JSON.stringify(seed.logs), CONTENT)
  t.same(seed.logs.filter(({ level }) => level >= 50), [])
})
