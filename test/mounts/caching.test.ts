import { join } from 'node:path'
import t from 'tap'
import { defineResource } from '../../src/define/resource.ts'
import { ListFreshness } from '../../src/mounts/server/list-freshness.ts'
import type { ListHints } from '../../src/mounts/connection/lists.ts'
import { modernRequest, postMcp, ready, startSeed } from '../support/seed.ts'
import type { OpenServer } from '../support/open-server.ts'
import { until } from '../support/until.ts'
import { ADD, startMounted, startUpstream, writeMounts } from '../support/upstream.ts'
import type { Upstream } from '../support/upstream.ts'

/** What mounted servers say about keeping their lists and resources (MCP 2026-07-28, caching). */

interface Hint { ttlMs: number, cacheScope: string }

const hintOf = async (seed: OpenServer, method: string, params: Record<string, unknown> = {}): Promise<Hint> => {
  const { ttlMs, cacheScope } = (await seed.send('modern', method, params)).response.result
  return { ttlMs, cacheScope }
}

const listed = ({ messages }: Upstream): number => messages.filter(({ method }) => method === 'tools/list').length

t.test('clients may keep merged lists for no longer, and for nobody else, than each mounted server says', async (t) => {
  const [calc, other, old] = [await startUpstream(t), await startUpstream(t), await startUpstream(t, 'session')]
  calc.cacheHints = {
    'tools/list': { ttlMs: 40_000, cacheScope: 'public' },
    'prompts/list': { ttlMs: 3_600_000, cacheScope: 'public' },
    'resources/list': { ttlMs: 40_000, cacheScope: 'private' },
    'resources/templates/list': { ttlMs: 3_600_000, cacheScope: 'public' }
  }
  other.cacheHints = {
    'tools/list': { ttlMs: 50_000, cacheScope: 'public' },
    'prompts/list': { ttlMs: 3_600_000, cacheScope: 'public' },
    'resources/list': { ttlMs: 50_000, cacheScope: 'public' }
  }
  const seed = await startMounted(t, {
    calc: { url: calc.url }, other: { url: other.url }, old: { url: old.url }
  })
  const tools = await hintOf(seed, 'tools/list')
  t.equal(tools.cacheScope, 'public')
  t.ok(tools.ttlMs <= 40_000, 'the shortest time, of which some has passed')
  t.same(await hintOf(seed, 'prompts/list'), { ttlMs: 60_000, cacheScope: 'public' }, 'a minute at most')
  const resources = await hintOf(seed, 'resources/list')
  t.equal(resources.cacheScope, 'private', 'as one of them is')
  t.ok(resources.ttlMs <= 40_000)
  t.same(await hintOf(seed, 'resources/templates/list'), { ttlMs: 0, cacheScope: 'private' }, 'one says nothing itself')
  const { response } = await seed.send('legacy', 'tools/list', {})
  t.same(Object.keys(response.result), ['tools'], 'revisions of 2025 have no hints')
})

t.test('lists of which no mounted server says anything may be kept for a minute', async (t) => {
  const old = await startUpstream(t, 'session')
  const seed = await startMounted(t, { old: { url: old.url } })
  t.same(await hintOf(seed, 'tools/list'), { ttlMs: 60_000, cacheScope: 'public' })
})

t.test('of a list in pages, the page that may be kept for the shortest time counts', async (t) => {
  const upstream = await startUpstream(t)
  upstream.intercept = (_request, response) => {
    const { method, params, ...answer } = upstream.messages.at(-1)!
    if (method !== 'tools/list') return false
    const page = params.cursor === undefined
      ? { tools: [ADD], nextCursor: '2', ttlMs: 3_600_000, cacheScope: 'public' }
      : { tools: [{ ...ADD, name: 'sub' }], ttlMs: 0, cacheScope: 'private' }
    response.writeHead(200, { 'content-type': 'application/json' })
    response.end(JSON.stringify({ ...answer, result: { resultType: 'complete', ...page } }))
    return true
  }
  const seed = await startMounted(t, { calc: { url: upstream.url } })
  t.equal((await seed.send('modern', 'tools/list', {})).response.result.tools.length, 2)
  t.same(await hintOf(seed, 'tools/list'), { ttlMs: 0, cacheScope: 'private' })
})

t.test('lists are fetched again when their time is over, unless the operator says when', async (t) => {
  const [brief, long, set] = [await startUpstream(t), await startUpstream(t), await startUpstream(t)]
  for (const upstream of [brief, long, set]) upstream.capabilities = { tools: {} }
  long.cacheHints = { 'tools/list': { ttlMs: 3_600_000, cacheScope: 'public' } }
  const seed = await startMounted(t, {
    brief: { url: brief.url }, long: { url: long.url }, set: { url: set.url, refreshSeconds: 3_600 }
  }, { timings: { mountsMinRefreshMs: 20 } })
  brief.tools = [ADD, { ...ADD, name: 'new' }]
  await until(async () => {
    const { response } = await seed.send('modern', 'tools/list', {})
    return response.result.tools.some(({ name }: { name: string }) => name === 'brief_new')
  }, 'a tool is there that nobody has announced')
  const fetched = listed(brief)
  await until(() => listed(brief) > fetched + 2, 'it goes on')
  t.same([listed(long), listed(set)], [1, 1])
})

t.test('the time between two fetches has limits on both sides', (t) => {
  const hints = (...times: number[]): ListHints => {
    const [tools, prompts] = times.map((ttlMs) => ({ ttlMs, cacheScope: 'public' as const }))
    return { tools, prompts, resources: undefined, templates: undefined }
  }
  const refreshMs = (given: ListHints, refreshSeconds?: number): number => {
    const freshness = new ListFreshness({ refreshSeconds, minRefreshMs: 60_000 })
    freshness.fetched(given)
    return freshness.refreshMs
  }
  t.equal(refreshMs(hints()), 300_000, 'a server that says nothing')
  t.equal(refreshMs(hints(0)), 60_000)
  t.equal(refreshMs(hints(400_000, 90_000)), 90_000, 'all lists are fetched together')
  t.equal(refreshMs(hints(86_400_000)), 900_000)
  t.equal(refreshMs(hints(0), 10), 10_000)
  t.end()
})

t.test('clients may keep a resource for as long as its server says, an hour at most', async (t) => {
  const upstream = await startUpstream(t)
  const seed = await startMounted(t, { calc: { url: upstream.url } })
  const read = async (): Promise<Hint> => await hintOf(seed, 'resources/read', { uri: 'calc+notes://1' })
  t.same(await read(), { ttlMs: 0, cacheScope: 'private' })
  upstream.cacheHints = { 'resources/read': { ttlMs: 1_000, cacheScope: 'public' } }
  t.same(await read(), { ttlMs: 1_000, cacheScope: 'public' })
  upstream.cacheHints = { 'resources/read': { ttlMs: 86_400_000, cacheScope: 'private' } }
  t.same(await read(), { ttlMs: 3_600_000, cacheScope: 'private' })
  const { response } = await seed.send('legacy', 'resources/read', { uri: 'calc+notes://1' })
  t.same(Object.keys(response.result), ['contents'])
  const old = await startUpstream(t, 'session')
  const oldSeed = await startMounted(t, { calc: { url: old.url } })
  t.same(await hintOf(oldSeed, 'resources/read', { uri: 'calc+notes://1' }), { ttlMs: 0, cacheScope: 'private' })
})

t.test('no shared cache may keep a resource of a server that knows who asks', async (t) => {
  const upstream = await startUpstream(t)
  upstream.cacheHints = { 'resources/read': { ttlMs: 30_000, cacheScope: 'public' } }
  const { url } = upstream
  const seed = await startMounted(t, {
    open: { url },
    own: { url, connection: 'session' },
    told: { url, identity: { assertion: {} } },
    keyed: { url, secret: { file: join(t.testdir({ key: 'fixed-secret' }), 'key') } }
  }, { env: { SEED_SECRET: 's'.repeat(40) } })
  for (const mount of ['open', 'own', 'told', 'keyed']) {
    const hint = await hintOf(seed, 'resources/read', { uri: `${mount}+notes://1` })
    t.same(hint, { ttlMs: 30_000, cacheScope: mount === 'open' ? 'public' : 'private' }, mount)
  }
})

t.test('no shared cache may keep anything where people sign in, as it would ask nobody to', async (t) => {
  const upstream = await startUpstream(t)
  const methods = ['tools/list', 'prompts/list', 'resources/list', 'resources/templates/list'] as const
  const hint = { ttlMs: 30_000, cacheScope: 'public' as const }
  upstream.cacheHints = Object.fromEntries([...methods, 'resources/read'].map((method) => [method, hint]))
  const kept = defineResource({
    uri: 'memo://kept', name: 'kept', cache: { ttlSeconds: 30, scope: 'public' }, read: () => 'kept'
  })
  const seed = await startSeed(t, {
    definitions: [kept],
    timings: { mountsWaitMs: 60_000, mountsRetryMs: 10 },
    env: { ACCESS_GROUPS: 'finance', SEED_MOUNTS: await writeMounts({ calc: { url: upstream.url } }) }
  })
  await ready(seed)
  const ask = async (groups: string[], method: string, params: { uri?: string } = {}) => {
    const request = modernRequest(method, params)
    if (params.uri !== undefined) request.headers['mcp-name'] = params.uri
    return await postMcp(seed, request, await seed.provider.mint({ sub: 'ada', groups }))
  }
  for (const uri of ['calc+notes://1', 'memo://kept']) {
    t.match((await ask(['finance'], 'resources/read', { uri })).body.result, { ttlMs: 30_000, cacheScope: 'private' }, uri)
    t.equal((await ask(['sales'], 'resources/read', { uri })).status, 403, 'a cache would have answered')
  }
  for (const method of [...methods, 'server/discover']) {
    t.equal((await ask(['finance'], method)).body.result.cacheScope, 'private', method)
  }
})
