import t from 'tap'
import { acceptedContent, inputRequired } from '@modelcontextprotocol/server'
import type { GetPromptResult, InputRequests, ReadResourceResult, ServerContext } from '@modelcontextprotocol/server'
import { connectAsked } from '../support/asked-clients.ts'
import { getTokens, post, startBroker } from '../support/broker.ts'
import { ERAS } from '../support/open-server.ts'
import { modernRequest, sendModern } from '../support/seed.ts'
import { ADD, startMounted, startUpstream, writeMounts } from '../support/upstream.ts'
import type { Upstream } from '../support/upstream.ts'

const requestedSchema = { type: 'object' as const, properties: { name: { type: 'string' as const } } }
const FORM = inputRequired.elicit({ message: 'Name?', requestedSchema })
const ALL: InputRequests = {
  form: FORM,
  page: inputRequired.elicitUrl({ message: 'Sign', url: 'https://forms.example/1' }),
  model: inputRequired.createMessage({ messages: [{ role: 'user', content: { type: 'text', text: 'poem' } }], maxTokens: 9 }),
  folders: inputRequired.listRoots()
}
const text = (value: unknown) => ({ content: [{ type: 'text' as const, text: JSON.stringify(value) }] })
const capabilitiesOf = ({ mcpReq }: ServerContext): unknown =>
  (mcpReq.envelope as Record<string, unknown> | undefined)?.['io.modelcontextprotocol/clientCapabilities']

/** Asks everything in the first round, and answers with what it was told. */
function askAll (upstream: Upstream): void {
  upstream.call = (_name, _args, { mcpReq }) => mcpReq.inputResponses === undefined
    ? inputRequired({ inputRequests: ALL, requestState: 'state of the server' })
    : text([mcpReq.inputResponses, mcpReq.requestState<string>()])
}

const ANSWERS = {
  form: { action: 'accept', content: { name: 'Name? Ada' } },
  page: { action: 'accept' },
  model: { role: 'assistant', content: { type: 'text', text: 'a poem' } },
  folders: { roots: [{ uri: 'file:///home/ada' }] }
}

for (const era of ERAS) {
  t.test(`a mounted server of 2026-07-28 asks a ${era} client for forms, pages, messages and roots`, async (t) => {
    const upstream = await startUpstream(t)
    upstream.tools = [{ ...ADD, outputSchema: { type: 'object' } }]
    const seed = await startMounted(t, { odd: { url: upstream.url } })
    askAll(upstream)
    const { call, questions } = await connectAsked(t, era, seed)
    const [answers, state] = JSON.parse(await call('odd_add')) as unknown[]
    t.match(answers, ANSWERS)
    t.equal(state, 'state of the server')
    t.same(questions.map(({ method }) => method).sort(),
      ['elicitation/create', 'elicitation/create', 'roots/list', 'sampling/createMessage'])
    t.match(questions.find(({ params }) => params?.requestedSchema), { params: { message: 'Name?', requestedSchema } })
    const page = questions.find(({ params }) => params?.mode === 'url')
    t.match(page, { params: { message: 'Sign', url: 'https://forms.example/1' } })
    t.equal(typeof page!.params.elicitationId, era === 'legacy' ? 'string' : 'undefined')
  })

  t.test(`a mounted server may ask a ${era} client while a prompt is made or a resource is read`, async (t) => {
    const upstream = await startUpstream(t)
    const seed = await startMounted(t, { odd: { url: upstream.url } })
    const { client } = await connectAsked(t, era, seed)
    const ask = (result: (name: string) => GetPromptResult | ReadResourceResult) => {
      upstream.answer = ({ mcpReq: { inputResponses } }) => inputResponses === undefined
        ? inputRequired({ inputRequests: { form: FORM } })
        : result(acceptedContent<{ name: string }>(inputResponses, 'form')!.name)
    }
    ask((name) => ({ messages: [{ role: 'user', content: { type: 'text', text: name } }] }))
    const { messages } = await client.getPrompt({ name: 'odd_greet', arguments: { who: 'x' } })
    t.match(messages, [{ content: { text: 'Name? Ada' } }])
    ask((name) => ({ contents: [{ uri: 'notes://1', text: name }] }))
    for (const uri of ['odd+notes://1', 'odd+notes://7']) {
      t.match((await client.readResource({ uri })).contents, [{ text: 'Name? Ada' }], uri)
    }
  })

  t.test(`a mounted server gets the capabilities of the ${era} client that calls, and no others`, async (t) => {
    const upstream = await startUpstream(t)
    const seed = await startMounted(t, { odd: { url: upstream.url } })
    upstream.call = (_name, _args, context) => text(capabilitiesOf(context))
    for (const capabilities of [
      {},
      { elicitation: { form: {} } },
      { elicitation: { url: {} }, roots: { listChanged: true } },
      { sampling: { tools: {}, context: {} }, extensions: { 'example.com/x': {} } }
    ]) {
      const { call } = await connectAsked(t, era, seed, { capabilities: capabilities as never })
      const expected: Record<string, object> = { ...capabilities, ...('roots' in capabilities && { roots: {} }) }
      delete expected['extensions']
      t.same(JSON.parse(await call('odd_add')), expected)
    }
    const { call } = await connectAsked(t, era, seed, { capabilities: {} })
    upstream.call = () => inputRequired({ inputRequests: { form: FORM } })
    await t.rejects(call('odd_add'), { code: -32_603 }, 'the server refuses by itself')
  })

  t.test(`a mounted server that asks a ${era} client for something else, or too much, is refused`, async (t) => {
    const upstream = await startUpstream(t)
    const seed = await startMounted(t, { odd: { url: upstream.url } })
    const { call, questions } = await connectAsked(t, era, seed)
    const answer = (members: object): void => {
      upstream.intercept = (_request, response) => {
        const { method, id } = upstream.messages.at(-1) as { method: string, id: unknown }
        if (method !== 'tools/call') return false
        const result = { resultType: 'input_required', ...members }
        response.writeHead(200, { 'content-type': 'application/json' }).end(JSON.stringify({ jsonrpc: '2.0', id, result }))
        return true
      }
    }
    const page = (url: string) => ({ method: 'elicitation/create', params: { mode: 'url', message: 'x', url } })
    for (const question of [
      null, 7, {}, { method: 'tools/call' }, { method: 'elicitation/create' }, page('javascript:alert(1)'), page('no URL'),
      { method: 'elicitation/create', params: { message: 'x', requestedSchema: { type: 'object', properties: { a: { type: 'object' } } } } }
    ]) {
      answer({ inputRequests: { good: FORM, bad: question } })
      t.match(await call('odd_add'), /asks for something that is not of MCP/, JSON.stringify(question))
    }
    answer({ inputRequests: Object.fromEntries(Array.from({ length: 21 }, (_, n) => [`q${n}`, FORM])) })
    t.match(await call('odd_add'), /asks for more than Seed passes on/)
    answer({ requestState: 'x'.repeat(65_537) })
    t.match(await call('odd_add'), /asks for more than Seed passes on/)
    t.same(questions, [], 'nobody was asked')

    answer({ requestState: 'wait' })
    await (era === 'legacy'
      ? call('odd_add').then((answer) => { t.match(answer, /asked more than 30 times/) })
      : t.rejects(call('odd_add'), { code: 'INPUT_REQUIRED_ROUNDS_EXCEEDED' }))
  })
}

t.test('a server that only wants to be asked again gets its state, from clients of both eras', async (t) => {
  const upstream = await startUpstream(t)
  const seed = await startMounted(t, { odd: { url: upstream.url } })
  upstream.call = (_name, _args, { mcpReq }) => {
    const state = Number(mcpReq.requestState<string>() ?? 0)
    return state === 3 ? text('done') : inputRequired({ requestState: String(state + 1) })
  }
  for (const era of ERAS) t.equal(await (await connectAsked(t, era, seed)).call('odd_add'), '"done"')
})

t.test('a state of a mounted server that looks like the id of a call that a replica holds is its state, and no such id', async (t) => {
  const upstream = await startUpstream(t)
  const seed = await startMounted(t, { odd: { url: upstream.url, connection: 'session' } })
  const id = `held-call.${'a'.repeat(12)}.${'b'.repeat(16)}`
  upstream.call = (_name, _args, { mcpReq }) => mcpReq.inputResponses === undefined
    ? inputRequired({ inputRequests: { question: FORM }, requestState: id })
    : text(mcpReq.requestState<string>())
  for (const era of ERAS) t.equal(await (await connectAsked(t, era, seed)).call('odd_add'), JSON.stringify(id))
})

t.test('a client of 2026-07-28 that starts a call anew in each round gets no more rounds than others', async (t) => {
  const upstream = await startUpstream(t)
  const seed = await startMounted(t, { odd: { url: upstream.url } })
  upstream.call = () => inputRequired({ requestState: 'again' })
  let params: Record<string, unknown> = { name: 'odd_add', arguments: {} }
  for (let round = 1; round <= 30; round++) {
    const { response: { result } } = await seed.send('modern', 'tools/call', params)
    t.equal(result.resultType, 'input_required')
    t.equal(result.inputRequests, undefined)
    t.notMatch(result.requestState, /again/, 'the state is sealed')
    params = { ...params, requestState: result.requestState }
  }
  const { response: { result } } = await seed.send('modern', 'tools/call', params)
  t.match(result, { isError: true, content: [{ text: /asked more than 30 times/ }] })
})

const SECRET = 'a secret of the nightly job'

/** A JSON-RPC response to tools/call: a result of either kind, or an error. */
interface CallAnswer {
  result: { content: [{ text: string }], inputRequests: object, requestState: string }
  error?: object
}

t.test('the state of a mounted server is good for the person, tool and arguments it was made for, and once', async (t) => {
  const upstream = await startUpstream(t)
  upstream.tools = [ADD, { ...ADD, name: 'sub' }]
  askAll(upstream)
  const seed = await startBroker(t, {
    definitions: [],
    timings: { mountsWaitMs: 60_000 },
    env: {
      SEED_MOUNTS: await writeMounts({ odd: { url: upstream.url, connectTimeoutSeconds: 60 } }),
      OAUTH_CLIENTS: JSON.stringify([{ client_id: 'nightly', grant_types: ['client_credentials'], client_secret: SECRET }])
    }
  })
  const [ada, bob] = [await getTokens(seed, { login: 'ada' }), await getTokens(seed, { login: 'bob' })]
  const capabilities = { elicitation: { url: {}, form: {} }, sampling: {}, roots: {} }
  const call = async (token: string, params: object) => {
    const request = modernRequest('tools/call', { name: 'odd_add', arguments: {}, ...params }, 1, capabilities)
    const body = await (await sendModern(seed.url, request, token)).text()
    return JSON.parse(body.startsWith('{') ? body : /^data: (\{.*"(?:result|error)".*)$/m.exec(body)![1]!) as CallAnswer
  }
  const { result: { inputRequests, requestState } } = await call(ada.accessToken, {})
  t.same(inputRequests, ALL)
  t.notMatch(requestState, /state of the server/)
  const inputResponses = { ...ANSWERS, uninvited: { action: 'accept' } }
  const calls = () => upstream.messages.filter(({ method }) => method === 'tools/call').length
  const before = calls()
  for (const [token, params] of [
    [bob.accessToken, {}], [ada.accessToken, { name: 'odd_sub' }], [ada.accessToken, { arguments: { a: 1 } }],
    [ada.accessToken, { requestState: 'state of the server' }]
  ] as const) {
    const { error } = await call(token, { inputResponses, requestState, ...params })
    t.match(error, { code: -32_602, message: 'Invalid or expired requestState' })
  }
  t.equal(calls(), before, 'the server has heard nothing of it')
  const { result } = await call(ada.accessToken, { inputResponses, requestState })
  const [answers, state] = JSON.parse(result.content[0].text) as [object, string]
  t.same(answers, ANSWERS, 'answers to what was not asked are left out')
  t.equal(state, 'state of the server')
  t.match((await call(ada.accessToken, { inputResponses, requestState })).error, { code: -32_602 }, 'used before')

  const { json: { access_token: token } } = await post(`${seed.url}/oauth/token`, {
    grant_type: 'client_credentials'
  }, { authorization: `Basic ${Buffer.from(`nightly:${encodeURIComponent(SECRET)}`).toString('base64')}` })
  upstream.call = (_name, _args, context) => text(capabilitiesOf(context))
  const seen = await call(String(token), {})
  t.same(JSON.parse(seen.result.content[0].text), { roots: {} }, 'nobody is there to answer for a service')
})
