import t from 'tap'
import { connectAsked } from '../support/asked-clients.ts'
import { SDK_V1_SERVER, stdioMount } from '../support/stdio-mount.ts'
import { until } from '../support/until.ts'
import { startMounted } from '../support/upstream.ts'

/** A server of the SDK's version 1 on stdio, where no message has a stream that says to which call it belongs. */

const capabilities = { elicitation: { url: {} }, roots: { listChanged: true as unknown as object } }

t.test('a session has the messages, the ends of elicitations and the roots of its own process', async (t) => {
  const seed = await startMounted(t, { v1: stdioMount([], { connection: 'session' }, SDK_V1_SERVER) })
  const [client, other] = [
    await connectAsked(t, 'legacy', seed, { capabilities }), await connectAsked(t, 'legacy', seed, { capabilities })
  ]
  t.equal(await other.call('v1_roots'), '')
  t.equal(await client.call('v1_tell'), 'done')
  t.equal(await client.call('v1_page'), 'done')
  await until(() => client.completed.length > 0, 'the end is announced')
  await until(async () => {
    await client.client.sendRootsListChanged()
    return await client.call('v1_roots') === 'file:///home/ada'
  }, 'the server has asked for the roots')
  t.same([client.logged, client.completed], [['three rows'], ['page-1']])
  t.equal(await other.call('v1_roots'), '')
  t.same([other.logged, other.completed, other.questions], [[], [], []])
})

t.test('messages of a process that all share reach nobody', async (t) => {
  const seed = await startMounted(t, { v1: stdioMount([], {}, SDK_V1_SERVER) })
  for (const era of ['legacy', 'modern'] as const) {
    const { client, logged } = await connectAsked(t, era, seed, { capabilities })
    const _meta = era === 'modern' ? { _meta: { 'io.modelcontextprotocol/logLevel': 'debug' } } : {}
    t.match(await client.callTool({ name: 'v1_tell', arguments: {}, ..._meta } as never), { content: [{ text: 'done' }] })
    t.same(logged, [])
  }
})
