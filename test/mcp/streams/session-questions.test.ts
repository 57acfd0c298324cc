import t from 'tap'
import type { JSONRPCResponse } from '@modelcontextprotocol/server'
import { createSessionQuestions } from '../../../src/mcp/streams/session-questions.ts'
import type { SessionQuestionsOptions } from '../../../src/mcp/streams/session-questions.ts'
import type { Session } from '../../../src/mcp/sessions/session.ts'

const SESSION = { digest: 'session' } as Session
const ROOTS = { method: 'roots/list' as const }

/** A client that answers each question with what `answer` makes of its id. */
function start (answer: (id: string) => JSONRPCResponse | undefined, timeoutMs: number) {
  const open = new Map<string, (response: JSONRPCResponse) => void>()
  const clientRequests: SessionQuestionsOptions['clientRequests'] = {
    create (_session, onResponse) {
      open.set('q1', onResponse)
      return 'q1'
    },
    discard (id) { open.delete(id) }
  }
  const queue: SessionQuestionsOptions['queue'] = async () => {
    const response = answer('q1')
    if (response !== undefined) open.get('q1')!(response)
  }
  return { ask: createSessionQuestions({ clientRequests, queue, timeoutMs }), open }
}

t.test('a client that answers with an error, or not in time, is waited for no longer', async (t) => {
  const error = { code: -32603, message: 'no folders' }
  const refusing = start((id) => ({ jsonrpc: '2.0', id, error }), 60_000)
  await t.rejects(refusing.ask(SESSION, ROOTS), { message: 'The client answered with an error: no folders' })
  const silent = start(() => undefined, 10)
  await t.rejects(silent.ask(SESSION, ROOTS), { message: 'The client did not answer in time' })
  const away = start(() => { throw new Error('The store is away') }, 60_000)
  await t.rejects(away.ask(SESSION, ROOTS), { message: 'The store is away' })
  t.same([refusing.open.size, silent.open.size, away.open.size], [0, 0, 0])
})

t.test('the result is that of the answer', async (t) => {
  const { ask } = start((id) => ({ jsonrpc: '2.0', id, result: { roots: [] } }), 60_000)
  t.same(await ask(SESSION, ROOTS), { roots: [] })
})
