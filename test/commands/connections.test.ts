import { Redis } from 'ioredis'
import t from 'tap'
import type { Test } from 'tap'
import { createKeyring } from '../../src/crypto/keyring.ts'
import { digest } from '../../src/crypto/hash.ts'
import { makeSelfContainedId } from '../../src/oauth/clients/self-contained-client-id.ts'
import { keys } from '../../src/store/keys.ts'
import { SEED_SECRET, editGrant, getTokens, grantKey, refresh, register, startBroker, startReplica } from '../support/broker.ts'
import { writeEndpoints } from '../support/endpoints.ts'
import { ownRedisForTests } from '../support/redis.ts'
import { runCommand } from '../support/run-command.ts'
import { ping, subscribe } from '../support/seed.ts'
import type { TestSeed } from '../support/seed.ts'
import { until } from '../support/until.ts'

/** `seed connections`, against a server in this process and a real Redis. */

interface Fixture {
  seed: TestSeed
  env: Record<string, string>
}

async function startWithRedis (t: Test, more: Record<string, string> = {}): Promise<Fixture | undefined> {
  const redis = await ownRedisForTests(t)
  if (redis === undefined) return undefined
  const seed = await startBroker(t, { env: { REDIS_URL: redis.url, OIDC_SCOPES: 'openid profile email', ...more } })
  const env = {
    OAUTH_MODE: 'broker',
    OIDC_ISSUER: seed.provider.issuer,
    OIDC_CLIENT_ID: seed.provider.clientId,
    BASE_URL: seed.url,
    REDIS_URL: redis.url,
    SEED_SECRET
  }
  return { seed, env }
}

async function openSession ({ url }: TestSeed, token: string, path = '/mcp'): Promise<void> {
  await fetch(url + path, {
    method: 'POST',
    headers: {
      'content-type': 'application/json',
      accept: 'application/json, text/event-stream',
      authorization: `Bearer ${token}`
    },
    body: JSON.stringify({
      jsonrpc: '2.0',
      id: 1,
      method: 'initialize',
      params: { protocolVersion: '2025-11-25', capabilities: {}, clientInfo: { name: 'editor', version: '1' } }
    })
  })
}

const idOf = (refreshToken: string): string => grantKey(refreshToken).slice('grant:'.length)

t.test('lists who is connected, with client, scopes, sessions and streams, by any filter', async (t) => {
  const fixture = await startWithRedis(t)
  if (fixture === undefined) return
  const { seed, env } = fixture
  const list = async (...args: string[]): Promise<Array<Record<string, unknown>>> => {
    const { code, printed, printedErrors } = await runCommand(['connections', '--json', ...args], env)
    t.match({ code, printedErrors }, { code: 0, printedErrors: '' }, args.join(' '))
    return printed.split('\n').filter((line) => line !== '').map((line) => JSON.parse(line) as Record<string, unknown>)
  }
  t.same(await list(), [], 'nobody at first')

  const [editor, mail] = [
    await register(seed.url, { client_name: 'Editor' }),
    await register(seed.url, { client_name: 'Mail' })
  ]
  const ada = await getTokens(seed, { clientId: editor })
  const bob = await getTokens(seed, { clientId: mail, login: 'bob' })
  await openSession(seed, ada.accessToken)
  const stream = await subscribe(seed.url, ada.accessToken)
  const now = new Date().toISOString().slice(0, 13)

  const both = await list()
  t.equal(both.length, 2)
  let [adas] = await list('--subject', 'ada')
  await until(async () => {
    [adas] = await list('--subject', 'ada')
    return adas!['streams'] === 1
  }, 'the replica has said that a stream is open')
  t.match(adas, {
    grant: idOf(ada.refreshToken),
    subject: 'ada',
    name: 'Ada Lovelace',
    email: 'ada@example.com',
    clientId: editor,
    clientKind: 'registered',
    clientName: 'Editor',
    scopes: ['openid', 'profile', 'email'],
    since: new RegExp(`^${now}`),
    lastUsed: /Z$/,
    expires: /Z$/,
    sessions: 1,
    streams: 1
  })
  await stream.body!.cancel()

  for (const [args, subjects] of [
    [['--person', 'ADA@example.com'], ['ada']],
    [['--person', 'bob'], ['bob']],
    [['--person', 'Ada'], ['ada']],
    [['--person', 'nobody'], []],
    [['--client', mail], ['bob']],
    [['--client', mail, '--subject', 'ada'], []],
    [['--grant', idOf(ada.refreshToken)], ['ada']],
    [['--grant', '-none'], []],
    [['--older-than', '1h'], []],
    [['--unused-for', '0s', '--older-than', '0s', '--subject', 'ada'], ['ada']],
    [['--unused-for', '30d'], []]
  ] as const) {
    await until(async () => JSON.stringify((await list(...args)).map(({ subject }) => subject)) ===
      JSON.stringify(subjects), args.join(' '))
  }

  const { printed } = await runCommand(['connections'], env)
  t.match(printed, `Ada Lovelace, ada@example.com (ada), Editor (${editor})\n  since ${now.replace('T', ' ')}`)
  t.match(printed, `; grant ${idOf(ada.refreshToken)}\n  scopes: openid profile email; open: 1 session`)
  t.match(printed, /\n2 connections\n$/)

  await openSession(seed, ada.accessToken)
  t.match((await runCommand(['connections'], env)).printed, 'open: 2 sessions')
  await getTokens(seed, { clientId: mail })
  t.match(await list('--subject', 'ada', '--client', mail), [{ sessions: 0 }], 'sessions are those of the client')
  t.equal((await ping(seed.url, bob.accessToken)).status, 200)
})

t.test('counts the sessions of a client at each MCP endpoint', async (t) => {
  const SEED_ENDPOINTS = await writeEndpoints({ endpoints: { sales: {}, ops: {} } })
  const fixture = await startWithRedis(t, { SEED_ENDPOINTS })
  if (fixture === undefined) return
  const { seed, env } = fixture
  const clientId = await register(seed.url)
  for (const [path, sessions] of [['/mcp', 1], ['/mcp/sales', 2], ['/mcp/ops', 0]] as const) {
    const { accessToken } = await getTokens(seed, { clientId, parameters: { resource: seed.url + path } })
    for (let count = 0; count < sessions; count++) await openSession(seed, accessToken, path)
  }
  const { printed } = await runCommand(['connections', '--json'], { ...env, SEED_ENDPOINTS })
  const counts = printed.trim().split('\n').map((line) => JSON.parse(line)).map(({ resource, sessions }) => [resource, sessions])
  t.same(new Map(counts as Array<[string, number]>),
    new Map([[`${seed.url}/mcp`, 1], [`${seed.url}/mcp/ops`, 0], [`${seed.url}/mcp/sales`, 2]]))
})

t.test('ends what matches, everywhere at once, and says before what would end', async (t) => {
  const fixture = await startWithRedis(t)
  if (fixture === undefined) return
  const { seed, env } = fixture
  const ada = await getTokens(seed)
  const bob = await getTokens(seed, { login: 'bob' })
  const seen = (text: string) => new RegExp(`^Ada Lovelace[^]*\n${text}\n$`)

  for (const command of [['connections', '--person', 'Ada Lovelace', '--end'], ['revoke', '--subject', 'ada']]) {
    t.match(await runCommand([...command, '--dry-run'], env), { code: 0, printed: seen('One connection would end') })
  }
  t.equal((await ping(seed.url, ada.accessToken)).status, 200, 'nothing has ended')

  const revocations = seed.provider.hits()['/token/revocation'] ?? 0
  t.match(await runCommand(['connections', '--person', 'Ada Lovelace', '--end'], env), {
    code: 0, printed: seen('One connection has ended')
  })
  await until(async () => (await ping(seed.url, ada.accessToken)).status === 401, 'the token has ended')
  t.match(await refresh(seed.url, ada.clientId, ada.refreshToken), { json: { error: 'invalid_grant' } })
  t.equal(seed.provider.hits()['/token/revocation'], revocations + 1, 'at the provider too')
  t.equal((await ping(seed.url, bob.accessToken)).status, 200, 'others go on')

  await Promise.all(Array.from({ length: 3 }, async () => { await getTokens(seed) }))
  t.match(await runCommand(['revoke', '--subject', 'bob'], env), { code: 0, printed: 'One grant has ended\n' })
  t.match(await runCommand(['connections', '--end', '--all'], env), { code: 0, printed: /\n3 connections have ended\n$/ })
  t.match(await runCommand(['connections'], env), { code: 0, printed: /^0 connections\n$/ })
})

t.test('people without a name and clients of all kinds are shown as far as they are known', async (t) => {
  const redis = await ownRedisForTests(t)
  if (redis === undefined) return
  const { createRedisStore } = await import('../../src/store/redis.ts')
  const { openRedisClient } = await import('../../src/store/redis-client.ts')
  const { createGrantFixture } = await import('../support/grants-fixture.ts')
  const log = { info () {}, warn () {}, error () {} }
  const store = createRedisStore(openRedisClient({ url: redis.url, keyPrefix: 'seed:', log }), log)
  t.teardown(() => store.close())
  await store.ready()
  const { grants } = createGrantFixture({ store, requestTokens: async () => { throw new Error('not expected') } })
  const upstream = { accessToken: 'a', refreshToken: 'r' }
  const claims = { email: 'ada\u001b[2J@example.com' }
  const grant = { clientAuthMethod: 'none', subject: 'ada', claims, sid: undefined, refreshes: true, upstream } as const
  for (const [clientId, clientKind] of [
    ['intranet', 'configured'], ['gone', 'configured'], ['curl', 'unregistered'], ['seed-gone', 'registered']
  ] as const) {
    const scope = clientId === 'curl' ? 'openid' : ''
    await grants.activate(await grants.create({ ...grant, clientId, clientKind, scope }))
  }
  const env = {
    OAUTH_MODE: 'broker',
    OIDC_ISSUER: 'https://auth.example.com',
    OIDC_CLIENT_ID: 'seed',
    REDIS_URL: redis.url,
    SEED_SECRET,
    OAUTH_CLIENTS: JSON.stringify([{
      client_id: 'intranet', client_name: 'The intranet', redirect_uris: ['https://intranet.example.com/callback']
    }])
  }
  const { printed } = await runCommand(['connections'], env)
  const person = 'ada\u{fffd}[2J@example.com (ada)'
  for (const client of ['The intranet (intranet)', 'gone', 'curl', 'seed-gone']) {
    t.match(printed, `${person}, ${client}\n`, 'and no name writes to the terminal')
  }
  t.match(printed, /^ {2}scopes: none$/m)
  await grants.activate(await grants.create({
    ...grant,
    subject: 'nameless',
    claims: {},
    scope: 'openid',
    clientId: 'curl',
    clientKind: 'unregistered',
    endpoint: 'sales'
  }))
  t.match((await runCommand(['connections', '--subject', 'nameless'], env)).printed,
    /^nameless, curl, at http:\/\/localhost:3000\/mcp\/sales\n/, 'at an endpoint that is gone')
  t.match(await runCommand(['connections', '--person', 'ada', '--older-than', '1w'], env), { printed: /^0 connections/ })
})

t.test('what it cannot do, it says in a sentence', async (t) => {
  const env = {
    OAUTH_MODE: 'broker', OIDC_ISSUER: 'https://auth.example.com', OIDC_CLIENT_ID: 'seed', SEED_SECRET
  }
  for (const [args, message] of [
    [['--end'], 'seed connections: name what to end, or --all'],
    [['--dry-run'], 'seed connections: --all and --dry-run belong to --end'],
    [['--all'], 'seed connections: --all and --dry-run belong to --end'],
    [['--older-than', 'long'], 'seed connections: --older-than is a number with a unit: 90d, 12h, 30m'],
    [[], 'REDIS_URL is not set']
  ] as const) {
    const { code, printedErrors } = await runCommand(['connections', ...args], env)
    t.match({ code, printedErrors }, { code: 1, printedErrors: message }, args.join(' '))
  }
  t.match(await runCommand(['connections'], { ...env, OAUTH_MODE: 'proxy', OIDC_AUDIENCE: 'x', REDIS_URL: 'redis://127.0.0.1:1' }), {
    code: 1, printedErrors: /the provider keeps the grants: it knows who is connected/
  })
})

t.test('names a client whose registration is in its id', async (t) => {
  const fixture = await startWithRedis(t, { DCR_LIMIT_TOTAL: '1' })
  if (fixture === undefined) return
  const { seed, env } = fixture
  await register(seed.url, { client_name: 'Mail' })
  await getTokens(seed, { clientId: await register(seed.url, { client_name: 'Editor' }) })
  const { printed } = await runCommand(['connections', '--json'], env)
  t.match(JSON.parse(printed), { clientKind: 'registered', clientName: 'Editor' })
})

t.test('what the operator ends is one line in the audit log of one of the replicas', async (t) => {
  const fixture = await startWithRedis(t, { AUDIT_LOG: 'stdout' })
  if (fixture === undefined) return
  const { seed, env } = fixture
  const other = await startReplica(t, seed, { REDIS_URL: env['REDIS_URL']!, AUDIT_LOG: 'stdout' })
  const lines = (): object[] => [...seed.logs, ...other.logs].filter((line) => line['event'] === 'revocation')
  const clientId = await register(seed.url, { client_name: 'Editor' })
  const { refreshToken } = await getTokens(seed, { clientId })

  t.equal((await runCommand(['connections', '--subject', 'ada', '--end'], env)).code, 0)
  await until(() => lines().length > 0, 'a replica has written what was ended')
  t.equal((await runCommand(['revoke', '--client', `seed-${'x'.repeat(1_000)}`], env)).code, 0)
  await until(() => lines().length > 1, 'a replica has written what was revoked')
  t.equal((await runCommand(['revoke', '--subject', 'bob'], env)).code, 0)
  await until(() => lines().length > 2, 'a replica has written whose access was revoked')
  const reason = /^revoked by the operator at ./
  t.match(lines(), [
    { issuer: seed.url, subject: 'ada', client: clientId, grant: idOf(refreshToken), outcome: 'ok', reason },
    { client: `seed-${'x'.repeat(507)}`, subject: undefined, reason },
    { subject: 'bob', client: undefined, reason }
  ])
  await seed.app.store.publish('operator-revocations', '{"subject":"eve"}')
  await other.logged(({ event }) => event === 'store.record_unreadable')
  t.equal(lines().length, 3, 'what no command has written is ignored')
})

t.test('what the store let the operator end only in part is a line too', async (t) => {
  const fixture = await startWithRedis(t, { AUDIT_LOG: 'stdout' })
  if (fixture === undefined) return
  const { seed, env } = fixture
  const { accessToken, refreshToken } = await getTokens(seed)
  const grant = idOf(refreshToken)
  // Redis refuses to remove the grant from an index that is no set.
  await seed.app.store.set(keys.grantsOf(digest('subject:ada')), 'no set', 60)
  for (const command of [['connections', '--grant', grant, '--end'], ['revoke', '--grant', grant]]) {
    t.not((await runCommand(command, env)).code, 0, command.join(' '))
  }
  const lines = (): object[] => seed.logs.filter((line) => line['event'] === 'revocation')
  await until(() => lines().length > 1, 'both are written')
  const reason = /^revoked by the operator at ./
  t.match(lines(), [{ subject: 'ada', grant, outcome: 'unavailable', reason }, { grant, outcome: 'unavailable', reason }])
  t.equal((await ping(seed.url, accessToken)).status, 401, 'what was marked has ended')
})

t.test('what has ended is not called unavailable where only the message for the audit log is lost', async (t) => {
  const fixture = await startWithRedis(t, { AUDIT_LOG: 'stdout' })
  if (fixture === undefined) return
  const { seed, env } = fixture
  const { accessToken, refreshToken } = await getTokens(seed)
  const redis = new Redis(env['REDIS_URL']!)
  t.teardown(() => { redis.disconnect() })
  await redis.call('ACL', 'SETUSER', 'command', 'on', '>password', '+@all', '~*', 'resetchannels', '&*:revocations', '&seed:revocations')
  const url = new URL(env['REDIS_URL']!)
  url.username = 'command'
  url.password = 'password'
  const command = await runCommand(['revoke', '--grant', idOf(refreshToken)], { ...env, REDIS_URL: url.href })
  t.match(command, { code: 1, output: /^One grant has ended\. No audit log has a line of it, as the store/m })
  t.equal((await ping(seed.url, accessToken)).status, 401)
  await redis.call('ACL', 'SETUSER', 'command', 'allchannels')
  t.equal((await runCommand(['revoke', '--subject', 'bob'], { ...env, REDIS_URL: url.href })).code, 0)
  const lines = (): object[] => seed.logs.filter((line) => line['event'] === 'revocation')
  await until(() => lines().length > 0, 'the line of the second command')
  t.match(lines(), [{ subject: 'bob', outcome: 'ok' }])
  t.equal(lines().length, 1)
})

t.test('a client whose id contains its registration has its name, also in a grant of an earlier version', async (t) => {
  const fixture = await startWithRedis(t)
  if (fixture === undefined) return
  const { seed, env } = fixture
  const { refreshToken } = await getTokens(seed)
  const clientId = makeSelfContainedId(createKeyring(SEED_SECRET, undefined), {
    client_id_issued_at: Math.floor(Date.now() / 1_000),
    client_name: 'Without a record',
    application_type: 'native',
    redirect_uris: ['http://localhost/callback'],
    grant_types: ['authorization_code'],
    response_types: ['code'],
    token_endpoint_auth_method: 'none'
  })!
  await editGrant(seed, refreshToken, { clientId, clientKind: 'registered', clientName: undefined })
  const { printed } = await runCommand(['connections', '--json', '--subject', 'ada'], env)
  t.match(JSON.parse(printed), { clientId, clientName: 'Without a record' })
})
