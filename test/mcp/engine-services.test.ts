import t from 'tap'
import { Type } from 'typebox'
import { defineResource } from '../../src/define/resource.ts'
import { defineTool } from '../../src/define/tool.ts'
import { SessionNotFoundError } from '../../src/mcp/sessions/session.ts'
import { gate, stepper as createStepper } from '../support/gate.ts'
import { interactiveTools } from '../support/interactive-tools.ts'
import {
  SESSIONS, asPrincipal, call, modern, request, send, settle, startEndpoints, startSession
} from '../support/mcp.ts'
import type { Engines } from '../support/mcp.ts'

/** Two MCP endpoints on two replicas, and the same person with the same client at both. */

const ada = asPrincipal('ada')

t.test('a session of one endpoint is unknown at another one, at each replica', async (t) => {
  const { tool, started, open } = gate()
  const endpoints = startEndpoints(t, { '/mcp': [tool], '/mcp/sales': [tool], '/mcp/ops': [tool] })
  for (const [home, others] of [
    ['/mcp', ['/mcp/sales']], ['/mcp/sales', ['/mcp', '/mcp/ops']]
  ] as const) {
    const { id, headers, post, get } = await startSession(endpoints[home], { principal: ada })
    const running = post(call('gate', {}, { id: 7 }))
    await started
    const cancellation = { jsonrpc: '2.0', method: 'notifications/cancelled', params: { requestId: 7 } }
    for (const engine of others.flatMap((other) => endpoints[other].engines)) {
      for (const [method, body] of [
        ['POST', request('ping')], ['POST', request('tools/list')], ['POST', call('gate')], ['POST', cancellation],
        ['GET', undefined], ['DELETE', undefined]
      ] as const) {
        const refused = send(engine, body, { method, headers, principal: ada })
        await t.rejects(refused, SessionNotFoundError, `${method} ${JSON.stringify(body)} with ${id} of ${home}`)
      }
    }
    open('done')
    t.match(await running, { status: 200 }, 'nobody has cancelled the call')
    t.equal((await get({ at: 1 })).status, 200, 'and the session has not ended')
  }
})

t.test('a stream of one endpoint is not resumed with a session of another one', async (t) => {
  const stepper = createStepper()
  const endpoints = startEndpoints(t, { '/mcp': [], '/mcp/sales': [stepper.tool] })
  const sales = await startSession(endpoints['/mcp/sales'], { principal: ada })
  const main = await startSession(endpoints['/mcp'], { principal: ada })
  const { events } = await sales.post(call('stepper'))
  await events.message()
  await events.cut()
  await stepper.step()
  for (const at of [0, 1]) {
    t.equal((await main.get({ lastEventId: events.lastEventId, at })).status, 400)
  }
  const resumed = await sales.get({ lastEventId: events.lastEventId, at: 1 })
  t.match(await resumed.events.message(), { params: { data: 2 } }, 'the session of the endpoint goes on with it')
  await stepper.finish()
})

t.test('the answer of a client reaches the call of its own endpoint alone', async (t) => {
  const endpoints = startEndpoints(t, { '/mcp': interactiveTools, '/mcp/sales': interactiveTools })
  const sales = await startSession(endpoints['/mcp/sales'], { principal: ada })
  const main = await startSession(endpoints['/mcp'], { principal: ada })
  const { events } = await sales.post(call('ask_roots'))
  const { id } = await events.message()
  const answer = (uri: string) => ({ jsonrpc: '2.0', id, result: { roots: [{ uri }] } })
  await main.post(answer('file:///foreign'))
  await main.post(answer('file:///foreign'), { at: 1 })
  await sales.post(answer('file:///own'), { at: 1 })
  t.match(await events.message(), { result: { content: [{ text: /own/ }] } })
})

t.test('the request state of one endpoint is refused at another one', async (t) => {
  let runs = 0
  const transfer = defineTool({
    name: 'transfer',
    description: 'Asks, and then acts',
    input: Type.Object({}),
    async handler (_input, { elicit }) {
      const { action } = await elicit('Really?', Type.Object({ sure: Type.Boolean() }))
      runs++
      return action
    }
  })
  const endpoints = startEndpoints(t, { '/mcp': [transfer], '/mcp/sales': [transfer], '/mcp/ops': [transfer] })
  const callAt = async ({ engines }: Engines, at: number, params: object = {}) => {
    const [body, options] = modern('tools/call', { name: 'transfer', arguments: {}, ...params })
    return (await send(engines[at]!, body, { ...options, principal: ada })).body
  }
  const inputResponses = { 'input-1': { action: 'accept', content: { sure: true } } }
  const pairs = [['/mcp', '/mcp/sales'], ['/mcp/sales', '/mcp'], ['/mcp/sales', '/mcp/ops']] as const
  for (const [from, to] of pairs) {
    const { result: { requestState } } = await callAt(endpoints[from], 0)
    for (const at of [0, 1]) {
      t.match(await callAt(endpoints[to], at, { requestState, inputResponses }), {
        error: { code: -32602, message: 'Invalid or expired requestState' }
      }, `from ${from} to ${to} at replica ${at}`)
    }
    t.match(await callAt(endpoints[from], 1, { requestState, inputResponses }), {
      result: { content: [{ text: 'accept' }] }
    }, 'and is as good as before where it belongs')
  }
  t.equal(runs, pairs.length)
})

/** Opens the streams of both eras on which a client is notified of everything. */
async function listen (engines: Engines, uris: string[] = []) {
  const session = await startSession(engines, { at: 1 })
  for (const uri of uris) await session.post(request('resources/subscribe', { uri }))
  const { events: legacy } = await session.get()
  const [body, options] = modern('subscriptions/listen', {
    notifications: { toolsListChanged: true, resourceSubscriptions: uris }
  })
  const { events: now } = await send(engines.engines[1]!, body, options)
  await now.message()
  await settle()
  return {
    next: async () => [(await legacy.message())?.method, (await now.message())?.method],
    async close () {
      await Promise.all([legacy.cut(), now.cut()])
      return [...await legacy.rest(), ...await now.rest()]
    }
  }
}

t.test('clients are notified of the lists of their own endpoint', async (t) => {
  const [change] = interactiveTools.filter((tool) => 'name' in tool && tool.name === 'change_tools')
  const endpoints = startEndpoints(t, { '/mcp': [change!], '/mcp/sales': [] })
  const main = await listen(endpoints['/mcp'])
  const sales = await listen(endpoints['/mcp/sales'])
  const changed = 'notifications/tools/list_changed'

  endpoints['/mcp/sales'].engines[0]!.replace([change!])
  t.same(await sales.next(), [changed, changed])
  const session = await startSession(endpoints['/mcp'])
  await session.post(call('change_tools'))
  t.same(await main.next(), [changed, changed], 'a tool does not know whose lists have changed')
  t.same(await sales.next(), [changed, changed], 'so all endpoints are notified')
  endpoints['/mcp'].engines[0]!.replace([])
  t.same(await main.next(), [changed, changed])
  await settle()
  t.same([...await main.close(), ...await sales.close()], [], 'and of nothing else')
})

t.test('a stream that is resumed has the changes of its own endpoint', async (t) => {
  const [change] = interactiveTools
  const endpoints = startEndpoints(t, { '/mcp': [], '/mcp/sales': [] })
  const session = await startSession(endpoints['/mcp'])
  const { events } = await session.get()
  const { id: lastEventId } = (await events.next())!
  await events.cut()
  endpoints['/mcp/sales'].engines[0]!.replace([change!])
  await settle()
  endpoints['/mcp'].engines[0]!.replace([change!])
  await settle()
  const resumed = await session.get({ lastEventId, at: 1 })
  t.match(await resumed.events.message(), { method: 'notifications/tools/list_changed' })
  await settle()
  await resumed.events.cut()
  t.same(await resumed.events.rest(), [])
})

t.test('a resource that two endpoints have is watched once, and subscribers of both are notified', async (t) => {
  const stops: string[] = []
  let starts = 0
  let change = (): void => {}
  const resource = defineResource({
    uri: 'memo://one',
    name: 'one',
    read: () => 'text',
    watch (changed) {
      starts++
      change = changed
      return () => { stops.push('stopped') }
    }
  })
  const endpoints = startEndpoints(t, { '/mcp': [resource], '/mcp/sales': [resource] })
  t.equal(starts, 2, 'once at each replica')
  const main = await listen(endpoints['/mcp'], ['memo://one'])
  const sales = await listen(endpoints['/mcp/sales'], ['memo://one'])
  change()
  const updated = 'notifications/resources/updated'
  t.same([await main.next(), await sales.next()], [[updated, updated], [updated, updated]])

  endpoints['/mcp'].engines[0]!.replace([])
  endpoints['/mcp/sales'].engines[0]!.replace([resource])
  t.same(stops, [], 'the other endpoint still has it')
  t.equal(starts, 2, 'and watches it without a break')
  endpoints['/mcp/sales'].engines[0]!.replace([])
  t.same(stops, ['stopped'])
  await Promise.all([main.close(), sales.close()])
})

t.test('the sessions of a person are limited over all endpoints, and one in use does not give way', async (t) => {
  const endpoints = startEndpoints(t, { '/mcp': [], '/mcp/sales': [] }, { session: { ...SESSIONS, maxPerPrincipal: 2 } })
  const used = await startSession(endpoints['/mcp'], { principal: ada })
  const { events } = await used.get()
  await events.next()
  const idle = await startSession(endpoints['/mcp'], { principal: ada })
  await startSession(endpoints['/mcp/sales'], { principal: ada })
  t.equal((await used.post(request('ping'))).status, 200)
  await t.rejects(idle.post(request('ping')), SessionNotFoundError)
  await events.cut()
})
