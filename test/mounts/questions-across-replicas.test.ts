import t from 'tap'
import type { Test } from 'tap'
import { ProtocolError } from '@modelcontextprotocol/server'
import type { ElicitResult, ServerContext } from '@modelcontextprotocol/server'
import { Redis } from 'ioredis'
import { connectAsked } from '../support/asked-clients.ts'
import { ownRedisForTests } from '../support/redis.ts'
import { startReplicaProcesses, startReplicas } from '../support/replicas.ts'
import type { Replicas } from '../support/replicas.ts'
import { modernRequest } from '../support/seed.ts'
import { until } from '../support/until.ts'
import { startUpstream, writeMounts } from '../support/upstream.ts'
import type { Upstream } from '../support/upstream.ts'

/** A server of 2025 asks while a call runs, and the answer of a client of 2026-07-28 reaches another replica. */

const requestedSchema = { type: 'object' as const, properties: { name: { type: 'string' as const } } }
const text = (value: string) => ({ content: [{ type: 'text' as const, text: value }] })
const ask = async ({ mcpReq }: ServerContext, message: string, signal?: AbortSignal): Promise<ElicitResult> =>
  await mcpReq.send({ method: 'elicitation/create', params: { message, requestedSchema } }, signal && { signal })
const askName = async (context: ServerContext, message: string): Promise<string> =>
  String((await ask(context, message)).content?.['name'])
const inputResponses = { question: { action: 'accept', content: { name: 'Ada' } } }

/** The result, or the error, of a call at one replica; the messages of a stream before it go to `notifications`. */
interface Answer { result: any, error?: { code: number, message: string, data?: unknown }, notifications: any[] }

/** Sends a call of 2026-07-28 to one of the replicas. */
function caller ({ at, url, token }: Pick<Replicas, 'at' | 'url' | 'token'>) {
  return async (
    index: number,
    params: { requestState?: string, inputResponses?: object, _meta?: object },
    { signal, capabilities = { elicitation: { form: {} } } }: { signal?: AbortSignal, capabilities?: object } = {}
  ): Promise<Answer> => {
    const { body, headers } = modernRequest('tools/call', { name: 'odd_add', arguments: {}, ...params }, 1, capabilities as never)
    const message = JSON.parse(body)
    Object.assign(message.params._meta, params._meta)
    const response = await at(index)(`${url}/mcp`, {
      method: 'POST',
      body: JSON.stringify(message),
      signal: signal ?? null,
      headers: {
        'content-type': 'application/json',
        accept: 'application/json, text/event-stream',
        authorization: `Bearer ${await token('ada')}`,
        ...headers
      }
    })
    const received = await response.text()
    const messages = received.startsWith('{')
      ? [JSON.parse(received)]
      : [...received.matchAll(/^data: (\{.*)$/gm)].map(([, data]) => JSON.parse(data!))
    return { ...messages.at(-1), notifications: messages.slice(0, -1) }
  }
}

/** Two replicas with a mounted server, which are ready for its tools. */
async function start (t: Test, env: Record<string, string> = {}, mount: object = {}) {
  const redisUrl = (await ownRedisForTests(t))?.url
  if (redisUrl === undefined) return undefined
  const upstream = await startUpstream(t, 'session')
  upstream.capabilities = { ...upstream.capabilities, logging: {} }
  const SEED_MOUNTS = await writeMounts({
    odd: { url: upstream.url, connection: 'session', connectTimeoutSeconds: 60, ...mount }
  })
  const replicas = await startReplicas(t, { redisUrl, env: { SEED_MOUNTS, ...env } })
  const call = caller(replicas)
  await untilMounted(call)
  return { redisUrl, upstream, replicas, call }
}

async function untilMounted (call: ReturnType<typeof caller>): Promise<void> {
  for (const index of [0, 1]) await until(async () => (await call(index, {})).result?.content !== undefined, 'the server is mounted')
}

/** Has a call ask for a name at the first replica. @returns the state to send with the answer */
async function askAtFirst ({ call }: { call: ReturnType<typeof caller> }): Promise<{ requestState: string }> {
  const { result: { resultType, requestState } } = await call(0, {})
  if (resultType !== 'input_required') throw new Error(`The call is not asked for input: ${resultType}`)
  return { requestState }
}

/** A promise, and what resolves it. */
function gate (): { opened: Promise<void>, open (): void } {
  let open!: () => void
  const opened = new Promise<void>((resolve) => { open = resolve })
  return { opened, open }
}

const BURST = [...Array(200).keys()]

/** Sends log messages, and progress between them. */
async function logBurst ({ mcpReq }: ServerContext): Promise<void> {
  for (const number of BURST) {
    await mcpReq.log('info', number)
    await mcpReq.notify({
      method: 'notifications/progress', params: { progressToken: mcpReq._meta!.progressToken!, progress: number }
    })
  }
}

const loggedIn = ({ notifications }: Answer): unknown[] =>
  notifications.filter(({ method }) => method === 'notifications/message').map(({ params }) => params.data)

const countCalls = ({ messages }: Upstream): number => messages.filter(({ method }) => method === 'tools/call').length

t.test('processes: each answer of a client may reach another replica, until the one that holds the call is killed', async (t) => {
  const redisUrl = (await ownRedisForTests(t))?.url
  if (redisUrl === undefined) return
  const upstream = await startUpstream(t, 'session')
  const SEED_MOUNTS = await writeMounts({ odd: { url: upstream.url, connection: 'session' } })
  const replicas = await startReplicaProcesses(t, { redisUrl, env: { SEED_MOUNTS } })
  const call = caller(replicas)
  await untilMounted(call)
  const before = countCalls(upstream)

  upstream.call = async (_name, _args, context) => {
    const names = []
    for (const message of ['One?', 'Two?', 'Three?', 'Four?']) names.push(await askName(context, message))
    return text(names.join())
  }
  const token = await replicas.token('ada')
  const client = await connectAsked(t, 'modern', replicas, { token, fetch: replicas.roundRobin })
  t.equal(await client.call('odd_add'), 'One? Ada,Two? Ada,Three? Ada,Four? Ada')
  t.equal(countCalls(upstream), before + 1, 'one call')

  // A killed replica ends no session, so what it was asked would be waited for.
  const over = new AbortController()
  t.teardown(() => { over.abort() })
  const goesOn = gate()
  upstream.call = async (_name, _args, context) => {
    await ask(context, 'Sure?', over.signal)
    goesOn.open()
    return await new Promise(() => {})
  }
  const [first, waiting] = [await askAtFirst({ call }), await askAtFirst({ call })]
  const going = call(1, { ...waiting, inputResponses })
  await goesOn.opened
  const { child, ended } = replicas.processes[0]!
  child.kill('SIGKILL')
  await ended
  const stopped = { isError: true, content: [{ text: 'The server that ran this call has stopped; it is unknown how far the call got' }] }
  t.match((await going).result, stopped, 'while it runs')
  t.match((await call(1, { ...first, inputResponses })).result, stopped, 'and before it goes on')
})

t.test('what a call returns at another replica is whole: large results, progress and errors', async (t) => {
  const started = await start(t)
  if (started === undefined) return
  const { upstream, call } = started
  const large = '👍 wörld '.repeat(500_000)
  upstream.call = async (_name, _args, context) => {
    const { mcpReq } = context
    await ask(context, 'Sure?')
    const { progressToken } = mcpReq._meta!
    await mcpReq.notify({ method: 'notifications/progress', params: { progressToken: progressToken!, progress: 1, total: 2, message: 'half' } })
    await mcpReq.log('warning', { paper: 'low' })
    return { ...text(large), _meta: { 'example.com/kept': true } }
  }
  const meta = { _meta: { progressToken: 'p', 'io.modelcontextprotocol/logLevel': 'info' } }
  const { result: { requestState } } = await call(0, meta)
  const { result, notifications } = await call(1, { ...meta, requestState, inputResponses })
  t.ok(result.content[0].text === large)
  t.match(result._meta, { 'example.com/kept': true })
  t.match(notifications, [
    { method: 'notifications/progress', params: { progressToken: 'p', progress: 1, total: 2, message: 'half' } },
    { method: 'notifications/message', params: { level: 'warning', logger: 'odd', data: { paper: 'low' } } }
  ])

  const goOn = async (): Promise<Answer> => await call(1, { ...await askAtFirst({ call }), inputResponses })
  upstream.call = async (_name, _args, context) => {
    await ask(context, 'Sure?')
    throw new ProtocolError(-31_050, 'Nobody is here', { who: 'Ada' })
  }
  t.same((await goOn()).error, { code: -31_050, message: 'Nobody is here', data: { who: 'Ada' } })
  upstream.call = async (_name, _args, context) => {
    await ask(context, 'Sure?')
    return { isError: true, ...text('out of paper') }
  }
  t.match((await goOn()).result, { isError: true, content: [{ text: 'out of paper' }] })
  upstream.call = async (_name, _args, context) => {
    await ask(context, 'Sure?')
    return await new Promise(() => { upstream.stop() })
  }
  t.match((await goOn()).result, { isError: true, content: [{ text: /The server behind odd is not available/ }] })
})

t.test('each log message of a burst reaches the client at another replica, in order, before the next question or the result', async (t) => {
  const started = await start(t)
  if (started === undefined) return
  const { upstream, call } = started
  upstream.call = async (_name, _args, context) => {
    await ask(context, 'First?')
    await logBurst(context)
    await ask(context, 'Second?')
    await logBurst(context)
    return text('done')
  }
  const meta = { _meta: { progressToken: 'p', 'io.modelcontextprotocol/logLevel': 'info' } }
  const { result: { requestState } } = await call(0, meta)
  const second = await call(1, { ...meta, requestState, inputResponses })
  t.equal(second.result.resultType, 'input_required')
  t.same(loggedIn(second), BURST)
  const last = await call(1, { ...meta, requestState: second.result.requestState, inputResponses })
  t.match(last.result, text('done'))
  t.same(loggedIn(last), BURST)
})

t.test('an answer continues a call at another replica just when the store has started anew, without heartbeats', async (t) => {
  const started = await start(t)
  if (started === undefined) return
  const { redisUrl, upstream, call } = started
  const redis = new Redis(redisUrl)
  t.teardown(() => { redis.disconnect() })
  upstream.call = async (_name, _args, context) => text(await askName(context, 'Name?'))
  const first = await askAtFirst({ call })
  const heartbeats = await redis.keys('*replica:*')
  t.equal(heartbeats.length, 2)
  await redis.del(heartbeats)
  t.match((await call(1, { ...first, inputResponses })).result.content, [{ text: 'Ada' }])
})

t.test('a result that is too large is refused at another replica as anywhere', async (t) => {
  const started = await start(t, { MCP_MAX_RESULT_BYTES: '10000' }, { maxResponseBytes: 100_000 })
  if (started === undefined) return
  const { upstream, call } = started
  upstream.call = async (_name, _args, context) => {
    await ask(context, 'Sure?')
    return text('x'.repeat(20_000))
  }
  const { result } = await call(1, { ...await askAtFirst({ call }), inputResponses })
  t.match(result, { isError: true, content: [{ text: /returned more than 10000 bytes/ }] })
})

t.test('a call is cancelled when its client goes while another replica continues it', async (t) => {
  const started = await start(t)
  if (started === undefined) return
  const { upstream, call } = started
  let cancelled = 0
  const answered = gate()
  upstream.call = async (_name, _args, context) => {
    context.mcpReq.signal.addEventListener('abort', () => { cancelled++ })
    await ask(context, 'Sure?')
    answered.open()
    return await new Promise(() => {})
  }
  const abort = new AbortController()
  const going = call(1, { ...await askAtFirst({ call }), inputResponses }, { signal: abort.signal }).catch(() => {})
  await answered.opened
  abort.abort()
  await going
  await until(() => cancelled === 1, 'the server knows it')
})

t.test('a person whose calls wait in too great a number is asked no more, at whichever replica', async (t) => {
  const started = await start(t)
  if (started === undefined) return
  const { upstream, call } = started
  const answered = gate()
  const others = gate()
  upstream.call = async (_name, _args, context) => {
    await ask(context, 'Sure?')
    answered.open()
    await others.opened
    return text(await ask(context, 'Really?').then(() => 'answered', (err: Error) => err.message))
  }
  const second = await askAtFirst({ call })
  for (let count = 0; count < 9; count++) await askAtFirst({ call })
  const going = call(1, { ...second, inputResponses })
  await answered.opened
  await askAtFirst({ call })
  others.open()
  t.match((await going).result.content, [{ text: /Too many calls wait for an answer/ }])
})

t.test('a client that cannot be asked any more at another replica is no end of the call', async (t) => {
  const started = await start(t)
  if (started === undefined) return
  const { upstream, call } = started
  upstream.call = async (_name, _args, context) => {
    await ask(context, 'Sure?')
    return text(await ask(context, 'Really?').then(() => 'answered', (err: Error) => err.message))
  }
  const first = await askAtFirst({ call })
  const roots = { capabilities: { roots: {} } }
  t.match((await call(1, { ...first, inputResponses }, roots)).result.content, [{ text: /cannot be asked for elicitation\/create/ }])
})

t.test('a server that asks without end a client that cannot be asked is refused at the replica that runs the call', async (t) => {
  const started = await start(t)
  if (started === undefined) return
  const { redisUrl, upstream, call } = started
  const redis = new Redis(redisUrl)
  t.teardown(() => { redis.disconnect() })
  const handedOver = new Set<string>()
  redis.on('pmessage', (_pattern, _channel, message: string) => {
    const { kind, call: id } = JSON.parse(message) as { kind: string, call: string }
    if (kind === 'held-call-continued') handedOver.add(id)
  })
  await redis.psubscribe('*replicas:*')
  upstream.call = async (_name, _args, context) => {
    await ask(context, 'Sure?')
    const refusals = []
    for (let count = 0; count < 40; count++) {
      refusals.push(...await Promise.all(['Really?', 'Quite?'].map(async (question) =>
        await ask(context, question).then(() => 'answered', (err: Error) => err.message))))
    }
    return text(refusals.join())
  }
  const first = await askAtFirst({ call })
  const { result } = await call(1, { ...first, inputResponses }, { capabilities: { roots: {} } })
  t.equal(result.content[0].text.match(/cannot be asked for elicitation\/create/g).length, 80)
  t.equal(handedOver.size, 31)
})

t.test('notes without an end reach the client of another replica in part, and its result whole', async (t) => {
  const started = await start(t)
  if (started === undefined) return
  const { upstream, call } = started
  upstream.call = async (_name, _args, context) => {
    const { mcpReq } = context
    await ask(context, 'Sure?')
    const message = 'x'.repeat(60_000)
    for (let progress = 0; progress < 300; progress++) {
      await mcpReq.notify({ method: 'notifications/progress', params: { progressToken: mcpReq._meta!.progressToken!, progress, message } })
    }
    return text('done')
  }
  const meta = { _meta: { progressToken: 'p' } }
  const { result: { requestState } } = await call(0, meta)
  const { result, notifications } = await call(1, { ...meta, requestState, inputResponses })
  t.match(result.content, [{ text: 'done' }])
  t.ok(notifications.length >= 1 && notifications.length <= 17, `${notifications.length} notifications`)
})

t.test('a round without the answer is asked again, by another replica too', async (t) => {
  const started = await start(t)
  if (started === undefined) return
  const { upstream, call } = started
  upstream.call = async (_name, _args, context) => text(await askName(context, 'Name?'))
  const first = await askAtFirst({ call })
  const { result } = await call(1, first)
  t.match(result, { resultType: 'input_required', inputRequests: { question: { params: { message: 'Name?' } } } })
  const { requestState } = result
  t.match((await call(1, { requestState, inputResponses })).result.content, [{ text: 'Ada' }])
  const { error } = await call(0, { ...first, inputResponses })
  t.match(error, { code: -32_602, message: 'Invalid or expired requestState' }, 'answered once')
})
