import t from 'tap'
import { acceptedContent, inputRequired } from '@modelcontextprotocol/server'
import type { CallToolResult, ServerContext } from '@modelcontextprotocol/server'
import { CallLimits } from '../../src/mounts/server/call-limits.ts'
import type { CallLimit } from '../../src/mounts/server/call-limits.ts'
import { connectAsked } from '../support/asked-clients.ts'
import { freePort } from '../support/free-port.ts'
import { ERAS, startOpenServer } from '../support/open-server.ts'
import { ownRedisForTests } from '../support/redis.ts'
import { startReplicas } from '../support/replicas.ts'
import { modernRequest, postMcp, ready, startSeed } from '../support/seed.ts'
import { startCounting } from '../support/shared-counters.ts'
import { until } from '../support/until.ts'
import { ADD, startMounted, startUpstream, writeMounts } from '../support/upstream.ts'

const SILENT = { info () {}, warn () {}, error () {} }
const TIMINGS = { mountsWaitMs: 60_000, mountsRetryMs: 10 }

t.test('calls beyond maxConcurrentCalls are refused at once, and said so to the model, the operator and the auditor', async (t) => {
  const [slow, sound] = [await startUpstream(t), await startUpstream(t)]
  let finish!: (result: CallToolResult) => void
  let isRunning = false
  slow.call = async () => {
    isRunning = true
    return await new Promise((resolve) => { finish = resolve })
  }
  const patient = { connectTimeoutSeconds: 60 }
  const METRICS_PORT = String(await freePort())
  const SEED_MOUNTS = await writeMounts({
    slow: { url: slow.url, maxConcurrentCalls: 1, ...patient },
    sound: { url: sound.url, maxConcurrentCalls: 1, ...patient }
  })
  const seed = await startOpenServer(t, [], { SEED_MOUNTS, METRICS_PORT, AUDIT_LOG: 'stdout' }, TIMINGS)
  const call = async (name: string) => (await seed.send('modern', 'tools/call', { name, arguments: {} })).response.result

  const running = call('slow_add')
  await until(() => isRunning, 'the call is at the server')
  const text = 'The server behind slow has as many calls running as it may (1, maxConcurrentCalls): try again in a few seconds'
  t.match(await call('slow_add'), { resultType: 'complete', content: [{ type: 'text', text }], isError: true })
  for (const era of ['modern', 'legacy'] as const) {
    const prompt = await seed.send(era, 'prompts/get', { name: 'slow_greet', arguments: { who: 'Ada' } })
    t.match(prompt.response.error, { code: -32603, message: text })
  }
  const refused = seed.logs.filter((line) => 'audit' in line && line['outcome'] === 'refused')
  t.match(refused.map(({ event, target }) => `${String(event)} ${String(target)}`),
    ['tools/call slow_add', 'prompts/get slow_greet', 'prompts/get slow_greet'])
  t.match(refused[0], { reason: '1 calls at once to mount "slow" (maxConcurrentCalls)' })
  t.match(seed.logs.filter(({ event }) => event === 'mount.calls_refused'),
    [{ level: 40, mount: 'slow', limit: 'maxConcurrentCalls', max: 1 }])
  const metrics = await (await fetch(`http://127.0.0.1:${METRICS_PORT}/metrics`)).text()
  t.match(metrics, 'seed_mount_calls_refused_total{seed_mount="slow",seed_setting="maxConcurrentCalls"} 3')
  t.match(await call('sound_add'), { content: [{ text: '{}' }] }, 'another server is not affected')
  const complete = {
    ref: { type: 'ref/prompt', name: 'slow_greet' }, argument: { name: 'who', value: 'A' }
  }
  t.same((await seed.send('modern', 'completion/complete', complete)).response.result.completion.values, [])

  finish({ content: [] })
  t.match(await running, { content: [] })
  t.same((await seed.send('modern', 'completion/complete', complete)).response.result.completion.values, ['A1', 'A2'])
})

const NAME_FORM = {
  message: 'Name?', requestedSchema: { type: 'object' as const, properties: { name: { type: 'string' as const } } }
}
const text = (value: string): CallToolResult => ({ content: [{ type: 'text', text: value }] })

/** A call at a server that runs until it is let go. */
function createHold (): { hold (): Promise<CallToolResult>, isHeld (): boolean, letGo (): void } {
  let isHeld = false
  let letGo!: () => void
  const done = new Promise<void>((resolve) => { letGo = resolve })
  return {
    async hold () {
      isHeld = true
      await done
      return text('let go')
    },
    isHeld: () => isHeld,
    letGo
  }
}

/** A server of 2026-07-28 asks, and is called again with the answer. */
function askInRounds ({ mcpReq: { inputResponses } }: ServerContext) {
  return inputResponses === undefined
    ? inputRequired({ inputRequests: { form: inputRequired.elicit(NAME_FORM) } })
    : text(acceptedContent<{ name: string }>(inputResponses, 'form')!.name)
}

for (const era of ERAS) {
  t.test(`the answer of a ${era} client's person arrives, though others took the last place while they typed`, async (t) => {
    const upstream = await startUpstream(t)
    const seed = await startMounted(t, { odd: { url: upstream.url, maxConcurrentCalls: 1 } })
    const { hold, isHeld, letGo } = createHold()
    upstream.call = async (_name, { held }, context) => held === true ? await hold() : askInRounds(context)
    const call = async (args: object) =>
      (await seed.send('modern', 'tools/call', { name: 'odd_add', arguments: args })).response.result
    const other: Array<Promise<unknown>> = []
    const asked = await connectAsked(t, era, seed, {
      async fillIn () {
        other.push(call({ held: true }))
        await until(isHeld, 'the other call is at the server')
        return { action: 'accept', content: { name: 'Ada' } }
      }
    })
    t.equal(await asked.call('odd_add'), 'Ada')
    t.match(await call({}), { isError: true, content: [{ text: /as many calls running as it may/ }] }, 'a new call is refused')
    letGo()
    t.match(await Promise.all(other), [{ content: [{ text: 'let go' }] }])
  })
}

/** A server of 2025 asks several questions while the call runs. */
async function askWhileRunning ({ mcpReq }: ServerContext): Promise<CallToolResult> {
  const ask = async (): Promise<string> => {
    const { content } = await mcpReq.send({ method: 'elicitation/create', params: NAME_FORM })
    return String(content!['name'])
  }
  return text((await Promise.all([ask(), ask()])).join())
}

for (const era of ERAS) {
  t.test(`a call that waits for the answer of a ${era} client's person takes no place from others, and goes on without one`, async (t) => {
    const upstream = await startUpstream(t, 'session')
    const seed = await startMounted(t, { odd: { url: upstream.url, connection: 'session', maxConcurrentCalls: 1 } })
    const { hold, isHeld, letGo } = createHold()
    upstream.call = async (_name, { what }, context) => {
      if (what === 'hold') return await hold()
      return what === 'ask' ? await askWhileRunning(context) : text('quick')
    }
    const call = async (what?: string) =>
      (await seed.send('modern', 'tools/call', { name: 'odd_add', arguments: { what } })).response.result
    const isBusy = { isError: true, content: [{ text: /as many calls running as it may/ }] }
    const other: Array<Promise<unknown>> = []
    const asked = await connectAsked(t, era, seed, {
      async fillIn () {
        if (isHeld()) return { action: 'accept', content: { name: 'Bob' } }
        t.match(await call(), { content: [{ text: 'quick' }] })
        other.push(call('hold'))
        await until(isHeld, 'the other call is at the server')
        t.match(await call(), isBusy, 'one call may run')
        return { action: 'accept', content: { name: 'Ada' } }
      }
    })
    t.equal(await asked.call('odd_add', { what: 'ask' }), 'Ada,Bob')
    t.match(await call(), isBusy, 'the other call runs on')
    letGo()
    t.match(await Promise.all(other), [{ content: [{ text: 'let go' }] }])
    t.match(await call(), { content: [{ text: 'quick' }] })
  })
}

t.test('a call that ends while it waits for an answer gives up one place, not two', async (t) => {
  const upstream = await startUpstream(t, 'session')
  const seed = await startMounted(t, { odd: { url: upstream.url, connection: 'session', maxConcurrentCalls: 1 } })
  const [ended, held] = [createHold(), createHold()]
  upstream.call = async (_name, { what }, context) => {
    if (what === 'hold') return await held.hold()
    askWhileRunning(context).catch(() => {})
    return await ended.hold()
  }
  const call = async (what?: string) =>
    (await seed.send('modern', 'tools/call', { name: 'odd_add', arguments: { what } })).response.result
  const asked = await connectAsked(t, 'legacy', seed, {
    async fillIn () {
      ended.letGo()
      return await new Promise(() => {})
    }
  })
  t.equal(await asked.call('odd_add'), 'let go')
  const running = call('hold')
  await until(held.isHeld, 'a call is at the server')
  t.match(await call('hold'), { isError: true, content: [{ text: /as many calls running as it may/ }] })
  held.letGo()
  t.match(await running, { content: [{ text: 'let go' }] })
})

/** Runs a check within one minute of the clock, by which calls are counted. */
async function withinMinute (check: () => Promise<void>): Promise<void> {
  const minute = (): number => Math.floor(Date.now() / 60_000)
  if (Date.now() % 60_000 > 40_000) await until(() => Date.now() % 60_000 < 40_000, 'the next minute begins')
  const begun = minute()
  await check()
  if (begun !== minute()) throw new Error('The minute ended during the check')
}

t.test('a person may call a mounted server, and a tool of it, so often in a minute, with all their clients', async (t) => {
  const upstream = await startUpstream(t)
  upstream.tools.push({ ...ADD, name: 'paint' })
  const seed = await startSeed(t, {
    definitions: [],
    timings: TIMINGS,
    env: {
      AUDIT_LOG: 'stdout',
      SEED_MOUNTS: await writeMounts({
        calc: {
          url: upstream.url,
          connectTimeoutSeconds: 60,
          callsPerMinute: 4,
          tools: { overrides: { paint: { callsPerMinute: 1 } } }
        },
        notes: {
          url: upstream.url, connectTimeoutSeconds: 60, prompts: { overrides: { greet: { callsPerMinute: 1 } } }
        }
      })
    }
  })
  await ready(seed)
  const ada = [await seed.provider.mint({ sub: 'ada' }), await seed.provider.mint({ sub: 'ada', client_id: 'another' })]
  const bob = await seed.provider.mint({ sub: 'bob' })
  const call = async (name: string, token: string) =>
    (await postMcp(seed, modernRequest('tools/call', { name, arguments: {} }), token)).body.result
  const isRefused = async (name: string, token: string): Promise<boolean> => (await call(name, token)).isError === true

  await withinMinute(async () => {
    t.equal(await isRefused('calc_paint', ada[0]!), false)
    t.match(await call('calc_paint', ada[1]!), {
      isError: true,
      content: [{ text: /^Too many calls to this tool of the server behind calc: at most 1 a minute \(callsPerMinute\); try again in \d+ s$/ }]
    })
    t.equal(await isRefused('calc_add', ada[0]!), false, 'other tools may be called')
    t.equal(await isRefused('calc_add', ada[1]!), false)
    t.equal(await isRefused('calc_add', ada[0]!), false, 'the refused call did not count')
    const sent = upstream.messages.length
    t.match(await call('calc_add', ada[1]!), {
      isError: true,
      content: [{ text: /^Too many calls to the server behind calc: at most 4 a minute \(callsPerMinute\); try again in \d+ s$/ }]
    })
    t.equal(upstream.messages.length, sent, 'nothing is sent')
    t.equal(await isRefused('calc_paint', bob), false, 'another person is not affected')
    const greet = async () =>
      (await postMcp(seed, modernRequest('prompts/get', { name: 'notes_greet', arguments: { who: 'x' } }), bob)).body
    t.match(await greet(), { result: {} })
    t.match(await greet(), {
      error: { message: /^Too many calls to this prompt of the server behind notes: at most 1 a minute \(callsPerMinute\); try again in \d+ s$/ }
    })
  })
  t.match(seed.logs.filter((line) => 'audit' in line && line['outcome'] === 'refused'), [
    { subject: 'ada', target: 'calc_paint', reason: '1 calls of one person in this minute to mount "calc" (tools.overrides.paint.callsPerMinute)' },
    { subject: 'ada', target: 'calc_add', reason: '4 calls of one person in this minute to mount "calc" (callsPerMinute)' },
    { subject: 'bob', target: 'notes_greet', reason: '1 calls of one person in this minute to mount "notes" (prompts.overrides.greet.callsPerMinute)' }
  ])
  t.match(seed.logs.filter(({ event }) => event === 'mount.calls_refused'), [
    { mount: 'calc', limit: 'callsPerMinute', place: 'tools.overrides.paint', max: 1 },
    { mount: 'notes', limit: 'callsPerMinute', place: 'prompts.overrides.greet', max: 1 }
  ], 'once a minute')
})

t.test('two replicas count the calls of a person together', async (t) => {
  const redisUrl = (await ownRedisForTests(t))?.url
  if (redisUrl === undefined) return
  const { url } = await startUpstream(t)
  const SEED_MOUNTS = await writeMounts({ calc: { url, connectTimeoutSeconds: 60, callsPerMinute: 2 } })
  const { at, token, url: base } = await startReplicas(t, { redisUrl, env: { SEED_MOUNTS } })
  const tokens = { ada: await token('ada'), bob: await token('bob') }
  const isRefused = async (index: number, subject: 'ada' | 'bob'): Promise<boolean> => {
    const { body, headers } = modernRequest('tools/call', { name: 'calc_add', arguments: {} })
    const response = await at(index)(`${base}/mcp`, {
      method: 'POST',
      body,
      headers: {
        'content-type': 'application/json',
        accept: 'application/json, text/event-stream',
        authorization: `Bearer ${tokens[subject]}`,
        ...headers
      }
    })
    return (await response.text()).includes('Too many calls to the server behind calc')
  }
  await withinMinute(async () => {
    for (const index of [0, 0]) t.equal(await isRefused(index, 'ada'), false)
    await until(async () => await isRefused(1, 'ada'), 'the other replica has heard of them')
    t.equal(await isRefused(0, 'ada'), true)
    t.equal(await isRefused(1, 'bob'), false)
  })
})

t.test('a call that one limit refuses counts for no other', async (t) => {
  const upstream = await startUpstream(t)
  const seed = await startMounted(t, { calc: { url: upstream.url, maxConcurrentCalls: 1, callsPerMinute: 2 } })
  const call = async () => (await seed.send('modern', 'tools/call', { name: 'calc_add', arguments: {} })).response.result
  await withinMinute(async () => {
    const { hold, isHeld, letGo } = createHold()
    upstream.call = hold
    const running = call()
    await until(isHeld, 'the call is at the server')
    for (let count = 0; count < 4; count++) t.match(await call(), { content: [{ text: /as many calls running as it may/ }] })
    letGo()
    t.match(await running, { content: [{ text: 'let go' }] })
    t.match(await call(), { content: [{ text: 'let go' }] })
    for (let count = 0; count < 2; count++) t.match(await call(), { content: [{ text: /at most 2 a minute/ }] })
  })
})

function createLimits (mount: object): { limits: CallLimits, refused: CallLimit[] } {
  const refused: CallLimit[] = []
  const limits = new CallLimits({
    mount: { name: 'calc', ...mount }, log: SILENT, onRefused: (limit) => { refused.push(limit) }
  })
  return { limits, refused }
}

function countUntilRefused (limits: CallLimits, place?: string): { count: number, message: string } {
  for (let count = 0; count < 100; count++) {
    try {
      limits.countCall({ principal: undefined }, place)
    } catch (err) {
      return { count, message: (err as Error).message }
    }
  }
  throw new Error('Never refused')
}

t.test('a new minute begins anew, and without sign-in all callers count as one', async (t) => {
  const { replica, elapse } = startCounting(t)
  const { limits, refused } = createLimits({ callsPerMinute: 3, tools: { overrides: { add: {} } } })
  limits.countCall({ principal: undefined }, 'tools.overrides.add')
  limits.share(replica('a').counters)
  t.match(countUntilRefused(limits, 'tools.overrides.add'), { count: 3, message: /at most 3 a minute \(callsPerMinute\); try again in \d+ s$/ })
  t.match(countUntilRefused(limits), { count: 0 })
  t.same(refused, ['callsPerMinute', 'callsPerMinute'])
  await elapse(60_000)
  t.match(countUntilRefused(limits), { count: 3 })
})

t.test('a hundred calls at once are the limit of a mount without maxConcurrentCalls', async (t) => {
  const { limits } = createLimits({})
  const ends = Array.from({ length: 100 }, () => limits.beginRequest())
  t.throws(() => limits.beginRequest(), { message: /\(100, maxConcurrentCalls\)/ })
  ends[0]!()
  limits.beginRequest()
  t.throws(() => limits.beginRequest())
})
