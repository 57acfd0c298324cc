import t from 'tap'
import type { FinishedCall } from '../../../src/mcp/exchange.ts'
import { StoreUnavailableError } from '../../../src/store/store.ts'
import { asPrincipal, modern, send, startEngines, testStore } from '../../support/mcp.ts'

t.test('a call that the store keeps from running is recorded once, as unavailable', async (t) => {
  const calls: FinishedCall[] = []
  const store = testStore(t)
  const { engines: [engine] } = startEngines(t, { count: 1, store, recordCall: (finished) => { calls.push(finished) } })
  const principal = asPrincipal('ada')
  const ask = async (more: object) => {
    const [body, { headers }] = modern('tools/call', { name: 'ask_twice', arguments: { topic: 'it' }, ...more })
    return await send(engine!, body, { headers, principal })
  }
  const { requestState } = (await ask({})).body.result
  store.isDown = true
  await t.rejects(ask({ requestState, inputResponses: {} }), StoreUnavailableError)
  t.match(calls, [
    { outcome: 'input_required', name: 'ask_twice' }, { outcome: 'unavailable', request: { id: 'request-1' } }
  ])
  t.equal(calls.length, 2)
})
