import t from 'tap'
import type { Test } from 'tap'
import { SEED_SECRET } from '../support/broker.ts'
import { ERAS } from '../support/open-server.ts'
import type { Era } from '../support/open-server.ts'
import { MODERN_META, openSession, postMcp, ready, startSeed } from '../support/seed.ts'
import type { TestSeed } from '../support/seed.ts'
import { until } from '../support/until.ts'
import { startMounted, startUpstream, writeMounts } from '../support/upstream.ts'
import type { Upstream } from '../support/upstream.ts'

const EAGER = { mountsRetryMs: 10 }

async function startSubscribable (t: Test, era: 'modern' | 'session', mount: object = {}, timings: object = { mountsRetryMs: 100 }) {
  const upstream = await startUpstream(t, era)
  upstream.capabilities = { ...upstream.capabilities, resources: { listChanged: true, subscribe: true } }
  upstream.forgetSessions()
  return { upstream, seed: await startMounted(t, { odd: { url: upstream.url, ...mount } }, { timings }) }
}

/** Subscribes a client, and returns what it receives. */
async function subscribe (t: Test, seed: TestSeed, era: Era, uri: string): Promise<{ text: string, end (): void }> {
  const abort = new AbortController()
  const received = { text: '', end () { abort.abort() } }
  t.teardown(received.end)
  const headers = { 'content-type': 'application/json', accept: 'application/json, text/event-stream' }
  const read = async (response: Response): Promise<void> => {
    for await (const chunk of response.body!.pipeThrough(new TextDecoderStream())) received.text += chunk
  }
  if (era === 'modern') {
    const params = { notifications: { resourceSubscriptions: [uri] }, _meta: MODERN_META }
    read(await fetch(`${seed.url}/mcp`, {
      method: 'POST',
      headers: { ...headers, 'mcp-protocol-version': '2026-07-28', 'mcp-method': 'subscriptions/listen' },
      body: JSON.stringify({ jsonrpc: '2.0', id: 's', method: 'subscriptions/listen', params }),
      signal: abort.signal
    })).catch(() => {})
    await until(() => received.text.includes('acknowledged'), 'the subscription stands')
    return received
  }
  const session = await openSession(seed)
  const request = session.request('resources/subscribe', { uri })
  read(await fetch(`${seed.url}/mcp`, { headers: { ...headers, ...request.headers }, signal: abort.signal })).catch(() => {})
  const answer = await fetch(`${seed.url}/mcp`, { method: 'POST', headers: { ...headers, ...request.headers }, body: request.body })
  await answer.text()
  return received
}

/** The resources that a mounted server was asked to notify of, by the last request. */
function subscribed ({ messages }: Upstream, era: 'modern' | 'session'): string[] {
  if (era === 'modern') {
    const listens = messages.filter(({ params }) => params?.notifications?.resourceSubscriptions !== undefined)
    return listens.at(-1)?.params.notifications.resourceSubscriptions ?? []
  }
  const uris = new Set<string>()
  for (const { method, params } of messages) {
    if (method === 'resources/subscribe') uris.add(params.uri)
    if (method === 'resources/unsubscribe') uris.delete(params.uri)
  }
  return [...uris]
}

for (const upstreamEra of ['modern', 'session'] as const) {
  t.test(`clients of both eras hear of changes of a resource of a mounted server (${upstreamEra})`, async (t) => {
    const { upstream, seed } = await startSubscribable(t, upstreamEra, { resources: { deny: ['notes://secret*'] } })
    const clients: Array<{ text: string }> = []
    for (const era of ERAS) for (const uri of ['odd+notes://1', 'odd+notes://7']) clients.push(await subscribe(t, seed, era, uri))
    await until(() => subscribed(upstream, upstreamEra).length === 2, 'the server has been asked')
    await subscribe(t, seed, 'modern', 'odd+notes://secret')
    await until(async () => {
      for (const uri of ['notes://1', 'notes://7', 'notes://other', 'notes://secret']) await upstream.update(uri)
      return clients.every(({ text }) => text.includes('resources/updated'))
    }, 'all have heard')
    t.match(clients.map(({ text }) => text), [/"odd\+notes:\/\/1"/, /"odd\+notes:\/\/7"/, /"odd\+notes:\/\/1"/, /"odd\+notes:\/\/7"/])
    for (const { text } of clients) t.notMatch(text, /other|secret/)
    t.same(subscribed(upstream, upstreamEra).sort(), ['notes://1', 'notes://7'], 'once for each, however many clients')
  })

  t.test(`subscriptions are made again at a mounted server (${upstreamEra}) that was away`, async (t) => {
    const { upstream, seed } = await startSubscribable(t, upstreamEra)
    const client = await subscribe(t, seed, 'modern', 'odd+notes://1')
    await until(() => subscribed(upstream, upstreamEra).length === 1, 'the server has been asked')
    await upstream.stop()
    await upstream.start()
    await seed.send('modern', 'tools/call', { name: 'odd_add', arguments: {} })
    await until(async () => {
      await upstream.update('notes://1')
      return client.text.includes('resources/updated')
    }, 'the client hears of changes again')
    t.pass()
  })

  t.test(`a mounted server (${upstreamEra}) is not asked any longer when nobody is subscribed`, async (t) => {
    const { upstream, seed } = await startSubscribable(t, upstreamEra, {}, EAGER)
    const client = await subscribe(t, seed, 'modern', 'odd+notes://1')
    await until(() => upstream.messages.some(({ params }) => JSON.stringify(params ?? '').includes('"notes://1"')), 'asked')
    client.end()
    await until(() => {
      return upstreamEra === 'modern' ? upstream.messages.some(({ method }) => method === 'notifications/cancelled') : subscribed(upstream, upstreamEra).length === 0
    }, 'no longer')
    t.pass()
  })
}

/** Opens a stream of a client of 2026-07-28. @returns the resources that the acknowledgement names */
async function listen (t: Test, seed: TestSeed, uris: readonly string[], token?: string): Promise<readonly string[]> {
  const abort = new AbortController()
  t.teardown(() => { abort.abort() })
  const response = await fetch(`${seed.url}/mcp`, {
    method: 'POST',
    headers: {
      'content-type': 'application/json',
      accept: 'application/json, text/event-stream',
      'mcp-protocol-version': '2026-07-28',
      'mcp-method': 'subscriptions/listen',
      ...token !== undefined && { authorization: `Bearer ${token}` }
    },
    body: JSON.stringify({
      jsonrpc: '2.0',
      id: 's',
      method: 'subscriptions/listen',
      params: { notifications: { resourceSubscriptions: uris }, _meta: MODERN_META }
    }),
    signal: abort.signal
  })
  let text = ''
  for await (const chunk of response.body!.pipeThrough(new TextDecoderStream()).values({ preventCancel: true })) {
    text += chunk
    const acknowledged = /^data: (.*acknowledged.*)$/m.exec(text)
    if (acknowledged !== null) return JSON.parse(acknowledged[1]!).params.notifications.resourceSubscriptions ?? []
  }
  throw new Error(`No acknowledgement: ${text}`)
}

/** The URIs of the resources that one stream may have. */
const fifty = (name: string): string[] => Array.from({ length: 50 }, (_, index) => `odd+notes://${name}-${index}`)

/** Seed with sign-in in front of a mounted server of 2026-07-28 that knows subscriptions. */
async function startSignedIn (t: Test, mount: object) {
  const upstream = await startUpstream(t, 'modern')
  upstream.capabilities = { ...upstream.capabilities, resources: { listChanged: true, subscribe: true } }
  const seed = await startSeed(t, {
    definitions: [],
    timings: { mountsWaitMs: 60_000, mountsRetryMs: 100 },
    env: {
      SEED_SECRET,
      SEED_MOUNTS: await writeMounts({ odd: { url: upstream.url, connectTimeoutSeconds: 60, ...mount } })
    }
  })
  await ready(seed)
  return { upstream, seed }
}

const limitsIn = ({ logs }: TestSeed) => logs.filter(({ event }) => event === 'mount.subscriptions_exceeded')

t.test('one person with many streams takes a quarter of the subscriptions of a mount, and the log says so', async (t) => {
  const { upstream, seed } = await startSignedIn(t, {})
  const [ada, bob] = [await seed.provider.mint({ sub: 'ada' }), await seed.provider.mint({ sub: 'bob' })]
  for (const name of ['a', 'b', 'c', 'd', 'e', 'f']) t.equal((await listen(t, seed, fifty(name), ada)).length, 50)
  await listen(t, seed, ['odd+notes://a-0', 'odd+notes://bob'], bob)
  await until(() => subscribed(upstream, 'modern').includes('notes://bob'), 'another person is not affected')
  t.equal(subscribed(upstream, 'modern').length, 251)
  t.match(limitsIn(seed), [{ mount: 'odd', maxOfPerson: 250 }])
  t.equal(limitsIn(seed).length, 1)
})

t.test('beyond a thousand resources of a mount clients are not notified, and the log says so', async (t) => {
  const { upstream, seed } = await startSubscribable(t, 'modern')
  for (let index = 0; index < 21; index++) await listen(t, seed, fifty(`s${index}`))
  await until(() => subscribed(upstream, 'modern').length === 1_000, 'the server has been asked')
  t.match(limitsIn(seed), [{ mount: 'odd', maxSubscriptions: 1_000 }])
  t.equal(limitsIn(seed).length, 1)
})

t.test('there are no subscriptions at a mounted server that decides by caller, and clients are told so', async (t) => {
  const { upstream, seed } = await startSignedIn(t, { identity: { assertion: {} } })
  const token = await seed.provider.mint({ sub: 'ada' })
  t.same(await listen(t, seed, ['odd+notes://1', 'odd+notes://7'], token), [])
  const session = await openSession(seed, token)
  for (const uri of ['odd+notes://1', 'odd+notes://7']) {
    const { body } = await postMcp(seed, session.request('resources/subscribe', { uri }), token)
    t.match(body.error, { code: -32_602, message: /cannot subscribe to this resource/ })
  }
  t.same(subscribed(upstream, 'modern'), [])
})
