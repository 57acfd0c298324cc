import t from 'tap'
import { keys } from '../../src/store/keys.ts'
import { printableJson } from '../../src/json/printable.ts'
import { createMemoryStore } from '../../src/store/memory.ts'
import { StoreUnavailableError } from '../../src/store/store.ts'
import type { Store } from '../../src/store/store.ts'
import { TraceStep } from '../../src/trace/step.ts'
import { formatStory, tellStory } from '../../src/trace/story.ts'
import { createTraces, readTrace } from '../../src/trace/traces.ts'
import type { TracesOptions } from '../../src/trace/traces.ts'
import type { RecordedStep } from '../../src/trace/record.ts'
import { until } from '../support/until.ts'

const STEP: RecordedStep = { step: 'authorize', at: 1, ms: 2, request: 'request', status: 200 }

function setUp (options: Partial<TracesOptions> = {}) {
  const warnings: string[] = []
  const store = options.store ?? createMemoryStore()
  const log = { warn: (fields: object, message: string) => { warnings.push(`${JSON.stringify(fields)} ${message}`) } }
  const traces = createTraces({ store, maxTotal: 100, maxPerAddress: 100, log, ...options })
  const stepsOf = async (reference: string): Promise<string[]> =>
    (await readTrace(store, reference)).map(({ step }) => step)
  return { traces, store, warnings, stepsOf }
}

/** Nothing waits for these writes; those of the memory store are done after a turn of the event loop. */
const settled = async (): Promise<void> => { await new Promise((resolve) => setImmediate(resolve)) }

t.test('the newest traces push out the oldest', async (t) => {
  const { traces, store, stepsOf } = setUp({ maxTotal: 3 })
  for (let number = 1; number <= 8; number++) {
    traces.record('sign-in', `sign-in-${number}`, STEP, undefined)
    await settled()
  }
  traces.record('call', 'call', STEP, undefined)
  await settled()
  const kept = []
  for (let number = 1; number <= 8; number++) if ((await stepsOf(`sign-in-${number}`)).length > 0) kept.push(number)
  t.same(kept, [6, 7, 8])
  t.same(await stepsOf('call'), ['authorize'], 'refused calls push out no sign-in')
  let count = 0
  for await (const batch of store.scan('trace')) count += batch.length
  t.equal(count, 3 + 1 + 3 + 1 + 2, 'traces, their places, and two counters')
})

t.test('a sign-in has the newest 16 steps, each within 1,500 characters', async (t) => {
  const { traces, store } = setUp()
  for (let number = 1; number <= 20; number++) {
    const facts = Object.fromEntries(Array.from({ length: number === 20 ? 20 : 1 }, (_, name) => [name, 'x'.repeat(5_000)]))
    traces.record('sign-in', 'one', { ...STEP, at: number, reason: 'y'.repeat(5_000), facts }, undefined)
  }
  await settled()
  const steps = await readTrace(store, 'one')
  t.equal(steps.length, 16)
  t.match(steps[0], { at: 5, reason: /^y{299}…$/, facts: { 0: /^x{299}…$/ } })
  t.match(steps.at(-1), { at: 20, facts: undefined, reason: /^y{299}…$/ })
  for (const [, text] of (await store.entries(keys.trace('one'), 0)).entries) t.ok(text.length <= 1_500)
})

t.test('a stranger gets a share, and a few requests beyond a limit', async (t) => {
  let time = 0
  const { traces, stepsOf } = setUp({ maxPerAddress: 2, now: () => time })
  const send = async (reference: string, address: string, cause?: string): Promise<boolean> => {
    traces.record('sign-in', reference, { ...STEP, cause }, address)
    await settled()
    return (await stepsOf(reference)).length > 0
  }
  t.same([await send('a', '192.0.2.1'), await send('b', '192.0.2.1'), await send('c', '192.0.2.1')], [true, true, false])
  t.ok(await send('d', '192.0.2.2'), 'another address has its own')
  t.ok(await send('e', '192.0.2.1', 'limit_reached'))
  for (let number = 0; number < 4; number++) await send(`f${number}`, '192.0.2.1', 'limit_reached')
  t.notOk(await send('g', '192.0.2.1', 'limit_reached'))
  time = 900_000
  t.ok(await send('h', '192.0.2.1'), 'a quarter of an hour later there is room again')
})

t.test('the first use of an access token is recorded once, within five minutes', async (t) => {
  const asked: string[] = []
  const memory = createMemoryStore()
  const store: Store = { ...memory, take: async (key) => { asked.push(key); return await memory.take(key) } }
  const { traces, stepsOf } = setUp({ store, now: () => 1_000_000 })
  traces.awaitFirstCall('token', 'one')
  await settled()
  traces.noteUse('token', 600, 'late')
  await settled()
  t.same(await stepsOf('one'), [], 'an older token is no first use')
  for (let use = 0; use < 3; use++) {
    traces.noteUse('token', 999, 'request')
    await settled()
  }
  t.same(await stepsOf('one'), ['call'])
  traces.noteUse('another token', 999, 'request')
  await settled()
  t.equal(asked.filter((key) => key.startsWith('first-call:')).length, 2, 'the store is asked once for each token')
})

t.test('a store that is away or slow costs nothing, and the log says so once', async (t) => {
  const memory = createMemoryStore()
  let [fails, hangs, writes] = [true, false, 0]
  const store: Store = {
    ...memory,
    async append (...args) {
      writes++
      if (hangs) await new Promise(() => {})
      if (fails) throw writes === 1 ? new StoreUnavailableError() : new Error('something else')
      return await memory.append(...args)
    }
  }
  const { traces, warnings, stepsOf } = setUp({ store })
  for (let attempt = 0; attempt < 3; attempt++) {
    traces.record('sign-in', 'one', STEP, undefined)
    await settled()
  }
  t.match(warnings, [/The store \(REDIS_URL\) does not answer.*seed trace will not show them/])
  t.equal(warnings.length, 1)
  fails = false
  traces.record('sign-in', 'one', STEP, undefined)
  await until(async () => (await stepsOf('one')).length === 1, 'it is recorded again')
  await settled()
  fails = true
  traces.record('sign-in', 'one', STEP, undefined)
  await settled()
  t.match(warnings[1], /something else/)

  fails = false
  hangs = true
  writes = 0
  for (let number = 0; number < 500; number++) traces.record('sign-in', `slow-${number}`, STEP, undefined)
  t.equal(writes, 200, 'no more than so many wait')
})

t.test('with TRACE_LIMIT_TOTAL=0 nothing is recorded, and in memory no more than 5,000', async (t) => {
  const { traces, stepsOf } = setUp({ maxTotal: 0 })
  traces.record('sign-in', 'one', STEP, undefined)
  traces.awaitFirstCall('token', 'one')
  await settled()
  traces.noteUse('token', Math.floor(Date.now() / 1_000), 'request')
  await settled()
  t.same(await stepsOf('one'), [])

  let firstCalls = 0
  const counting = setUp({ maxTotal: 0, onFirstCall: () => { firstCalls++ } })
  counting.traces.awaitFirstCall('token', 'one')
  await settled()
  for (let use = 0; use < 3; use++) counting.traces.noteUse('token', Math.floor(Date.now() / 1_000), 'request')
  await settled()
  t.equal(firstCalls, 1, 'the metric of first calls counts all the same')
  t.same(await counting.stepsOf('one'), [])

  const memory = setUp({ maxTotal: 1_000_000 })
  await memory.store.set(keys.traceSlot('sign-in', 1), 'oldest', 10)
  for (let count = 0; count < 5_000; count++) await memory.store.increment(keys.traceCount('sign-in'), 10)
  await memory.store.append(keys.trace('oldest'), '{}', { ttlSeconds: 10, maxEntries: 1 })
  memory.traces.record('sign-in', 'new', STEP, undefined)
  await settled()
  t.same((await memory.store.entries(keys.trace('oldest'), 0)).entries, [])
})

t.test('the story says what is missing, in either mode, and when all is well', async (t) => {
  for (const [steps, mode, cause] of [
    [['authorize'], 'broker', 'consent_not_answered'],
    [['authorize', 'consent'], 'broker', 'provider_not_returned'],
    [['authorize', 'consent'], 'proxy', 'provider_not_returned_proxy'],
    [['authorize', 'consent', 'callback'], 'broker', 'code_not_redeemed'],
    [['authorize', 'consent', 'callback', 'token'], 'broker', 'token_not_used']
  ] as const) {
    const story = tellStory('one', steps.map((step) => ({ ...STEP, step })), mode)
    t.match(story, { completed: false, stoppedAt: steps.at(-1), cause, reason: undefined })
  }
  const story = tellStory('one', [{ ...STEP, outcome: 'Fine\u001b[2J' }, { ...STEP, step: 'call' }], 'broker')
  t.match(story, { completed: true, stoppedAt: undefined, cause: undefined, remedy: undefined, settings: [] })
  t.equal(formatStory(story), 'Sign-in one, 1970-01-01 00:00:00 UTC\n\n' +
    '00:00:00  authorize: Fine\u{fffd}[2J (status 200, 2 ms, request request)\n\n' +
    '00:00:00  call: Done (status 200, 2 ms, request request)\n\nThe sign-in has succeeded')
})

t.test('a failure without a known cause leads to the log, and a remedy is not said twice', async (t) => {
  const unknown = tellStory('one', [{ ...STEP, status: 500, error: 'server_error', cause: 'of another release' }], 'broker')
  t.match(formatStory(unknown), /Stopped at: authorize \(of another release\)\nWhat helps: See the reason, and the lines/)
  const uncoded = tellStory('one', [{ ...STEP, status: 500 }], 'broker')
  t.match(formatStory(uncoded), /\nStopped at: authorize\nWhat helps/)
  const reason = 'aud is "x": let the provider put it into the token (audience mapper, API identifier), or set OIDC_AUDIENCE'
  const said = tellStory('one', [{
    ...STEP, status: 502, error: 'server_error', cause: 'token_audience', reason, provider: [{ asked: 'X', ms: 1, problem: 'bad' }]
  }], 'proxy')
  t.match(formatStory(said), `Reason: ${reason}\nSettings: OIDC_AUDIENCE`)
  t.match(formatStory(said), 'X of the provider, 1 ms: bad')
})

t.test('a step keeps its own reference until it is known to belong to a sign-in', async (t) => {
  const step = new TraceStep('token', 'request')
  step.belongsTo(undefined)
  t.match(step, { reference: 'request', isContinued: false })
  step.belongsTo('sign-in')
  t.match(step, { reference: 'sign-in', isContinued: true })
  await t.rejects(step.timeProvider('The token endpoint', async () => { throw new Error('away') }), { message: 'away' })
  t.match(step.providerAnswers, [{ asked: 'The token endpoint', ms: Number, problem: 'away' }])
})

t.test('a step that cannot be read is left out', async (t) => {
  const { traces, store, stepsOf } = setUp()
  traces.record('sign-in', 'one', STEP, undefined)
  await settled()
  await store.append(keys.trace('one'), 'not JSON', { ttlSeconds: 60, maxEntries: 16 })
  t.same(await stepsOf('one'), ['authorize'])
})

t.test('what a stranger sends stays on its line of the story, and in its string of the JSON', async (t) => {
  const forged = 'a\n\nStopped at: token\nWhat helps: curl evil\u009b2J\u202e'
  const story = tellStory('one', [{ ...STEP, facts: { scope: forged }, reason: forged, error: 'invalid_scope' }], 'broker')
  t.notMatch(formatStory(story), /^What helps: curl/m)
  const json = printableJson(story, 2)
  t.notMatch(json, /[\u007f-\u009f\u202e]/)
  t.match(JSON.parse(json), { reason: forged })
})

t.test('a network of many addresses gets three shares', async (t) => {
  const { traces, stepsOf } = setUp({ maxPerAddress: 1 })
  const recorded: boolean[] = []
  for (let number = 1; number <= 4; number++) {
    traces.record('sign-in', `from-${number}`, STEP, `2001:db8:1:${number}::1`)
    await settled()
    recorded.push((await stepsOf(`from-${number}`)).length > 0)
  }
  t.same(recorded, [true, true, true, false])
})
