import t from 'tap'
import type { Test } from 'tap'
import type { InputRequest, ResultTypeMap, ServerContext, Tool } from '@modelcontextprotocol/server'
import { connectAsked } from '../support/asked-clients.ts'
import type { AskedClientOptions } from '../support/asked-clients.ts'
import { getTokens, startBroker } from '../support/broker.ts'
import { ERAS, startOpenServer } from '../support/open-server.ts'
import type { OpenServer } from '../support/open-server.ts'
import { modernRequest, postMcp } from '../support/seed.ts'
import { until } from '../support/until.ts'
import { startMounted, startUpstream, writeMounts } from '../support/upstream.ts'
import type { Upstream } from '../support/upstream.ts'

/** Servers of the 2025 revisions, which ask while a call runs. */

type Method = InputRequest['method']
interface Question<M extends Method = Method> { method: M, params?: Record<string, unknown> }

const requestedSchema = { type: 'object' as const, properties: { name: { type: 'string' as const } } }
const form = (message: string) => ({ method: 'elicitation/create' as const, params: { message, requestedSchema } })
const text = (value: unknown) => ({ content: [{ type: 'text' as const, text: JSON.stringify(value) }] })
const ask = async <M extends Method>({ mcpReq }: ServerContext, question: Question<M>): Promise<ResultTypeMap[M]> =>
  await mcpReq.send(question)
/** Asks for a name. */
const askName = async (context: ServerContext, message: string): Promise<string> =>
  String((await ask(context, form(message))).content?.['name'])

async function start (t: Test, mount: object = {}): Promise<{ upstream: Upstream, seed: OpenServer }> {
  const upstream = await startUpstream(t, 'session')
  const seed = await startMounted(t, { odd: { url: upstream.url, connection: 'session', ...mount } })
  return { upstream, seed }
}

t.test('tools that a server of 2025 offers only to clients that can be asked are offered with connection: session', async (t) => {
  const upstream = await startUpstream(t, 'session')
  const [add] = upstream.tools as [Tool]
  upstream.toolsFor = ({ elicitation, sampling, roots }) => [
    add,
    ...(elicitation?.form === undefined ? [] : [{ ...add, name: 'form' }]),
    ...(elicitation?.url === undefined ? [] : [{ ...add, name: 'page' }]),
    ...(sampling === undefined ? [] : [{ ...add, name: 'sample' }]),
    ...(roots === undefined ? [] : [{ ...add, name: 'roots' }])
  ]
  upstream.call = async (name, _args, context) => text(await askName(context, name))
  const seed = await startMounted(t, {
    own: { url: upstream.url, connection: 'session' }, all: { url: upstream.url, connection: 'shared' }
  })
  t.match((await upstream.ask(form('x'))).sort(), [/connection: session/, /no call to which/],
    'what is asked outside of any call is refused, on the connections that fetch the lists')
  const { client, call, questions } = await connectAsked(t, 'legacy', seed)
  const { tools } = await client.listTools()
  t.same(tools.map(({ name }) => name).filter((name) => !name.startsWith('seed_')),
    ['all_add', 'own_add', 'own_form', 'own_page', 'own_roots', 'own_sample'])
  t.equal(await call('own_form'), '"form Ada"')
  t.match(questions, [form('form')])
})

t.test('protocolVersion keeps to the revisions of 2025, whatever newer one the server knows', async (t) => {
  const upstream = await startUpstream(t, 'session')
  upstream.call = async (name, _args, context) => text(await askName(context, name))
  const url = upstream.url
  await startMounted(t, { odd: { url } })
  t.equal(upstream.messages[0]!.method, 'server/discover')
  upstream.messages.length = 0
  const seed = await startMounted(t, { odd: { url, connection: 'session', protocolVersion: '2025-11-25' } })
  const { call } = await connectAsked(t, 'modern', seed)
  t.equal(await call('odd_add'), '"add Ada"')
  t.same(upstream.messages.filter(({ method }) => ['server/discover', 'initialize'].includes(String(method)))
    .map(({ method, params }) => [method, params.protocolVersion]),
  [['initialize', '2025-11-25'], ['initialize', '2025-11-25']], 'neither for the lists nor for the session')
})

for (const era of ERAS) {
  t.test(`a mounted server of 2025 asks a ${era} client for forms, pages, messages and roots while a call runs`, async (t) => {
    const { upstream, seed } = await start(t)
    let runs = 0
    upstream.call = async (_name, _args, context) => {
      runs++
      const answers = []
      for (const question of [
        form('Name?'),
        { method: 'elicitation/create', params: { mode: 'url', message: 'Sign', url: 'https://forms.example/1', elicitationId: 'e1' } },
        { method: 'sampling/createMessage', params: { messages: [], maxTokens: 9 } },
        { method: 'roots/list' }
      ]) answers.push(await ask(context, question as Question))
      return text(answers)
    }
    const { call, questions } = await connectAsked(t, era, seed)
    t.match(JSON.parse(await call('odd_add')), [
      { action: 'accept', content: { name: 'Name? Ada' } },
      { action: 'accept' },
      { role: 'assistant', content: { text: 'a poem' } },
      { roots: [{ uri: 'file:///home/ada' }] }
    ])
    t.equal(runs, 1, 'the call goes on where it was')
    t.match(questions, [
      form('Name?'), { params: { url: 'https://forms.example/1' } }, { method: 'sampling/createMessage' }, { method: 'roots/list' }
    ])
    t.equal(questions[1]!.params.elicitationId, era === 'legacy' ? 'e1' : undefined)
  })

  t.test(`questions at once are put to a ${era} client one after the other, those of a prompt and a resource too`, async (t) => {
    const { upstream, seed } = await start(t)
    upstream.call = async (_name, _args, context) =>
      text(await Promise.all([1, 2, 3].map(async (n) => await askName(context, `Q${n}`))))
    let open = 0
    const { call, client } = await connectAsked(t, era, seed, {
      async fillIn (message) {
        t.equal(open++, 0)
        await new Promise((resolve) => { setTimeout(resolve, 5) })
        open--
        return { action: 'accept', content: { name: message } }
      }
    })
    t.equal(await call('odd_add'), '["Q1","Q2","Q3"]')
    upstream.answer = async (context) => ({
      messages: [{ role: 'user', content: { type: 'text', text: await askName(context, 'Prompt') } }]
    })
    t.match((await client.getPrompt({ name: 'odd_greet', arguments: { who: 'x' } })).messages, [{ content: { text: 'Prompt' } }])
    upstream.answer = async (context) => ({
      contents: [{ uri: 'notes://1', text: await askName(context, 'Resource') }]
    })
    t.match((await client.readResource({ uri: 'odd+notes://1' })).contents, [{ text: 'Resource' }])
  })

  t.test(`a mounted server of 2025 gets clear errors for what a ${era} client does not declare`, async (t) => {
    const { upstream, seed } = await start(t)
    upstream.call = async (_name, _args, context) => {
      const refused = async (question: object): Promise<string> =>
        await ask(context, question as Question).then(() => 'answered', (err: Error) => err.message)
      return text([
        await refused(form('x')),
        await refused({ method: 'sampling/createMessage', params: { messages: [], maxTokens: 9 } }),
        await refused({ method: 'elicitation/create', params: { mode: 'url', message: 'x', url: 'javascript:alert(1)', elicitationId: '1' } })
      ])
    }
    for (const [capabilities, errors] of [
      [{}, [/connection: session/, /connection: session/, /connection: session/]],
      [{ elicitation: { url: {} } }, [/does not support form-mode/, /connection: session/, /URL must be https or http/]]
    ] as const) {
      const { call, questions } = await connectAsked(t, era, seed, { capabilities } as AskedClientOptions)
      t.match(JSON.parse(await call('odd_add')), errors)
      t.same(questions, [])
    }
  })

  t.test(`a ${era} client that answers with an error does not end the call of a mounted server`, async (t) => {
    const { upstream, seed } = await start(t)
    upstream.call = async (_name, _args, context) =>
      text(await ask(context, form('x')).then(({ action }) => action, (err: Error) => err.message))
    const { call } = await connectAsked(t, era, seed, {
      fillIn () {
        if (era === 'legacy') throw new Error('not today')
        return { action: 'decline' }
      }
    })
    t.match(await call('odd_add'), era === 'legacy' ? /The client answered with an error: .*not today/ : /decline/)
  })
}

t.test('over a shared connection a mounted server of 2025 can ask nobody, and is told why', async (t) => {
  const { upstream, seed } = await start(t, { connection: 'shared' })
  upstream.call = async (_name, _args, context) =>
    text(await ask(context, form('x')).catch((err: Error) => err.message))
  for (const era of ERAS) {
    const { call, questions } = await connectAsked(t, era, seed)
    t.match(await call('odd_add'), /connection: session/)
    t.same(questions, [])
  }
})

/** Sends a call of 2026-07-28 as plain HTTP. */
async function send (
  seed: { url: string },
  params: object,
  token?: string,
  signal?: AbortSignal,
  capabilities: Record<string, unknown> = {}
) {
  const declared = { elicitation: { form: {} }, ...capabilities }
  const request = modernRequest('tools/call', { name: 'odd_add', arguments: {}, ...params }, 1, declared)
  return (await postMcp(seed, request, token, signal)).body
}

t.test('nobody gets a question of another person or session, and nobody answers for another', async (t) => {
  const upstream = await startUpstream(t, 'session')
  upstream.call = async (_name, { who }, context) => text((await ask(context, form(`For ${who}`))).content)
  const seed = await startBroker(t, {
    definitions: [],
    timings: { mountsWaitMs: 60_000 },
    env: { SEED_MOUNTS: await writeMounts({ odd: { url: upstream.url, connection: 'session', connectTimeoutSeconds: 60 } }) }
  })
  const tokens = { ada: (await getTokens(seed, { login: 'ada' })).accessToken, bob: (await getTokens(seed, { login: 'bob' })).accessToken }
  const clients = await Promise.all((['ada', 'bob'] as const).flatMap((who) => ERAS.map(async (era) => {
    const client = await connectAsked(t, era, seed, {
      token: tokens[who], fillIn: (message) => ({ action: 'accept', content: { name: `${message} by ${who} ${era}` } })
    })
    return { who, era, ...client }
  })))
  await Promise.all(clients.map(async ({ who, era, call, questions }) => {
    const answers = await Promise.all([1, 2, 3].map(async (n) => await call('odd_add', { who: `${who} ${era} ${n}` })))
    t.same(answers, [1, 2, 3].map((n) => JSON.stringify({ name: `For ${who} ${era} ${n} by ${who} ${era}` })))
    t.equal(questions.length, 3)
  }))

  const { result: { requestState } } = await send(seed, { arguments: { who: 'ada' } }, tokens.ada)
  const inputResponses = { question: { action: 'accept', content: { name: 'Bob' } } }
  const stolen = await send(seed, { arguments: { who: 'ada' }, requestState, inputResponses }, tokens.bob)
  t.match(stolen.error, { code: -32_602, message: 'Invalid or expired requestState' })
  const { result } = await send(seed, { arguments: { who: 'ada' }, requestState, inputResponses }, tokens.ada)
  t.match(result.content, [{ text: '{"name":"Bob"}' }])

  for (let count = 0; count < 10; count++) {
    const capabilities = count % 2 === 0 ? {} : { roots: {} }
    const { result } = await send(seed, { arguments: { who: count } }, tokens.ada, undefined, capabilities)
    t.match(result, { resultType: 'input_required' })
  }
  for (const capabilities of [{}, { roots: {} }, { sampling: {} }]) {
    const { error } = await send(seed, {}, tokens.ada, undefined, capabilities)
    t.match(error, { message: /Too many calls wait for an answer/ }, 'whatever the client declares')
  }
  t.match((await send(seed, {}, tokens.bob)).result, { resultType: 'input_required' }, 'others are not affected')
})

t.test('without sign-in the calls of one address that wait leave others their place', async (t) => {
  const upstream = await startUpstream(t, 'session')
  upstream.call = async (_name, _args, context) =>
    text(await ask(context, form('x')).catch((err: Error) => err.message))
  const SEED_MOUNTS = await writeMounts({ odd: { url: upstream.url, connection: 'session', connectTimeoutSeconds: 60 } })
  const seed = await startOpenServer(t, [], { SEED_MOUNTS, TRUST_PROXY: '127.0.0.1' }, { mountsWaitMs: 60_000 })
  const callFrom = async (address: string) => {
    const request = modernRequest('tools/call', { name: 'odd_add', arguments: {} }, 1, { elicitation: { form: {} } })
    return (await postMcp(seed, { ...request, headers: { ...request.headers, 'x-forwarded-for': address } })).body.result
  }
  for (let count = 0; count < 10; count++) {
    t.match(await callFrom(`2001:db8::${count}`), { resultType: 'input_required' })
  }
  t.match((await callFrom('2001:db8::99')).content, [{ text: /Too many calls wait for an answer/ }])
  t.match(await callFrom('198.51.100.7'), { resultType: 'input_required' })
})

t.test('a round without the answer is asked again', async (t) => {
  const { upstream, seed } = await start(t)
  let cancelled = 0
  upstream.call = async (_name, _args, context) => {
    context.mcpReq.signal.addEventListener('abort', () => { cancelled++ })
    return text((await ask(context, form('x'))).action)
  }
  const first = (await send(seed, {})).result
  t.match(first, { resultType: 'input_required', inputRequests: { question: form('x') } })
  const again = (await send(seed, { requestState: first.requestState })).result
  t.match(again, { resultType: 'input_required', inputRequests: { question: form('x') } })
  const inputResponses = { question: { action: 'decline' } }
  t.match((await send(seed, { requestState: again.requestState, inputResponses })).result.content, [{ text: '"decline"' }])
  t.equal(cancelled, 0)
})

t.test('a question that is too deep to be passed on is refused', async (t) => {
  const { upstream, seed } = await start(t)
  let deep: object = {}
  for (let level = 0; level < 600; level++) deep = { a: deep }
  upstream.call = async (_name, _args, context) => {
    const question = form('Name?')
    const params = { ...question.params, _meta: { deep } }
    return text(await ask(context, { ...question, params }).then(() => 'answered', (err: Error) => err.message))
  }
  const { call, questions } = await connectAsked(t, 'legacy', seed)
  t.match(await call('odd_add'), /sent more than 500 levels of JSON/)
  t.same(questions, [])
})

t.test('what a server of 2025 asks outside of a call goes to the call that runs in the session, or to nobody', async (t) => {
  const { upstream, seed } = await start(t)
  upstream.call = async () => text(await upstream.ask(form('x')))
  const { call, questions } = await connectAsked(t, 'legacy', seed)
  const answers = JSON.parse(await call('odd_add'))
  t.match(answers.find((answer: unknown) => typeof answer === 'object'), { action: 'accept' })
  t.equal(questions.length, 1)
  t.match((await upstream.ask(form('y'))).join(), /no call to which the request could belong/)
  t.equal(questions.length, 1)
})

t.test('a server of 2025 with a connection for each session completes arguments of clients without a session', async (t) => {
  const { seed } = await start(t)
  const { response } = await seed.send('modern', 'completion/complete', {
    ref: { type: 'ref/prompt', name: 'odd_greet' }, argument: { name: 'who', value: 'a' }
  })
  t.match(response.result.completion, { values: Array })
})

t.test('ten questions of one call wait at most', async (t) => {
  const { upstream, seed } = await start(t)
  upstream.call = async (_name, _args, context) => text(await Promise.all(Array.from({ length: 12 }, async (_, n) =>
    await ask(context, form(`Q${n}`)).then(({ action }) => action, (err: Error) => err.message))))
  const { call, questions } = await connectAsked(t, 'legacy', seed, {
    async fillIn () {
      await until(() => upstream.messages.some((message) => /Too many/.test(JSON.stringify(message))), 'the others are refused')
      return { action: 'decline' }
    }
  })
  const answers = JSON.parse(await call('odd_add')) as string[]
  t.equal(answers.filter((answer) => answer === 'decline').length, 10)
  t.match(answers.filter((answer) => answer !== 'decline'), [/Too many questions wait/, /Too many questions wait/])
  t.equal(questions.length, 10)
})

t.test('what a server of 2025 answers without waiting for the person is the result of the next round', async (t) => {
  const { upstream, seed } = await start(t)
  let finish = (): void => {}
  upstream.call = async (_name, _args, context) => {
    ask(context, form('x')).catch(() => {})
    await new Promise<void>((resolve) => { finish = resolve })
    return text('no longer needed')
  }
  const { requestState } = (await send(seed, {})).result
  finish()
  const { result } = await send(seed, { requestState, inputResponses: { question: { action: 'decline' } } })
  t.match(result.content, [{ text: '"no longer needed"' }])

  const { client, call, questions } = await connectAsked(t, 'legacy', seed, {
    fillIn: async () => {
      finish()
      return await new Promise(() => {})
    }
  })
  t.ok(client)
  t.equal(await call('odd_add'), '"no longer needed"')
  t.equal(questions.length, 1)
})

t.test('an answer reaches the call that has asked, also from a client that declares nothing any more', async (t) => {
  const upstream = await startUpstream(t, 'session')
  upstream.call = async (_name, _args, context) => text((await ask(context, form('x'))).action)
  const SEED_MOUNTS = await writeMounts({ odd: { url: upstream.url, connection: 'session', connectTimeoutSeconds: 60 } })
  const seed = await startBroker(t, { definitions: [], timings: { mountsWaitMs: 60_000 }, env: { SEED_MOUNTS } })
  const { accessToken } = await getTokens(seed, { login: 'ada' })
  const { result: { requestState } } = await send(seed, {}, accessToken)
  const answer = { requestState, inputResponses: { question: { action: 'decline' } } }
  const { result } = await send(seed, answer, accessToken, undefined, { elicitation: undefined })
  t.match(result, { content: [{ text: '"decline"' }] })
})

t.test('a call that has ended waits for nobody: others are asked, and the latest results are kept', async (t) => {
  const upstream = await startUpstream(t, 'session')
  let finish = (): void => {}
  upstream.call = async (_name, { waits }, context) => {
    const asked = ask(context, form('x')).then(({ action }) => action, (err: Error) => err.message)
    if (waits === true) return text(await asked)
    return text(await Promise.race([asked, new Promise<string>((resolve) => { finish = () => { resolve('done') } })]))
  }
  const SEED_MOUNTS = await writeMounts({ odd: { url: upstream.url, connection: 'session', connectTimeoutSeconds: 60 } })
  const seed = await startBroker(t, { definitions: [], timings: { mountsWaitMs: 60_000 }, env: { SEED_MOUNTS } })
  const { accessToken } = await getTokens(seed, { login: 'ada' })
  const start = async (params: object = {}) => (await send(seed, params, accessToken)).result
  const inputResponses = { question: { action: 'decline' } }
  const states: string[] = []
  for (let count = 0; count < 10; count++) {
    states.push((await start()).requestState)
    finish()
  }
  const waiting = { arguments: { waits: true } }
  for (let count = 0; count < 5; count++) {
    await until(async () => (await start(waiting))?.resultType === 'input_required', 'the client is asked')
  }
  t.match(await start({ requestState: states[0], inputResponses }),
    { isError: true, content: [{ text: 'The call that asked is no longer open here: call again' }] })
  t.match(await start({ requestState: states[9], inputResponses }), { content: [{ text: '"done"' }] })
  for (let count = 0; count < 5; count++) t.match(await start(waiting), { resultType: 'input_required' })
  t.match((await start(waiting)).content, [{ text: /Too many calls wait for an answer/ }])
})

t.test('calls that end without an answer are forgotten when the client does not come back', async (t) => {
  const upstream = await startUpstream(t, 'session')
  let finish = (): void => {}
  upstream.call = async (_name, _args, context) => {
    const refused = ask(context, form('x')).then(() => {}, () => {})
    await Promise.race([refused, new Promise<void>((resolve) => { finish = resolve })])
    return text('done')
  }
  const SEED_MOUNTS = await writeMounts({ odd: { url: upstream.url, connection: 'session', connectTimeoutSeconds: 60 } })
  const seed = await startBroker(t, {
    definitions: [], timings: { mountsWaitMs: 60_000 }, env: { SEED_MOUNTS, INPUT_TIMEOUT_SECONDS: '1' }
  })
  const { accessToken } = await getTokens(seed, { login: 'ada' })
  for (let count = 0; count < 11; count++) {
    await until(async () => (await send(seed, {}, accessToken)).result?.resultType === 'input_required', 'the client is asked')
    finish()
  }
})

t.test('a call is cancelled at a server of 2025 when its client goes, or does not answer in time', async (t) => {
  const upstream = await startUpstream(t, 'session')
  let cancelled = 0
  upstream.call = async (_name, { waits }, context) => {
    context.mcpReq.signal.addEventListener('abort', () => { cancelled++ })
    if (waits === true) await new Promise(() => {})
    return text(await ask(context, form('x')))
  }
  const SEED_MOUNTS = await writeMounts({ odd: { url: upstream.url, connection: 'session', connectTimeoutSeconds: 60 } })
  const env = { SEED_MOUNTS, SEED_SECRET: 'the SEED_SECRET of these tests, 44 bytes long' }
  const seed = await startOpenServer(t, [], { ...env, INPUT_TIMEOUT_SECONDS: '1' }, { mountsWaitMs: 60_000 })
  const abort = new AbortController()
  const calls = () => upstream.messages.filter(({ method }) => method === 'tools/call').length
  const waiting = send(seed, { arguments: { waits: true } }, undefined, abort.signal).catch(() => {})
  await until(() => calls() === 1, 'the call has arrived')
  abort.abort()
  await waiting
  await until(() => cancelled === 1, 'the server knows that the client has gone')
  t.match((await send(seed, {})).result, { resultType: 'input_required' })
  await until(() => cancelled === 2, 'the server knows that nobody answers')

  const one = await startOpenServer(t, [], env, { mountsWaitMs: 60_000 })
  const other = await startOpenServer(t, [], env, { mountsWaitMs: 60_000 })
  const { requestState } = (await send(one, {})).result
  const elsewhere = await send(other, { requestState, inputResponses: { question: { action: 'decline' } } })
  t.match(elsewhere.result, { isError: true, content: [{ text: /has stopped; it is unknown how far the call got/ }] }, 'a replica without the same store')
})
