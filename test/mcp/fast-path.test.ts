import t from 'tap'
import { Type } from 'typebox'
import { defineTool } from '../../src/define/tool.ts'
import { SessionNotFoundError } from '../../src/mcp/sessions.ts'
import { asPrincipal, call, modern, request, send, settle, startEngines, startSession } from '../support/mcp.ts'

/** What of the short path the comparison with the SDK's (differential.test.ts) does not show. */

const definitions = [
  defineTool({
    name: 'who',
    description: 'Says who calls',
    input: Type.Object({ nonce: Type.Integer(), turns: Type.Integer() }),
    async handler ({ nonce, turns }, { principal }) {
      for (let turn = 0; turn < turns; turn++) await new Promise((resolve) => { setImmediate(resolve) })
      return `${principal!.subject} ${nonce}`
    }
  })
]

t.test('requests with the same id at the same time: each caller gets its own answer', async (t) => {
  const house = startEngines(t, { definitions, count: 1 })
  const people = await Promise.all(Array.from({ length: 20 }, async (_none, index) => {
    const principal = asPrincipal(`p${index}`)
    return { principal, ...await startSession(house, { principal, capabilities: {} }) }
  }))
  let wrong = 0
  for (let round = 0; round < 20; round++) {
    await Promise.all(people.flatMap(({ principal, post }, index) => [round % 3, 0].map(async (turns, era) => {
      const nonce = round * 1_000 + index
      const [body, { headers }] = modern('tools/call', { name: 'who', arguments: { nonce, turns } })
      const sent = era === 0 ? await send(house.engines[0]!, body, { headers, principal }) : await post(call('who', { nonce, turns }))
      if (sent.body?.result?.content[0].text !== `${principal.subject} ${nonce}` || sent.body.id !== 1) wrong++
    })))
  }
  t.equal(wrong, 0)
})

t.test('the copy of a session is gone at once when it ends, at whatever replica, and is nobody else\'s', async (t) => {
  const house = startEngines(t, { definitions })
  const principal = asPrincipal('a')
  const { post, end, id } = await startSession(house, { principal })
  const list = async (at: number) => await post(request('tools/list'), { at })
  t.equal((await list(0)).status, 200)
  t.equal((await list(1)).status, 200)
  const reads = house.store.calls.length
  t.equal((await list(1)).status, 200)
  t.equal(house.store.calls.length, reads, 'the next request is not looked up')
  await t.rejects(send(house.engines[1]!, request('tools/list'), { headers: { 'mcp-session-id': id }, principal: asPrincipal('b') }), SessionNotFoundError)
  t.equal((await end({ at: 0 })).status, 204)
  await t.rejects(list(0), SessionNotFoundError)
  await settle()
  await t.rejects(list(1), SessionNotFoundError)
})
