import { randomBytes } from 'node:crypto'
import fc from 'fast-check'
import { Redis } from 'ioredis'
import t from 'tap'
import { startDevProvider } from '../../dev/provider.ts'
import type { DevProvider } from '../../dev/provider.ts'
import { createBrowser } from '../support/browser.ts'
import { ownRedisForTests } from '../support/redis.ts'
import { modernRequest, ready } from '../support/seed.ts'
import { createPlainClient } from '../support/sign-in.ts'
import { hugeValue, jsonOf, oddString, oddValue, spoiler, toJson, toQuery } from './arbitraries.ts'
import { TOOL_SERVER, check, startFuzzServer } from './fuzz-server.ts'
import type { FuzzRequest, FuzzServer } from './fuzz-server.ts'

/** A store whose records and channels hold what Seed did not write, in both modes. */

const FORM = { 'content-type': 'application/x-www-form-urlencoded' }
const JSON_HEADERS = { 'content-type': 'application/json', accept: 'application/json, text/event-stream' }
/** What the documents promise where the store cannot be used. */
const STORE_AWAY = [503]

/** What is in the store instead of a record: a damaged copy of it, other JSON, other text, or another kind of key. */
const spoiling = fc.oneof(
  { weight: 6, arbitrary: spoiler.map((spoil) => (text: string) => toJson(spoil(parse(text)))) },
  { weight: 2, arbitrary: oddValue.map((value) => () => toJson(value)) },
  { weight: 2, arbitrary: oddString.map((text) => () => Buffer.from(text)) },
  { weight: 1, arbitrary: hugeValue.map((value) => () => toJson(value)) },
  { weight: 1, arbitrary: fc.nat({ max: 100 }).map((at) => (text: string) => Buffer.from(text).subarray(0, at)) },
  { weight: 1, arbitrary: fc.constantFrom('list', 'set', 'hash', 'zset', 'stream').map((kind) => () => kind) }
)

for (const mode of ['broker', 'proxy'] as const) {
  t.test(`spoilt records and messages in ${mode} mode`, async (t) => {
    const redis = await ownRedisForTests(t)
    if (redis === undefined) return
    const provider = await startDevProvider({ algorithm: 'ES256' })
    t.teardown(async () => { await provider.close() })
    const server = await startFuzzServer(t, {
      OAUTH_MODE: mode,
      SEED_SECRET: randomBytes(32).toString('base64url'),
      OIDC_ISSUER: provider.issuer,
      OIDC_AUDIENCE: provider.clientId,
      REDIS_URL: redis.url
    }, TOOL_SERVER)
    const commands = new Redis(redis.url)
    t.teardown(() => { commands.disconnect() })
    await ready(server)
    const requests = await useEverything(server, provider)
    const snapshot = await dumpAll(commands)
    const names = [...snapshot.keys()].filter((key) => !/:(replica|limit):/.test(key)).sort()
    const kinds = [...new Set(names.map(kindOf))]
    t.comment(`${mode}: ${kinds.join(', ')}`)
    t.ok(kinds.length >= 8, 'records of many kinds')

    t.test('every request is answered, whatever a record holds', async () => {
      const input = fc.tuple(fc.constantFrom(...kinds), fc.nat(), spoiling)
      await check(fc.asyncProperty(input, async ([kind, at, spoil]) => {
        const keys = names.filter((key) => kindOf(key) === kind)
        const key = keys[at % keys.length]!
        await restoreAll(commands, snapshot)
        await write(commands, key, spoil)
        for (const request of requests) {
          await server.answers(request, STORE_AWAY).catch((err: Error) => {
            throw new Error(`${key}: ${request.path}: ${err.message}`, { cause: err })
          })
        }
      }), { runs: 40 })
      await restoreAll(commands, snapshot)
      await server.isWell()
    })

    t.test('every replica listens on, whatever a channel carries', async (t) => {
      const channels = await commands.pubsub('CHANNELS', '*') as string[]
      t.ok(channels.length >= 4, channels.join(', '))
      const message = fc.oneof(
        jsonOf(spoiler.map((spoil) => spoil({ names: ['token:a', 'subject:b'], issuedUntil: 1 }))),
        jsonOf(fc.tuple(spoiler, fc.constantFrom(...REPLICA_MESSAGES)).map(([spoil, message]) => spoil(message))),
        jsonOf(spoiler.map((spoil) => spoil({
          from: 'a', heartbeat: 1, window: 1, isSnapshot: true, wantsSnapshot: true, values: [['calls', 'a', 1]]
        }))),
        oddString.map((text) => Buffer.from(text)),
        hugeValue.map(toJson)
      )
      await check(fc.asyncProperty(fc.constantFrom(...channels), message, async (channel, message) => {
        await commands.publish(channel, message as Buffer)
        await server.answers(requests[0]!)
      }), { runs: 120 })
      await server.isWell()
    })
  })
}

const REPLICA_MESSAGES = [
  { kind: 'request-answered', request: 'a' },
  { kind: 'call-cancelled', session: 's', request: 1 },
  { kind: 'session-ended', session: 's' },
  { kind: 'subscriptions-changed', session: 's' },
  { kind: 'stream-resumed', stream: 'a', reader: 'b' },
  { kind: 'event-appended', stream: 'a' },
  { kind: 'stream-claimed', session: 's', reader: 'b', position: '1' },
  { kind: 'change-published' }
]

/**
 * Leaves a record of as many kinds as it can in the store.
 *
 * @returns requests that read them, and may be repeated
 */
async function useEverything (server: FuzzServer, provider: DevProvider): Promise<FuzzRequest[]> {
  const client = await createPlainClient(server.url)
  const browser = createBrowser()
  const scopes = { scope: 'openid profile email offline_access' }
  const tokens = await (await client.redeem(await client.walk(undefined, scopes, browser))).json() as {
    access_token: string, refresh_token: string
  }
  const code = (await client.walk(undefined, scopes, browser)).url.searchParams.get('code')!
  const page = await fetch(client.authorizationUrl())
  const cookie = page.headers.get('set-cookie')!.split(';')[0]!
  const consent = /name="consent" value="([^"]+)"/.exec(await page.text())![1]!
  const form = (path: string, parameters: Record<string, string>, headers = {}): FuzzRequest =>
    ({ path, headers: { ...FORM, ...headers }, body: toQuery(Object.entries(parameters)) })
  const approved = await server.send(form('/oauth/consent', { consent, decision: 'approve' }, { cookie }))
  const state = new URL(approved.headers.location!).searchParams.get('state')!
  const signInCookie = String(approved.headers['set-cookie']?.[0]).split(';')[0]!

  const headers = { ...JSON_HEADERS, authorization: `Bearer ${tokens.access_token}` }
  const rpc = (method: string, params: object, more: object = {}): FuzzRequest =>
    ({ path: '/mcp', headers: { ...headers, ...more }, body: toJson({ jsonrpc: '2.0', id: 1, method, params }) })
  const initialized = await server.send(rpc('initialize', {
    protocolVersion: '2025-11-25', capabilities: { elicitation: {} }, clientInfo: { name: 'fuzz', version: '1' }
  }))
  const session = { 'mcp-session-id': String(initialized.headers['mcp-session-id']), 'mcp-protocol-version': '2025-11-25' }
  await server.send(rpc('resources/subscribe', { uri: 'test://watched-resource' }, session))
  const stream = await server.send(rpc('tools/call', { name: 'ask_form', arguments: {} }, session))
  const eventId = /^id: ?(\S+)$/m.exec(stream.body)?.[1] ?? 'a.b.1'
  await server.send(rpc('tools/call', { name: 'change_tools', arguments: {} }, session))
  const question = /"id":"([^"]+)"/.exec(stream.body)?.[1] ?? 'a'
  const ping = modernRequest('tools/call', { name: 'seed_ping', arguments: {} })
  const get = { method: 'GET', path: '/mcp', headers: { ...headers, accept: 'text/event-stream', ...session } }
  await server.send({ ...get })

  return [
    { path: '/mcp', headers: { ...headers, ...ping.headers }, body: ping.body },
    rpc('tools/list', {}, session),
    rpc('logging/setLevel', { level: 'info' }, session),
    { path: '/mcp', headers: { ...headers, ...session }, body: toJson({ jsonrpc: '2.0', id: question, result: {} }) },
    { ...get, headers: { ...get.headers, 'last-event-id': eventId } },
    { ...get, headers: { ...get.headers, 'last-event-id': 's.0.0' } },
    { method: 'GET', path: new URL(client.authorizationUrl()).pathname + client.authorizationUrl().search },
    form('/oauth/consent', { consent, decision: 'approve' }, { cookie }),
    { method: 'GET', path: `/oauth/callback?${toQuery([['state', state], ['code', code]])}`, headers: { cookie: signInCookie } },
    form('/oauth/token', {
      grant_type: 'authorization_code',
      client_id: client.clientId,
      code,
      redirect_uri: client.redirectUri,
      code_verifier: client.verifier
    }),
    form('/oauth/token', {
      grant_type: 'refresh_token', client_id: client.clientId, refresh_token: tokens.refresh_token
    }),
    {
      path: '/oauth/register',
      headers: JSON_HEADERS,
      body: toJson({
        client_name: 'Plain client', redirect_uris: [client.redirectUri]
      })
    },
    form('/oauth/backchannel-logout', {
      logout_token: await provider.mint({
        sub: 'ada', aud: provider.clientId, events: { 'http://schemas.openid.net/event/backchannel-logout': {} }
      }, { typ: 'logout+jwt' })
    }),
    form('/oauth/revoke', { client_id: client.clientId, token: tokens.refresh_token }),
    { method: 'GET', path: '/health/ready' }
  ]
}

/** `seed:grant:abc` is of the kind `grant`. */
const kindOf = (key: string): string => key.replace(/^seed:(\{[^}]*\}:?)?/, '').split(':')[0]!

function parse (text: string): unknown {
  try {
    return JSON.parse(text)
  } catch {
    return text
  }
}

async function dumpAll (commands: Redis): Promise<Map<string, Buffer>> {
  const keys = await commands.keys('*')
  return new Map(await Promise.all(keys.map(async (key) => [key, (await commands.dumpBuffer(key))] as const)))
}

async function restoreAll (commands: Redis, snapshot: Map<string, Buffer>): Promise<void> {
  const pipeline = commands.pipeline()
  for (const key of await commands.keys('*')) if (!snapshot.has(key) && kindOf(key) !== 'replica') pipeline.del(key)
  for (const [key, value] of snapshot) {
    if (kindOf(key) !== 'replica') pipeline.restore(key, 3_600_000, value, 'REPLACE')
  }
  await pipeline.exec()
}

/** Replaces a record, or the first item of a log or set. */
async function write (commands: Redis, key: string, spoil: (text: string) => Buffer | string): Promise<void> {
  const type = await commands.type(key)
  const text = type === 'string'
    ? (await commands.get(key))!
    : type === 'zset'
      ? (await commands.zrange(key, '0', '0'))[0] ?? ''
      : type === 'set'
        ? (await commands.smembers(key))[0] ?? ''
        : type === 'stream'
          ? JSON.stringify(await commands.xrange(key, '-', '+', 'COUNT', 1))
          : ''
  const odd = spoil(text)
  if (type === 'zset' && typeof odd !== 'string') {
    await commands.zadd(key, String(Date.now() + 60_000), odd)
    return
  }
  if (type === 'stream' && typeof odd !== 'string') {
    const [, fields] = (await commands.xrange(key, '-', '+', 'COUNT', 1))[0] ?? ['', ['a', 'b']]
    await commands.xadd(key, '*', ...fields.map((value, index) => index % 2 === 1 ? odd : value))
    return
  }
  await commands.del(key)
  if (odd === 'list') await commands.rpush(key, 'a')
  else if (odd === 'set') await commands.sadd(key, 'a')
  else if (odd === 'hash') await commands.hset(key, 'a', 'b')
  else if (odd === 'zset') await commands.zadd(key, 1, 'a')
  else if (odd === 'stream') await commands.xadd(key, '*', 'a', 'b')
  else await commands.set(key, odd)
  await commands.expire(key, 3_600)
}
