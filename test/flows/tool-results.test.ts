import t from 'tap'
import { Type } from 'typebox'
import { defineTool } from '../../src/define/tool.ts'
import { modernRequest, openSession, postMcp, ready, startSeed } from '../support/seed.ts'

/** Results that are converted to JSON once and throw when they are written: nothing that was counted stays counted. */

const CALLS = 2

function writableOnce () {
  let reads = 0
  return { nested: { toJSON () { if (reads++ > 0) throw new Error('a secret') } } }
}

const declared = { description: 'Returns what can be read once', input: Type.Object({}) }
const definitions = [
  defineTool({ ...declared, name: 'now', handler: writableOnce }),
  defineTool({
    ...declared,
    name: 'later',
    async handler () {
      await new Promise((resolve) => { setImmediate(resolve) })
      return writableOnce()
    }
  }),
  defineTool({ ...declared, name: 'works', handler: () => 'fine' })
]

t.test('a result that throws when it is written is an error, and its call no longer counts as running', async (t) => {
  const seed = await startSeed(t, { definitions, env: { CALLS_PER_PRINCIPAL: String(CALLS) } })
  await ready(seed)
  const token = await seed.provider.mint()
  const session = await openSession(seed, token)
  for (const name of ['now', 'later']) {
    const params = { name, arguments: {} }
    for (const sent of [modernRequest('tools/call', params), session.request('tools/call', params)]) {
      for (let call = 0; call <= CALLS; call++) {
        const { status, body } = await postMcp(seed, sent, token)
        t.match({ status, body }, { status: 500, body: { error: { code: -32603 } } }, name)
        t.notMatch(JSON.stringify(body), 'a secret')
      }
    }
    t.ok(seed.logs.some(({ tool, status }) => tool === name && status === 500), 'the log names the tool')
  }
  const { body } = await postMcp(seed, modernRequest('tools/call', { name: 'works', arguments: {} }), token)
  t.match(body, { result: { content: [{ text: 'fine' }] } })
})

t.test('in a request that is not plain it is an error of the tool, at once, and the log names it', async (t) => {
  const seed = await startSeed(t, { definitions, env: { CALLS_PER_PRINCIPAL: String(CALLS) } })
  await ready(seed)
  const token = await seed.provider.mint()
  const session = await openSession(seed, token)
  for (const name of ['now', 'later']) {
    const params = { name, arguments: {}, unknown: true }
    for (const sent of [modernRequest('tools/call', params), session.request('tools/call', params)]) {
      for (let call = 0; call <= CALLS; call++) {
        const { body } = await postMcp(seed, sent, token, AbortSignal.timeout(5_000))
        t.match(body, { result: { isError: true, content: [{ text: /^\w+ failed; the server's log holds the reason/ }] } })
      }
    }
    t.match(seed.logs.findLast(({ msg }) => msg === 'A handler failed'), { handler: name, err: { message: 'a secret' } })
  }
  const { body } = await postMcp(seed, modernRequest('tools/call', { name: 'works', arguments: {}, unknown: 1 }), token)
  t.match(body, { result: { content: [{ text: 'fine' }] } })
})
