import { Redis } from 'ioredis'
import t from 'tap'
import type { Test } from 'tap'
import { startDevProvider } from '../../dev/provider.ts'
import { until } from '../support/until.ts'
import { gate } from '../support/gate.ts'
import { interactiveTools } from '../support/interactive-tools.ts'
import { call, initialize, request } from '../support/mcp.ts'
import { sendModern, sendRaw, startRawSession } from '../support/raw-client.ts'
import type { RawAnswer } from '../support/raw-client.ts'
import { ownRedisForTests } from '../support/redis.ts'
import type { RedisServer } from '../support/redis.ts'
import { ready, startSeed } from '../support/seed.ts'
import type { TestSeed } from '../support/seed.ts'
import { connectV1 } from '../support/interactive-clients.ts'
import { startReplicas } from '../support/replicas.ts'
import { startTcpProxy } from '../support/tcp-proxy.ts'
import type { TcpProxy } from '../support/tcp-proxy.ts'

/**
 * Responses to clients of both eras while Redis is unavailable in every way it can be, and afterwards. Real Redis,
 * requests without an SDK.
 */
const provider = await startDevProvider({ algorithm: 'ES256' })
t.teardown(async () => { await provider.close() })

const LIMIT = 300
/** One that a store which answers in time cannot miss. */
const LOST = 'Redis is unreachable'
const BACK = 'Redis is reachable again'
const ECHO = { name: 'echo', arguments: { text: 'hello' } }

interface Bad {
  redis: RedisServer
  proxy: TcpProxy
  seed: TestSeed
  gated: ReturnType<typeof gate>
  /** Past all proxies, and without a say in what clients may do. */
  admin: Redis
}

async function start (
  t: Test,
  {
    args = ['--appendonly', 'yes', '--appendfsync', 'always'],
    env = {}
  }: { args?: string[]; env?: Record<string, string> } = {}
): Promise<Bad | undefined> {
  const redis = await ownRedisForTests(t, { args: ['--enable-debug-command', 'yes', ...args] })
  if (!redis) return undefined
  const proxy = await startTcpProxy(t, redis.port)
  const gated = gate()
  const seed = await startSeed(t, {
    sharedProvider: provider,
    definitions: [...interactiveTools, gated.tool],
    env: {
      REDIS_URL: `redis://127.0.0.1:${proxy.port}`,
      SEED_SECRET: 'one secret for all of the replicas',
      MCP_LIMIT_PER_PRINCIPAL: String(LIMIT),
      ...env
    }
  })
  await ready(seed)
  const admin = new Redis(redis.url, { lazyConnect: true })
  admin.on('error', () => {})
  t.teardown(() => { admin.disconnect() })
  return { redis, proxy, seed, gated, admin }
}

const token = async (sub = 'ada'): Promise<string> => await provider.mint({ sub })

function isRefused (t: Test, { status, retryAfter, ms, body }: RawAnswer, what: string): void {
  t.match(
    { status, retryAfter, body },
    { status: 503, retryAfter: '1', body: { jsonrpc: '2.0', error: { code: -32000 } } },
    what
  )
  // At once, with room for a loaded machine: what waits for Redis waits for as long as it is away.
  t.ok(ms < 10_000, `${what}: after ${Math.round(ms)} ms`)
}

async function readiness ({ url }: TestSeed): Promise<{ code: number, status: string, store: string }> {
  const response = await fetch(`${url}/health/ready`)
  const { status, parts } = await response.json() as { status: string, parts: { store: { status: string } } }
  return { code: response.status, status, store: parts.store.status }
}

/** Lines of Redis, and those of errors that are neither these nor requests. */
function linesOf ({ logs }: TestSeed) {
  return {
    redis: logs.flatMap(({ msg }) => /^Redis is (unreachable|reachable again)/.exec(msg)?.[0] ?? []),
    errors: logs.filter(({ level, msg }) => level >= 50 && !msg.startsWith(LOST))
  }
}

interface Outage {
  begin (bad: Bad): Promise<void>
  end (bad: Bad): Promise<void>
  /** The reason in the log line of the loss. */
  reason: RegExp
  /** It answers reads for as long as Seed has not noticed. */
  reads?: boolean
}

const outages: Record<string, Outage> = {
  killed: {
    begin: async ({ redis }) => { await redis.kill('SIGKILL') },
    end: async ({ redis }) => { await redis.restart() },
    reason: /^(CLOSED|ECONNRESET|ECONNREFUSED)$/
  },
  'hung (SIGSTOP)': {
    begin: async ({ redis }) => { await redis.kill('SIGSTOP') },
    end: async ({ redis }) => { await redis.kill('SIGCONT') },
    reason: /^ETIMEDOUT$/
  },
  'behind a network that swallows everything': {
    begin: async ({ proxy }) => { proxy.set('blackhole') },
    end: async ({ proxy }) => { proxy.set('clear') },
    reason: /^ETIMEDOUT$/
  },
  'slow by two seconds': {
    begin: async ({ proxy }) => { proxy.set({ delayMs: 1_000 }) },
    end: async ({ proxy }) => { proxy.set('clear') },
    reason: /^ETIMEDOUT$/
  },
  'slow by half a second': {
    begin: async ({ proxy }) => { proxy.set({ delayMs: 250 }) },
    end: async ({ proxy }) => { proxy.set('clear') },
    reason: /^ETIMEDOUT$/
  },
  'a replica that takes no writes (READONLY)': {
    begin: async ({ admin }) => { await admin.call('REPLICAOF', '127.0.0.1', '1') },
    end: async ({ admin }) => { await admin.call('REPLICAOF', 'NO', 'ONE') },
    reason: /^READONLY$/,
    reads: true
  },
  'a replica without its primary, that does not read either (MASTERDOWN)': {
    async begin ({ admin }) {
      await admin.config('SET', 'replica-serve-stale-data', 'no')
      await admin.call('REPLICAOF', '127.0.0.1', '1')
    },
    end: async ({ admin }) => { await admin.call('REPLICAOF', 'NO', 'ONE') },
    reason: /^(MASTERDOWN|READONLY)$/
  },
  'a Redis that wants a password (NOAUTH)': {
    async begin ({ admin }) {
      await admin.config('SET', 'requirepass', 'secret')
      await admin.call('CLIENT', 'KILL', 'TYPE', 'normal')
      await admin.call('CLIENT', 'KILL', 'TYPE', 'pubsub')
    },
    end: async ({ admin }) => { await admin.config('SET', 'requirepass', '') },
    reason: /^(CLOSED|ECONNRESET|NOAUTH)$/
  }
}

for (const [name, { begin, end, reason, reads = false }] of Object.entries(outages)) {
  t.test(`Redis is ${name}`, { timeout: 60_000 }, async (t) => {
    const bad = await start(t)
    if (!bad) return
    const { seed, gated } = bad
    const { url } = seed
    await bad.admin.connect()
    const known = await token()
    const session = await startRawSession(url, known)
    // Of a session that was called lately there is a copy for two seconds (src/mcp/sessions/session-cache.ts); of this
    // one there is none.
    const idle = await startRawSession(url, known)
    t.equal((await session.post(call(ECHO.name, ECHO.arguments))).status, 200)
    t.equal((await sendModern(url, known, 'tools/call', ECHO)).status, 200)

    const standalone = (await session.get()).events!
    t.match(await standalone.next(), { data: '' })
    const running = (
      await session.post(call('gate', { progress: true }, { id: 'running', _meta: { progressToken: 'p' } }))
    ).events!
    t.match(await running.message(), { method: 'notifications/progress' })
    const asking = (await session.post(call('ask_form', {}, { id: 'asking' }))).events!
    const question = await asking.message()
    t.match(question, { method: 'elicitation/create' })
    const answer = { jsonrpc: '2.0', id: question.id, result: { action: 'accept', content: { name: 'Ada', age: 36 } } }

    await begin(bad)
    const early = [
      idle.post(call(ECHO.name, ECHO.arguments, { id: 'early' })), session.get(),
      sendRaw(url, known, { body: initialize() })
    ]
    const [first, opened, begun] = await Promise.all(early)
    isRefused(t, begun!, 'initialize, at once')
    if (!reads) {
      isRefused(t, first!, 'a call in the session, at once')
      isRefused(t, opened!, 'GET, at once')
    }
    t.match(await seed.logged(({ msg }) => msg.startsWith(LOST)), { level: 50, reason })

    for (const bearer of [known, await token()]) {
      const served = await sendModern(url, bearer, 'tools/call', ECHO)
      t.match(served, { status: 200, body: { result: { content: [{ text: 'ada: hello' }] } } }, '2026-07-28 is served')
    }
    isRefused(t, await sendRaw(url, known, { body: initialize() }), 'initialize')
    const refused = [
      await idle.post(call(ECHO.name, ECHO.arguments, { id: 'during' })),
      await idle.post(request('tools/list')),
      await session.post(request('ping')),
      await session.get(),
      await session.get(running.lastEventId)
    ]
    if (!reads) {
      for (const one of refused) isRefused(t, one, 'in the session')
      isRefused(t, await session.post(answer), 'an answer to a question')
      isRefused(t, await session.end(), 'DELETE')
    } else {
      for (const { status } of refused) t.ok([200, 503].includes(status), `in the session: ${status}`)
    }
    t.same(await readiness(seed), { code: 200, status: 'degraded', store: 'failing' })
    t.equal((await fetch(`${url}/health/live`)).status, 200)

    const greedy = await token('greedy')
    const statuses: number[] = []
    // At most one minute ends in between.
    while (statuses.length <= 2 * LIMIT && statuses.at(-1) !== 429) {
      statuses.push((await sendModern(url, greedy, 'ping')).status)
    }
    t.equal(statuses.at(-1), 429, 'nobody is unlimited meanwhile')

    gated.open('let go')
    t.match(
      (await running.rest()).at(-1),
      { id: 'running', result: { content: [{ text: 'let go' }] } },
      'a call that was running is answered'
    )
    t.notOk(standalone.hasEnded, 'the stream is still open')

    await end(bad)
    const after: RawAnswer[] = []
    await until(async () => {
      after.push(await idle.post(call(ECHO.name, ECHO.arguments, { id: `after-${after.length}` })))
      return after.at(-1)!.status === 200
    }, 'the same session works again')
    for (const one of after.slice(0, -1)) isRefused(t, one, 'until then')
    await ready(seed)
    t.equal((await session.post(answer)).status, 202, 'the answer can be posted again')
    t.match(await asking.rest(), [{ id: 'asking', result: { content: [{ text: 'Ada is 36' }] } }])
    t.equal((await sendRaw(url, known, { body: initialize() })).status, 200)

    t.equal((await sendModern(url, known, 'tools/call', { name: 'change_tools', arguments: {} })).status, 200)
    const heard = [await standalone.message()]
    t.equal((await session.end()).status, 204)
    heard.push(...await standalone.rest())
    t.match(heard, [{ method: 'notifications/tools/list_changed' }])
    t.equal(heard.length, 1, 'a change after the return is told once')
    t.equal((await session.post(request('ping'))).status, 404, 'what has ended has ended')

    const { redis: lines, errors } = linesOf(seed)
    t.same(lines, [LOST, BACK], 'one line marks the loss, one the return')
    t.same(errors, [], 'no other errors')
  })
}

t.test('Redis is slower by 200 ms: everything is served, only later', { timeout: 120_000 }, async (t) => {
  /** Undefined where there is no Redis. */
  async function observe () {
    const bad = await start(t)
    if (!bad) return undefined
    const { seed, proxy } = bad
    const { url } = seed
    const known = await token()
    const session = await startRawSession(url, known)
    const standalone = (await session.get()).events!
    await standalone.next()
    proxy.set({ delayMs: 100 })
    const began = performance.now()
    const answers: RawAnswer[] = []
    // Longer than it takes to be given up as too slow.
    for (let round = 0; performance.now() - began < 2_000; round++) {
      answers.push(await session.post(call(ECHO.name, ECHO.arguments, { id: round })))
      answers.push(await sendModern(url, await token(), 'tools/call', ECHO))
    }
    answers.push(await sendRaw(url, known, { body: initialize() }))
    answers.push(await sendModern(url, known, 'tools/call', { name: 'change_tools', arguments: {} }))
    const isServed = answers.every(({ status }) => status === 200)
    return {
      answers,
      isServed,
      change: isServed ? await standalone.message() : undefined,
      readiness: await readiness(seed),
      lines: linesOf(seed)
    }
  }

  let observed = await observe()
  // A machine that stalls makes Redis slower than this test does.
  for (let tries = 1; tries < 4 && observed !== undefined && observed.lines.redis.length > 0; tries++) {
    observed = await observe()
  }
  if (observed === undefined) return
  t.match(observed, {
    isServed: true,
    change: { method: 'notifications/tools/list_changed' },
    readiness: { code: 200, status: 'ready', store: 'ok' },
    lines: { redis: [], errors: [] }
  }, 'nothing was lost')
  t.same(observed.lines, { redis: [], errors: [] })
  const ofSession = observed.answers.slice(0, -2).filter((_, index) => index % 2 === 0)
  t.ok(ofSession.every(({ body }) => body.result.content[0].text === 'ada: hello'))
})

t.test('Redis is full: open sessions and 2026-07-28 are served, what is new waits', { timeout: 60_000 }, async (t) => {
  const bad = await start(t, { args: ['--maxmemory-policy', 'noeviction'] })
  if (!bad) return
  const { seed, admin } = bad
  const { url } = seed
  await admin.connect()
  const known = await token()
  const session = await startRawSession(url, known)
  const standalone = (await session.get()).events!
  await standalone.next()
  await admin.config('SET', 'maxmemory', '1')

  isRefused(t, await sendRaw(url, known, { body: initialize() }), 'initialize')
  t.match(await seed.logged(({ msg }) => msg.startsWith(LOST)), { level: 50, reason: 'OOM' })
  for (let round = 0; round < 3; round++) {
    t.match(await session.post(call(ECHO.name, ECHO.arguments, { id: round })), {
      status: 200,
      body: { result: { content: [{ text: 'ada: hello' }] } }
    })
    t.equal((await session.post(request('tools/list'))).status, 200)
    t.equal((await sendModern(url, await token(), 'tools/call', ECHO)).status, 200)
    isRefused(t, await sendRaw(url, known, { body: initialize() }), 'initialize again')
  }
  const counting = (
    await session.post(call('count', { steps: 2, pauseMs: 1 }, { id: 'count', _meta: { progressToken: 'p' } }))
  ).events!
  t.match(
    (await counting.rest()).at(-1),
    { id: 'count', result: { content: [{ text: 'Counted to 2' }] } },
    'streams cannot be resumed, but go on'
  )
  t.same(counting.ids, [])
  const asking = (await session.post(call('ask_form', {}, { id: 'asking' }))).events!
  const { id } = await asking.message()
  t.equal(
    (await session.post({ jsonrpc: '2.0', id, result: { action: 'accept', content: { name: 'Ada', age: 36 } } }))
      .status,
    202
  )
  t.match(await asking.rest(), [{ id: 'asking', result: { content: [{ text: 'Ada is 36' }] } }])
  const registration = await fetch(`${url}/oauth/register`, {
    method: 'POST',
    headers: { 'content-type': 'application/json' },
    body: JSON.stringify({ redirect_uris: ['http://localhost:8080/callback'] })
  })
  t.match(
    { status: registration.status, retryAfter: registration.headers.get('retry-after') },
    { status: 503, retryAfter: '1' }
  )
  t.same(await readiness(seed), { code: 200, status: 'degraded', store: 'failing' })
  t.notOk(standalone.hasEnded)

  await admin.config('SET', 'maxmemory', '0')
  await seed.logged(({ msg }) => msg.startsWith(BACK))
  const another = await startRawSession(url, known)
  t.equal((await another.end()).status, 204)
  t.equal((await sendModern(url, known, 'tools/call', { name: 'change_tools', arguments: {} })).status, 200)
  t.match(await standalone.message(), { method: 'notifications/tools/list_changed' })
  t.equal((await session.end()).status, 204)
  t.same(linesOf(seed), { redis: [LOST, BACK], errors: [] })
})

t.test('Redis comes back empty: sessions are gone and clients begin anew, and nothing else is wrong', { timeout: 60_000 }, async (t) => {
  const bad = await start(t, { args: [] })
  if (!bad) return
  const { seed, redis, gated, admin } = bad
  const { url } = seed
  const known = await token()
  const session = await startRawSession(url, known)
  const standalone = (await session.get()).events!
  await standalone.next()
  const listening = (
    await sendModern(url, known, 'subscriptions/listen', { notifications: { toolsListChanged: true } })
  ).events!
  await listening.message()
  const running = (
    await session.post(call('gate', { progress: true }, { id: 'running', _meta: { progressToken: 'p' } }))
  ).events!
  await running.message()
  t.equal((await sendModern(url, known, 'tools/call', { name: 'change_tools', arguments: {} })).status, 200)
  t.match(await standalone.message(), { method: 'notifications/tools/list_changed' })
  t.match(await listening.message(), { method: 'notifications/tools/list_changed' })

  await redis.kill('SIGKILL')
  isRefused(t, await session.post(request('ping')), 'while nobody knows')
  await redis.restart()
  const after: RawAnswer[] = []
  await until(async () => {
    after.push(await session.post(request('ping')))
    return after.at(-1)!.status !== 503
  }, 'it is back')
  t.match(
    after.at(-1),
    { status: 404, body: { error: { message: 'Session not found' } } },
    'so that the client begins anew'
  )
  t.equal((await session.get()).status, 404)
  t.equal((await session.end()).status, 404)
  gated.open('let go')
  t.match(
    (await running.rest()).at(-1),
    { id: 'running', result: { content: [{ text: 'let go' }] } },
    'who still listens gets the answer'
  )

  await ready(seed)
  await admin.connect()
  await until(
    async () => ((await admin.pubsub('CHANNELS')) as string[]).some((channel) => channel.endsWith('replicas')),
    'Seed listens again'
  )
  const anew = await startRawSession(url, known)
  const next = (await anew.get()).events!
  await next.next()
  t.match(await anew.post(call(ECHO.name, ECHO.arguments)), {
    status: 200,
    body: { result: { content: [{ text: 'ada: hello' }] } }
  })
  t.equal((await sendModern(url, known, 'tools/call', { name: 'change_tools', arguments: {} })).status, 200)
  t.match(
    await listening.message(),
    { method: 'notifications/tools/list_changed' },
    'numbers that begin anew hide no change'
  )
  t.match(await next.message(), { method: 'notifications/tools/list_changed' })
  t.equal((await anew.end()).status, 204)
  t.same(await next.rest(), [])
  t.same(linesOf(seed), { redis: [LOST, BACK], errors: [] })
})

t.test('a client is answered although the connection to Redis breaks while its own answer is read', async (t) => {
  const redis = await ownRedisForTests(t)
  if (!redis) return
  const proxy = await startTcpProxy(t, redis.port)
  const replicas = await startReplicas(t, { redisUrl: `redis://127.0.0.1:${proxy.port}`, definitions: interactiveTools })
  for (const asked of ['ask_form', 'ask_roots']) {
    // The POST of the call and that of the answer reach different replicas.
    const client = await connectV1(t, replicas, replicas.roundRobin)
    const lost = proxy.loseReplyTo((sent) => sent.includes('answer:') && !/\bset\b/i.test(sent))
    t.match(await client.call(asked, {}, { timeout: 20_000 }), asked === 'ask_form' ? 'Ada is 36' : 'file:///home/ada')
    await lost
    await client.close()
  }
})
