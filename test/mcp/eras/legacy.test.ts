import { LimitError } from '../../../src/errors/http-error.ts'
import t from 'tap'
import { Type } from 'typebox'
import { ToolError, defineTool } from '../../../src/define/tool.ts'
import { SessionNotFoundError } from '../../../src/mcp/sessions/session.ts'
import { StoreUnavailableError } from '../../../src/store/store.ts'
import { NO_LIMITS, asPrincipal, call, request, send, settle, startEngines, startSession } from '../../support/mcp.ts'
import { interactiveTools } from '../../support/interactive-tools.ts'
import { gate } from '../../support/gate.ts'

/** POST, GET and DELETE of the 2025 revisions; their streams have tests of their own. */

t.test('invalid messages are refused with a JSON-RPC error', async (t) => {
  const cluster = startEngines(t)
  const { post } = await startSession(cluster)
  const invalid = [
    {},
    { jsonrpc: '1.0', id: 1, method: 'ping' },
    { id: 1, method: 'ping' },
    { jsonrpc: '2.0', id: null, method: 'ping' },
    { jsonrpc: '2.0', id: {}, method: 'ping' },
    { jsonrpc: '2.0', id: 1.5, method: 'ping' },
    { jsonrpc: '2.0', id: [1], method: 'ping' },
    { jsonrpc: '2.0', id: true, method: 'ping' },
    { jsonrpc: '2.0', id: 'x'.repeat(257), method: 'ping' },
    { jsonrpc: '2.0', id: 'x'.repeat(1_048_576), method: 'ping' },
    { jsonrpc: '2.0', id: 1, method: 7 },
    { jsonrpc: '2.0', id: 1, method: ['ping'] },
    { jsonrpc: '2.0', method: 'ping', params: 'x' }
  ]
  for (const body of invalid) {
    const { status, body: answer } = await post(body)
    t.match(
      { status, answer },
      { status: 400, answer: { jsonrpc: '2.0', error: { code: -32600 } } },
      JSON.stringify(body).slice(0, 80)
    )
    t.ok(JSON.stringify(answer).length < 300, 'the response repeats nothing long')
  }
  for (const id of ['', 'x'.repeat(256), 0, -1, 2 ** 53 - 1, '__proto__']) {
    t.match(
      await post(request('ping', {}, id)),
      { status: 200, body: { id, result: {} } },
      `the id ${String(id).slice(0, 20)} is one`
    )
  }
  for (const method of ['__proto__', 'constructor', 'toString', 'hasOwnProperty', '', 'x'.repeat(10_000)]) {
    t.match(
      await post(request(method)),
      { status: 200, body: { id: 1, error: { code: -32601 } } },
      `method ${method.slice(0, 20)}`
    )
  }
  t.match(await post(call('constructor')), { body: { error: { code: -32602 } } })
})

t.test('an unsupported MCP-Protocol-Version is refused', async (t) => {
  const cluster = startEngines(t)
  const { post, get, end } = await startSession(cluster)
  const headers = { 'mcp-protocol-version': '1999-01-01' }
  for (const exchange of [await post(request('ping'), { headers }), await get({ headers }), await end({ headers })]) {
    t.match(exchange, {
      status: 400,
      body: { jsonrpc: '2.0', id: null, error: { message: /MCP-Protocol-Version must be one of 2025-11-25/ } }
    })
  }
  const { id } = await startSession(cluster)
  t.equal(
    (await send(cluster.engines[0]!, request('ping'), { headers: { 'mcp-session-id': id } })).status,
    200,
    'none is the session\'s own'
  )
})

t.test('batches are accepted up to 2025-03-26', async (t) => {
  const cluster = startEngines(t)
  for (const version of ['2024-11-05', '2025-03-26']) {
    const { post } = await startSession(cluster, { version })
    const { status, body } = await post([request('tools/list', {}, 1), {
      jsonrpc: '2.0',
      method: 'notifications/initialized'
    }, { jsonrpc: '2.0', id: 9, result: {} }, request('ping', {}, 2), request('nosuch', {}, '2')])
    t.equal(status, 200)
    t.same(
      new Set(body.map(({ id }: { id: unknown }) => id)),
      new Set([1, 2, '2']),
      'only requests get responses'
    )
    t.equal((await post([request('ping')])).body.length, 1, 'an array is answered with an array')
    t.match(
      await post([{ jsonrpc: '2.0', method: 'notifications/initialized' }, { jsonrpc: '2.0', id: 9, result: {} }]),
      { status: 202, answer: { body: null } }
    )
    const refused = {
      none: [],
      'too many': Array.from(
        { length: 101 },
        (_, id) => request('ping', {}, id)
      ),
      'no message among them': [request('ping'), 1],
      'the same id twice': [request('ping'), request('ping')]
    }
    for (const [name, batch] of Object.entries(refused)) {
      t.match(
        await post(batch),
        { status: 400, body: { id: null, error: { code: -32600 } } },
        name
      )
    }
    t.equal((await post(Array.from({ length: 100 }, (_, id) => request('ping', {}, id)))).body.length, 100)
  }
  for (const version of ['2025-06-18', '2025-11-25']) {
    const { post } = await startSession(cluster, { version })
    t.match(
      await post([request('ping')]),
      { status: 400, body: { error: { code: -32600, message: `Protocol version ${version} has no batches` } } }
    )
  }
})

t.test('notifications and responses are accepted with 202', async (t) => {
  const cluster = startEngines(t)
  const { post } = await startSession(cluster)
  const messages = [
    { jsonrpc: '2.0', method: 'notifications/initialized' },
    { jsonrpc: '2.0', method: 'notifications/roots/list_changed' },
    { jsonrpc: '2.0', method: 'notifications/nobody/knows', params: {} },
    { jsonrpc: '2.0', method: 'notifications/cancelled', params: { requestId: 'nothing' } },
    { jsonrpc: '2.0', method: 'notifications/cancelled', params: { requestId: {} } },
    { jsonrpc: '2.0', method: 'notifications/cancelled' },
    { jsonrpc: '2.0', id: 1, result: {} },
    { jsonrpc: '2.0', id: 'x', error: { code: 1, message: 'no' } }
  ]
  for (const message of messages) {
    t.match(
      await post(message),
      { status: 202, answer: { body: null } },
      JSON.stringify(message)
    )
  }
})

t.test('an id that is running in the session is refused; other sessions may use it', async (t) => {
  const { tool, started, open } = gate()
  const cluster = startEngines(t, { definitions: [tool] })
  const one = await startSession(cluster)
  const other = await startSession(cluster)
  const together = await Promise.all([
    Promise.race([one.post(call('gate'), { acceptsStream: false }), started]),
    one.post(request('ping', {}, 1))
  ])
  await started
  t.match(together[1], { status: 400, body: { error: { code: -32600, message: /already running in this session/ } } })
  t.equal((await one.post(request('ping', {}, '1'))).status, 200, '"1" is not 1')
  t.equal((await other.post(request('ping', {}, 1))).status, 200)
  open('done')
  await settle()
  t.equal((await one.post(request('ping', {}, 1))).status, 200, 'an id is free again after the response')
})

t.test('a call counts towards the limit until it ends', async (t) => {
  let running = 0
  const { tool, started, open } = gate()
  const cluster = startEngines(t, {
    definitions: [tool, ...interactiveTools],
    limits: {
      ...NO_LIMITS,
      beginCall () {
        if (running >= 2) throw new LimitError('too many', { retryAfterSeconds: 1, detail: '' })
        running++
        return () => { running-- }
      }
    }
  })
  const { post } = await startSession(cluster, { version: '2025-03-26' })
  await t.rejects(
    post([call('echo', { text: '' }), call('echo', { text: '' }, { id: 2 }), call('echo', { text: '' }, { id: 3 })]),
    LimitError
  )
  t.equal(running, 0, 'a refused batch starts nothing')
  const answer = post(call('gate'))
  await started
  t.equal(running, 1)
  await post([request('ping', {}, 5), call('echo', { text: '' }, { id: 6 })])
  t.equal(running, 1)
  open('done')
  await answer
  await settle()
  t.equal(running, 0)
})

t.test('a call is cancelled at any replica: the tool is aborted, and there is no response', async (t) => {
  for (const at of [0, 1]) {
    for (const streaming of [false, true]) {
      const { tool, started } = gate()
      const cluster = startEngines(t, { definitions: [tool] })
      const { post } = await startSession(cluster)
      const stranger = await startSession(cluster)
      const answering = post(call('gate', { progress: streaming }, { id: 7, _meta: { progressToken: 'p' } }))
      const { signal } = await started
      const events = streaming ? (await answering).events : undefined
      if (events !== undefined) t.match(await events.message(), { method: 'notifications/progress' })

      const cancelled = { jsonrpc: '2.0', method: 'notifications/cancelled', params: { requestId: 7 } }
      await stranger.post(cancelled, { at })
      await post({ ...cancelled, params: { requestId: '7' } }, { at })
      await settle()
      t.notOk(signal.aborted, 'not from another session, nor with another id')

      t.equal((await post(cancelled, { at })).status, 202)
      await settle()
      t.ok(signal.aborted)
      if (events !== undefined) t.same(await events.rest(), [])
      else t.match(await answering, { status: 202, answer: { body: null } })
      t.equal((await post(request('ping', {}, 7))).status, 200)
    }
  }
})

t.test('DELETE ends the running calls of the session at every replica', async (t) => {
  const { tool, started } = gate()
  const cluster = startEngines(t, { definitions: [tool, ...interactiveTools] })
  const { post, end } = await startSession(cluster)
  const other = await startSession(cluster)
  const answering = post(call('gate', {}, { id: 7 }))
  await started
  const others = other.post(call('wait', { ms: 50 }))
  t.equal((await end({ at: 1 })).status, 204)
  t.match(
    await answering,
    { status: 503, headers: { 'retry-after': '1' }, body: { error: { message: 'The session has ended' } } }
  )
  t.equal((await others).body.result.content[0].text, 'Waited 50 ms')
  await t.rejects(post(request('ping')), SessionNotFoundError)
})

t.test('disconnecting does not cancel a call in a session', async (t) => {
  const { tool, started, open } = gate()
  const cluster = startEngines(t, { definitions: [tool] })
  const { post } = await startSession(cluster)
  const client = new AbortController()
  const answering = post(call('gate'), { signal: client.signal })
  const { signal } = await started
  client.abort()
  await settle()
  t.notOk(signal.aborted)
  open('done')
  t.equal((await answering).body.result.content[0].text, 'done')
})

t.test('GET needs Accept: text/event-stream, and counts towards the limit of streams', async (t) => {
  let streams = 0
  const cluster = startEngines(t, {
    limits: {
      ...NO_LIMITS,
      beginStream () {
        streams++
        return () => { streams-- }
      }
    }
  })
  const { get } = await startSession(cluster)
  t.match(await get({ acceptsStream: false }), { status: 406 })
  for (const lastEventId of [
    '',
    'x',
    '1',
    's.1',
    's.1.2.3',
    's.-1.2',
    `s.${'9'.repeat(16)}.1`,
    'AAAAAAAAAAAA.BBBBBBBBBBBB',
    'AAAAAAAAAAAA.BBBBBBBBBBBB.x',
    '../AAAAAAAAA.BBBBBBBBBBBB.1',
    'x'.repeat(10_000)
  ]) {
    t.match(
      await get({ lastEventId }),
      { status: 400, body: { id: null, error: { code: -32000 } } },
      lastEventId.slice(0, 40)
    )
  }
  t.match(
    await get({ lastEventId: 'AAAAAAAAAAAA.BBBBBBBBBBBB.1' }),
    { status: 400, body: { error: { message: /no longer available/ } } }
  )
  t.equal(streams, 0)
  const { events } = await get()
  t.equal(streams, 1)
  await events.cut()
  t.equal(streams, 0)
  cluster.store.isDown = true
  await t.rejects(get())
  t.equal(streams, 0)
  cluster.store.isDown = false
  cluster.store.set = async () => { throw new StoreUnavailableError() }
  await t.rejects(get(), StoreUnavailableError)
  t.equal(streams, 0, 'a stream that could not start does not count')
})

t.test('two clients with the same JSON-RPC ids never get each other\'s messages', async (t) => {
  const slow = defineTool({
    name: 'slow',
    description: 'tells who it works for, and takes its time',
    input: Type.Object({ steps: Type.Integer() }),
    async handler ({ steps }, { principal, progress, logToClient }) {
      for (let step = 1; step <= steps; step++) {
        await progress(step, steps, principal!.subject)
        await logToClient('info', principal!.subject)
        await new Promise((resolve) => { setImmediate(resolve) })
      }
      return principal!.subject
    }
  })
  const cluster = startEngines(t, { definitions: [slow] })
  const people = await Promise.all([
    'ada',
    'bob'
  ].map(async (subject) => ({ subject, ...await startSession(cluster, { principal: asPrincipal(subject) }) })))
  let rounds = 0
  await Promise.all(people.map(async ({ subject, post, get }, person) => {
    for (let round = 0; round < 250; round++) {
      const { events } = await post(
        call('slow', { steps: 2 }, { id: round, _meta: { progressToken: round } }),
        { at: (round + person) % 2 }
      )
      const resumes = round % 5 === 0
      const first = resumes ? [await events.message()] : []
      if (resumes) await events.cut()
      const resumed = resumes ? await get({ lastEventId: events.lastEventId, at: round % 2 }) : undefined
      const messages = [
        ...first,
        ...resumed === undefined ? await events.rest() : resumed.status === 204 ? [] : await resumed.events.rest()
      ]
      const whose = messages.map(({ params, result }) => params?.message ?? params?.data ?? result?.content[0].text)
      if (whose.length === 5 && whose.every((name) => name === subject) && messages.at(-1).id === round) rounds++
    }
  }))
  t.equal(rounds, 500)
})

t.test('messages of a cancelled tool are dropped', async (t) => {
  let tell: (() => Promise<void>) | undefined
  const late = defineTool({
    name: 'late',
    description: 'tells when it is too late',
    input: Type.Object({}),
    async handler (_input, context) {
      tell = async () => { await context.logToClient('info', 'too late') }
      await context.logToClient('info', 'in time')
      throw new ToolError('enough')
    }
  })
  const cluster = startEngines(t, { definitions: [late] })
  const { post } = await startSession(cluster)
  const { events } = await post(call('late'))
  t.match(await events.rest(), [{ params: { data: 'in time' } }, { id: 1, result: { isError: true } }])
  await tell!()
  t.ok(events.hasEnded)
})
