import { mkdtempSync, readFileSync, renameSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import t from 'tap'
import type { Test } from 'tap'
import { Type } from 'typebox'
import { Compile } from 'typebox/compile'
import { AuditRecordSchema } from '../../src/audit/record.ts'
import type { AuditRecord } from '../../src/audit/record.ts'
import { definePrompt } from '../../src/define/prompt.ts'
import { defineResource } from '../../src/define/resource.ts'
import { ToolError, defineTool } from '../../src/define/tool.ts'
import { getTokens, post, redeem, refresh, register, signIn, startBroker } from '../support/broker.ts'
import { modernRequest, openSession, ping, postMcp, ready, sendModern, startSeed } from '../support/seed.ts'
import type { TestSeed } from '../support/seed.ts'
import { createPlainClient, readTokens } from '../support/sign-in.ts'
import { until } from '../support/until.ts'

/** The audit log as an auditor reads it. */
const isRecord = Compile(AuditRecordSchema)

/** Calls of the tool "slow" so far. */
let slowCalls = 0

const definitions = [
  defineTool({ name: 'works', description: 'Works', input: Type.Object({ pin: Type.Optional(Type.Integer()) }), handler: () => 'done' }),
  defineTool({
    name: 'slow',
    description: 'Is slow',
    input: Type.Object({}),
    handler: async (_input, { signal }) => await new Promise((_resolve, reject) => {
      slowCalls++
      signal.addEventListener('abort', reject)
    })
  }),
  defineTool({ name: 'fails', description: 'Fails', input: Type.Object({}), handler: () => { throw new ToolError('no') } }),
  defineTool({ name: 'asks', description: 'Asks', input: Type.Object({}), handler: async (_input, { elicit }) => String(await elicit('Sure?', Type.Object({ sure: Type.Boolean() }))) }),
  defineTool({ name: 'writes', description: 'Needs a scope', input: Type.Object({}), scopes: ['mcp:write'], handler: () => '' }),
  defineTool({
    name: 'streams',
    description: 'Reports progress',
    input: Type.Object({}),
    handler: async (_input, { progress }) => {
      await progress(1, 2, 'half')
      return 'done'
    }
  }),
  definePrompt({ name: 'poem', description: 'A poem', handler: () => 'Once' }),
  definePrompt({ name: 'broken', description: 'Fails', handler: () => { throw new Error('broken') } }),
  defineResource({ uri: 'test://one', name: 'one', read: () => 'One' })
]

function recordsOf ({ logs }: TestSeed): AuditRecord[] {
  return logs.filter((line) => 'audit' in line) as unknown as AuditRecord[]
}

/** Takes what was written since the last time. */
function follow (seed: TestSeed) {
  let seen = 0
  return async (count: number): Promise<AuditRecord[]> => {
    await until(() => recordsOf(seed).length >= seen + count, `${count} more lines are written`)
    const records = recordsOf(seed).slice(seen)
    seen += records.length
    return records
  }
}

async function start (t: Test, env: Record<string, string> = {}) {
  const seed = await startBroker(t, { env: { AUDIT_LOG: 'stdout', ...env }, definitions })
  return { seed, next: follow(seed) }
}

const call = (name: string, args: object = {}) => modernRequest('tools/call', { name, arguments: args })

t.test('the configuration at start is in the audit log, without its secrets', async (t) => {
  const { seed, next } = await start(t, { ACCESS_GROUPS: 'engineering', OIDC_CLIENT_SECRET: 's3cret-of-the-client' })
  const [record] = await next(1)
  t.ok(isRecord.Check(record))
  t.match(record, {
    event: 'configuration',
    outcome: 'ok',
    configuration: { baseUrl: seed.url, access: { groups: ['engineering'] }, oauth: { mode: 'broker' }, store: 'memory' }
  })
  t.notMatch(JSON.stringify(record), /s3cret|SEED_SECRET/)
})

t.test('a sign-in, its refresh and its end are one line each, with person, client, grant and request', async (t) => {
  const { seed, next } = await start(t)
  await next(1)
  const { clientId, refreshToken } = await getTokens(seed)
  const issued = { issuer: seed.url, subject: 'ada', client: clientId, kind: 'registered', outcome: 'ok' }
  const [registration, entered] = await next(2)
  t.match(registration, { event: 'registration', client: clientId, target: /^Test client/, request: /^[\w-]{12}$/ })
  t.match(entered, { ...issued, event: 'sign_in', grant: /^[\w-]{22}$/, address: '127.0.0.1' })
  const { json } = await refresh(seed.url, clientId, refreshToken)
  t.match(await next(1), [{ ...issued, event: 'refresh', grant: entered!.grant }])
  await post(`${seed.url}/oauth/revoke`, { client_id: clientId, token: String(json['refresh_token']) })
  await post(`${seed.url}/oauth/revoke`, { client_id: clientId, token: 'unknown' })
  t.match(await next(1), [{ event: 'revocation', client: clientId, subject: 'ada', grant: entered!.grant, reason: 'revoked by the client' }])
  await post(`${seed.url}/oauth/revoke`, { client_id: clientId, token: String(json['access_token']) })
  for (const record of recordsOf(seed)) t.ok(isRecord.Check(record), JSON.stringify(record))
  t.notMatch(JSON.stringify(recordsOf(seed)), new RegExp(refreshToken.replaceAll('.', '\\.')))
})

t.test('each call is one line, with the outcome that its client saw, in both eras', async (t) => {
  const { seed, next } = await start(t)
  const { accessToken: token, clientId } = await getTokens(seed)
  await next(3)
  const who = { issuer: seed.url, subject: 'ada', client: clientId, kind: 'registered', request: /./ }
  const trace = '0af7651916cd43dd8448eb211c80319c'

  await sendModern(seed.url, call('works', { pin: 7 }), token, { traceparent: `00-${trace}-b7ad6b7169203331-01` })
  t.match(await next(1), [{ ...who, event: 'tools/call', target: 'works', outcome: 'ok', argumentsDigest: /./, trace }])
  const outcomes: Array<[request: ReturnType<typeof call>, expected: object]> = [
    [call('works', { pin: 'x' }), { target: 'works', outcome: 'error' }],
    [call('fails'), { target: 'fails', outcome: 'error' }],
    [call('nothing'), { target: 'nothing', outcome: 'refused', reason: 'Unknown tool: nothing' }],
    [modernRequest('tools/call', { name: 'works', arguments: [] }), { target: 'works', outcome: 'refused', reason: /^Invalid params/ }],
    [modernRequest('prompts/get', { name: 'poem' }), { event: 'prompts/get', target: 'poem', outcome: 'ok' }],
    [modernRequest('prompts/get', { name: 'broken' }), { event: 'prompts/get', target: 'broken', outcome: 'error' }],
    [modernRequest('tools/call', { name: 'asks', arguments: {} }, 1, { elicitation: {} }), { target: 'asks', outcome: 'input_required' }]
  ]
  for (const [request, expected] of outcomes) {
    await postMcp(seed, request, token)
    t.match(await next(1), [{ ...who, ...expected }])
  }
  const read = modernRequest('resources/read', { uri: 'test://one' })
  await postMcp(seed, { ...read, headers: { ...read.headers, 'mcp-name': 'test://one' } }, token)
  t.match(await next(1), [{ event: 'resources/read', target: 'test://one', outcome: 'ok' }])
  const missing = modernRequest('resources/read', { uri: 'test://two' })
  await postMcp(seed, { ...missing, headers: { ...missing.headers, 'mcp-name': 'test://two' } }, token)
  t.match(await next(1), [{ event: 'resources/read', target: 'test://two', outcome: 'refused' }])

  const session = await openSession(seed, token, '2025-03-26')
  await postMcp(seed, session.request('tools/call', { name: 'works', arguments: {} }), token)
  await postMcp(seed, session.request('tools/call', { name: 7 }), token)
  await postMcp(seed, session.request('tools/list', { cursor: 7 }), token)
  const batch = [
    { jsonrpc: '2.0', id: 1, method: 'tools/call', params: { name: 'works', arguments: {} } },
    { jsonrpc: '2.0', id: 2, method: 'tools/call', params: { arguments: {} } },
    { jsonrpc: '2.0', id: 3, method: 'resources/read', params: { uri: 'test://one' } }
  ]
  await postMcp(seed, { body: JSON.stringify(batch), headers: session.headers }, token)
  const records = await next(5)
  t.same(records.map(({ target, outcome }) => `${target} ${outcome}`).sort(), [
    ' refused', ' refused', 'test://one ok', 'works ok', 'works ok'
  ])
  for (const record of recordsOf(seed)) t.ok(isRecord.Check(record), JSON.stringify(record))
})

t.test('a call that was answered on a stream has the trace id that its client sent; a traceparent of any length is not kept', async (t) => {
  const { seed, next } = await start(t)
  const { accessToken: token } = await getTokens(seed)
  await next(3)
  const session = await openSession(seed, token)
  const trace = '0af7651916cd43dd8448eb211c80319c'
  const traceparent = `00-${trace}-b7ad6b7169203331-01`
  for (const [id, sent, expected] of [[1, traceparent, trace], [2, traceparent + '-0'.repeat(200), undefined]] as const) {
    const params = { name: 'streams', arguments: {}, _meta: { progressToken: 'p' } }
    const { body, headers } = session.request('tools/call', params, id)
    const response = await fetch(`${seed.url}/mcp`, {
      method: 'POST',
      body,
      headers: {
        'content-type': 'application/json',
        accept: 'application/json, text/event-stream',
        authorization: `Bearer ${token}`,
        traceparent: sent,
        ...headers
      }
    })
    t.match(response.headers.get('content-type'), 'text/event-stream')
    await response.text()
    t.match(await next(1), [{ event: 'tools/call', target: 'streams', outcome: 'ok', trace: expected }])
  }
})

t.test('a call whose client leaves is cancelled', async (t) => {
  const { seed, next } = await start(t)
  const { accessToken: token } = await getTokens(seed)
  await next(3)
  const controller = new AbortController()
  const earlier = slowCalls
  const sent = postMcp(seed, call('slow'), token, controller.signal)
  await until(() => slowCalls > earlier, 'the call runs')
  controller.abort()
  await t.rejects(sent)
  t.match(await next(1), [{ target: 'slow', outcome: 'cancelled' }])
})

t.test('refusals are lines: wrong tokens, missing scopes, spent refresh tokens, a person who says no', async (t) => {
  const { seed, next } = await start(t)
  const { accessToken: token, clientId, refreshToken } = await getTokens(seed)
  await next(3)
  t.equal((await ping(seed.url)).status, 401)
  t.equal((await ping(seed.url, 'no-token')).status, 401)
  t.match(await next(1), [{
    event: 'refusal', outcome: 'refused', error: 'invalid_format', target: '/mcp', subject: undefined
  }], 'a request without a token is how each sign-in begins, and no line')
  t.equal((await sendModern(seed.url, call('writes'), token)).status, 403)
  t.match(await next(1), [{ event: 'refusal', error: 'insufficient_scope', target: '/mcp tools/call writes', subject: 'ada', client: clientId }])
  const batchless = await openSession(seed, token)
  await postMcp(seed, { body: '[]', headers: batchless.headers }, token)
  t.match(await next(1), [{ event: 'refusal', error: '400', target: '/mcp' }])

  const signedIn = await signIn(seed)
  t.equal((await redeem(seed.url, { ...signedIn, verifier: 'x'.repeat(43) })).statusCode, 400)
  const [, refused] = await next(2)
  t.match(refused, { event: 'refusal', error: 'invalid_grant', target: '/oauth/token', client: signedIn.clientId })

  const { json } = await refresh(seed.url, clientId, refreshToken)
  await refresh(seed.url, clientId, String(json['refresh_token']))
  await next(2)
  t.equal((await refresh(seed.url, clientId, refreshToken)).statusCode, 400)
  t.match(await next(2), [
    { event: 'revocation', subject: 'ada', client: clientId, reason: /used again/ },
    { event: 'refusal', error: 'invalid_grant', reason: /./, client: clientId }
  ])

  const other = await createPlainClient(seed.url)
  const page = await fetch(other.authorizationUrl())
  const cookie = page.headers.getSetCookie()[0]!.split(';')[0]!
  const consent = /name="consent" value="([^"]+)"/.exec(await page.text())![1]!
  await fetch(`${seed.url}/oauth/consent`, {
    method: 'POST', redirect: 'manual', headers: { cookie }, body: new URLSearchParams({ consent, decision: 'deny' })
  })
  await fetch(other.authorizationUrl({ code_challenge: undefined }), { redirect: 'manual' })
  await fetch(`${seed.url}/oauth/authorize`)
  const [, denied, invalid, nobody] = await next(4)
  t.match(denied, { event: 'refusal', outcome: 'refused', error: 'access_denied', client: other.clientId, target: '/oauth/consent' })
  t.match(invalid, { event: 'refusal', error: 'invalid_request', client: other.clientId, target: '/oauth/authorize' })
  t.match(nobody, { event: 'refusal', error: 'invalid_request', client: undefined })
  await fetch(`${seed.url}/nothing`)
  await fetch(`${seed.url}/health`)
  await ping(seed.url, token)
  t.match(await next(1), [{ event: 'refusal', error: 'invalid_token', target: '/mcp' }], 'unknown paths are no line')
})

t.test('a logout at the provider is a revocation', async (t) => {
  const { seed, next } = await start(t)
  await getTokens(seed)
  await next(3)
  await seed.provider.backchannelLogout('ada', `${seed.url}/oauth/backchannel-logout`)
  t.match(await next(1), [{ event: 'revocation', subject: 'ada', reason: /^logged out at the provider: One grant has ended/ }])
})

t.test('proxy mode: a sign-in, a refresh and both ways of revocation', async (t) => {
  const seed = await startSeed(t, { env: { AUDIT_LOG: 'stdout' } })
  await ready(seed)
  const next = follow(seed)
  const client = await createPlainClient(seed.url)
  const signedIn = async () => await readTokens(await client.redeem(await client.walk()))
  const { refresh_token: first } = await signedIn()
  const family = /^[\w-]{22}$/
  const [,, entered] = await next(3)
  t.match(entered, { event: 'sign_in', issuer: seed.provider.issuer, subject: 'ada', client: client.clientId, kind: 'registered' })
  const { refresh_token: token, access_token: access } = await readTokens(await client.refresh(first!))
  t.match(await next(1), [{ event: 'refresh', subject: 'ada' }])
  await post(`${seed.url}/oauth/revoke`, { client_id: client.clientId, token: access! })
  t.match(await next(1), [{ event: 'revocation', subject: 'ada', client: client.clientId }])
  await post(`${seed.url}/oauth/revoke`, { client_id: client.clientId, token: token! })
  t.match(await next(1), [{ event: 'revocation', grant: family }])
  await post(`${seed.url}/oauth/revoke`, { client_id: client.clientId, token: 'unknown' })
  t.equal(recordsOf(seed).length, 6)
  const { refresh_token: other } = await signedIn()
  await next(1)
  seed.provider.setFault('/token', 'down')
  await client.refresh(other!)
  t.match(await next(1), [{ event: 'refusal', outcome: 'unavailable', error: 'temporarily_unavailable' }])
})

t.test('a flood of requests beyond a limit is one line for its address, and one with the count of the others', async (t) => {
  const { seed, next } = await start(t, { OAUTH_LIMIT_PER_ADDRESS: '3' })
  const authorize = async (): Promise<number> => (await fetch(`${seed.url}/oauth/authorize`)).status
  for (let request = 0; request < 3; request++) t.equal(await authorize(), 400)
  t.equal(await authorize(), 429)
  for (let request = 0; request < 20; request++) t.equal(await authorize(), 429)
  t.match((await next(5)).slice(-1), [{ event: 'refusal', outcome: 'refused', target: '/oauth/authorize', reason: /OAUTH_LIMIT_PER_ADDRESS/, count: undefined }])
  const token = await seed.provider.mint()
  t.equal((await ping(seed.url, token)).status, 401, 'other refusals are lines as ever')
  t.match(await next(1), [{ event: 'refusal', target: '/mcp', count: undefined }])
  await seed.app.close()
  const [last] = await next(1)
  t.match(last, { event: 'refusal', outcome: 'refused', target: '/oauth/authorize', address: '127.0.0.1', count: 20 })
  t.ok(isRecord.Check(last))
})

t.test('each call of a person beyond a limit is a line', async (t) => {
  const { seed, next } = await start(t, { CALLS_PER_PRINCIPAL: '1' })
  const { accessToken: token } = await getTokens(seed)
  await next(3)
  const controller = new AbortController()
  const earlier = slowCalls
  const running = postMcp(seed, call('slow'), token, controller.signal)
  await until(() => slowCalls > earlier, 'the call runs')
  for (let request = 0; request < 2; request++) t.equal((await sendModern(seed.url, call('works'), token)).status, 429)
  const refused = { event: 'refusal', subject: 'ada', target: '/mcp tools/call works', reason: /CALLS_PER_PRINCIPAL/ }
  t.match(await next(2), [refused, refused])
  controller.abort()
  await t.rejects(running)
})

t.test('AUDIT_LOG names a file, which SIGHUP opens anew; a wrong one prevents the start', async (t) => {
  const folder = mkdtempSync(join(tmpdir(), 'seed-audit-'))
  t.teardown(() => { rmSync(folder, { recursive: true }) })
  const path = join(folder, 'audit.log')
  const seed = await startSeed(t, { env: { AUDIT_LOG: path } })
  await ready(seed)
  await register(seed.url)
  renameSync(path, `${path}.1`)
  process.emit('SIGHUP')
  await register(seed.url)
  await seed.app.close()
  const events = (file: string) => readFileSync(file, 'utf8').trim().split('\n').map((line) => JSON.parse(line).event)
  t.same(events(`${path}.1`).slice(0, 1), ['configuration'])
  t.same([...events(`${path}.1`), ...events(path)], ['configuration', 'registration', 'registration'])
  await t.rejects(startSeed(t, { env: { AUDIT_LOG: join(path, 'folder') } }), /AUDIT_LOG cannot be opened/)
})

t.test('without AUDIT_LOG there is no line and no hook', async (t) => {
  const seed = await startSeed(t)
  await ready(seed)
  await register(seed.url)
  t.same(recordsOf(seed), [])
  t.equal(seed.app.audit, undefined)
})
