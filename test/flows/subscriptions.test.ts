import t from 'tap'
import type { Test } from 'tap'
import { Readable } from 'node:stream'
import type { ReadableStream } from 'node:stream/web'
import { Type } from 'typebox'
import { defineResource } from '../../src/define/resource.ts'
import { defineTool } from '../../src/define/tool.ts'
import { readEvents } from '../support/mcp.ts'
import { modernRequest, openSession, postMcp, ready, startSeed } from '../support/seed.ts'
import type { TestSeed } from '../support/seed.ts'

/** Subscriptions of a session to a resource whose policy its user no longer meets, over HTTP. */

const PAYROLL = 'seed://payroll'
const NEWS = 'seed://news'

const definitions = [
  defineResource({ uri: PAYROLL, name: 'payroll', groups: ['payroll'], read: () => 'secret' }),
  defineResource({ uri: NEWS, name: 'news', read: () => 'news' }),
  defineTool({
    name: 'publish',
    description: 'Announces changes of both',
    input: Type.Object({}),
    handler (_input, { announce }) {
      for (const uri of [PAYROLL, NEWS]) announce({ kind: 'resource_updated', uri })
      return 'published'
    }
  })
]

async function setUp (t: Test) {
  const seed = await startSeed(t, { definitions })
  await ready(seed)
  const member = await seed.provider.mint({ groups: ['payroll'] })
  const former = await seed.provider.mint({ groups: [] })
  const session = await openSession(seed, member)
  let id = 0
  return {
    member,
    former,
    send: async (token: string, method: string, params: object) =>
      (await postMcp(seed, session.request(method, params, ++id), token)).body,
    openStream: async (token: string) => await openStream(t, seed, session.headers, token),
    /** Announces both, from outside of the session. */
    publish: async () => {
      await postMcp(seed, modernRequest('tools/call', { name: 'publish', arguments: {} }), member)
    }
  }
}

async function openStream (t: Test, { url }: TestSeed, headers: Record<string, string>, token: string) {
  const controller = new AbortController()
  t.teardown(() => { controller.abort() })
  const { body } = await fetch(`${url}/mcp`, {
    headers: { accept: 'text/event-stream', authorization: `Bearer ${token}`, ...headers },
    signal: controller.signal
  })
  const stream = Readable.fromWeb(body as ReadableStream)
  stream.on('error', () => { /* the end of the test */ })
  const events = readEvents(stream)
  return async () => (await events.message()).params.uri as string
}

const NOT_FOUND = { error: { message: /not found/i } }

t.test('a subscription ends when a newer token of its user may no longer read the resource', async (t) => {
  const { member, former, send, openStream, publish } = await setUp(t)
  for (const uri of [PAYROLL, NEWS]) t.match(await send(member, 'resources/subscribe', { uri }), { result: {} })
  const nextUpdate = await openStream(member)
  await publish()
  t.same([await nextUpdate(), await nextUpdate()], [PAYROLL, NEWS])

  t.match(await send(former, 'resources/read', { uri: PAYROLL }), NOT_FOUND)
  t.match(await send(former, 'resources/subscribe', { uri: PAYROLL }), NOT_FOUND)
  await publish()
  await publish()
  t.same([await nextUpdate(), await nextUpdate()], [NEWS, NEWS])

  t.match(await send(member, 'resources/subscribe', { uri: PAYROLL }), { result: {} }, 'until they subscribe again')
  await publish()
  t.same([await nextUpdate(), await nextUpdate()], [PAYROLL, NEWS])
})

t.test('a stream sends no updates of resources that the token that opened it may not read', async (t) => {
  const { member, former, send, openStream, publish } = await setUp(t)
  const nextUpdate = await openStream(former)
  for (const uri of [PAYROLL, NEWS]) t.match(await send(member, 'resources/subscribe', { uri }), { result: {} })
  await publish()
  await publish()
  t.same([await nextUpdate(), await nextUpdate()], [NEWS, NEWS])
})

/** A `subscriptions/listen` of 2026-07-28. @returns the next message; undefined when the stream has ended */
async function listen (t: Test, seed: TestSeed, token: string, uris: string[]) {
  const controller = new AbortController()
  t.teardown(() => { controller.abort() })
  const notifications = { toolsListChanged: true, resourceSubscriptions: uris }
  const { body, headers } = modernRequest('subscriptions/listen', { notifications }, 'listen')
  const response = await fetch(`${seed.url}/mcp`, {
    method: 'POST',
    body,
    headers: {
      'content-type': 'application/json', accept: 'text/event-stream', authorization: `Bearer ${token}`, ...headers
    },
    signal: controller.signal
  })
  const chunks = response.body!.pipeThrough(new TextDecoderStream())[Symbol.asyncIterator]()
  let text = ''
  return {
    until: async (part: string): Promise<boolean> => {
      while (!text.includes(part)) {
        const { done, value } = await chunks.next()
        if (done === true) return false
        text += value
      }
      text = ''
      return true
    }
  }
}

t.test('in 2026-07-28 a subscription ends when its client sends a newer token without the right', async (t) => {
  const seed = await startSeed(t, { definitions })
  await ready(seed)
  const send = async (token: string, name = 'publish') =>
    await postMcp(seed, modernRequest('tools/call', { name, arguments: {} }), token)
  const member = await seed.provider.mint({ groups: ['payroll'] })
  const former = await seed.provider.mint({ groups: [] })
  const older = await seed.provider.mint({ groups: [], iat: Math.floor(Date.now() / 1_000) - 20 })
  const payroll = await listen(t, seed, member, [PAYROLL, NEWS])
  const news = await listen(t, seed, member, [NEWS])

  await send(member)
  t.ok(await payroll.until(PAYROLL))
  await send(older)
  t.ok(await payroll.until(PAYROLL), 'an older token of the client says nothing about today')
  await send(await seed.provider.mint({ sub: 'bob', groups: [] }))
  t.ok(await payroll.until(PAYROLL), 'nor does that of somebody else')
  await send(former)
  t.notOk(await payroll.until('never sent'), 'a newer one does: the stream has ended')
  t.ok(await news.until(NEWS), 'what it may still read goes on')

  const again = await listen(t, seed, former, [PAYROLL, NEWS])
  await send(member)
  t.ok(await again.until(NEWS))
  t.ok(await news.until(NEWS))
})

t.test('in 2026-07-28 a subscription ends with its token', async (t) => {
  const seed = await startSeed(t, { definitions, env: { TOKEN_CLOCK_SKEW_SECONDS: '0' } })
  await ready(seed)
  const now = Math.floor(Date.now() / 1_000)
  const token = await seed.provider.mint({ groups: ['payroll'], iat: now, exp: now + 2 })
  const stream = await listen(t, seed, token, [PAYROLL])
  t.notOk(await stream.until('never sent'))
  t.ok(Date.now() >= (now + 2) * 1_000)
})
