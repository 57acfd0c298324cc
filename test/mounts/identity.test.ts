import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { pathToFileURL } from 'node:url'
import { createRemoteJWKSet, decodeJwt, jwtVerify } from 'jose'
import type { JWTPayload } from 'jose'
import t from 'tap'
import type { Test } from 'tap'
import { readMounts } from '../../src/mounts/settings/mounts-file.ts'
import { RequestIdentity } from '../../src/mounts/transport/request-identity.ts'
import type { Principal } from '../../src/tokens/principal.ts'
import { SEED_SECRET, getTokens, post, startBroker } from '../support/broker.ts'
import { ROOT } from '../support/root.ts'
import { modernRequest, ping, postMcp, ready, startSeed } from '../support/seed.ts'
import type { TestSeed } from '../support/seed.ts'
import { until } from '../support/until.ts'
import { startUpstream, writeMounts } from '../support/upstream.ts'
import type { Upstream } from '../support/upstream.ts'

/** A mounted server is told who calls: by an assertion of Seed's own, or by the caller's token for it. */

const SERVICE = { client_id: 'nightly', grant_types: ['client_credentials'], client_secret: 'a secret of a service' }
const TIMINGS = { mountsWaitMs: 60_000, mountsRetryMs: 10 }

/** Seed in broker mode in front of a mounted server, and what its callers need. */
async function startMountedBroker (
  t: Test, mount: Record<string, unknown>, { env = {}, files = {}, provider = {} }: {
    env?: Record<string, string>, files?: Record<string, string>, provider?: object
  } = {}
) {
  const seed = await startBroker(t, {
    definitions: [],
    timings: TIMINGS,
    env: {
      OIDC_CLIENT_ID: 'seed-dev-confidential',
      OIDC_CLIENT_SECRET: 'dev-secret',
      OAUTH_CLIENTS: JSON.stringify([SERVICE]),
      SEED_MOUNTS: await writeMounts({ calc: { connectTimeoutSeconds: 60, ...mount } }, files),
      ...env
    },
    provider: { quirks: { exchangeAudiences: ['calc-api'], ...provider } }
  })
  const { json } = await post(`${seed.url}/oauth/token`, { grant_type: 'client_credentials' }, {
    authorization: `Basic ${Buffer.from('nightly:a+secret+of+a+service').toString('base64')}`
  })
  return { seed, serviceToken: String(json['access_token']), send: createSender(seed) }
}

function createSender (seed: TestSeed) {
  const add: Record<string, unknown> = { name: 'calc_add', arguments: {} }
  return async (token: string | undefined, method = 'tools/call', params = add) => {
    const { body, headers } = modernRequest(method, params)
    if (typeof params['uri'] === 'string') headers['mcp-name'] = params['uri']
    return (await postMcp(seed, { body, headers }, token)).body.result
  }
}

const bearer = (header: string | undefined): string => /^Bearer (\S+)$/.exec(header ?? '')?.[1] ?? 'none'

/** The headers of requests for calls, in their order. */
function callsOf ({ exchanges }: { exchanges: Exchange[] }, method = 'tools/call'): Array<Record<string, string>> {
  return exchanges.filter(({ message }) => message?.method === method).map(({ headers }) => headers)
}

interface Exchange {
  headers: Record<string, string>
  message: { method?: string } | undefined
}

/** Records headers and message of each request together. */
function recordExchanges (upstream: Upstream): { exchanges: Exchange[] } {
  const exchanges: Exchange[] = []
  upstream.intercept = (request) => {
    const message = request.method === 'POST' ? upstream.messages.at(-1) : undefined
    exchanges.push({ headers: request.headers as Record<string, string>, message })
    return false
  }
  return { exchanges }
}

for (const era of ['modern', 'session'] as const) {
  t.test(`a mounted server (${era}) verifies who calls each time, by the keys that Seed publishes`, async (t) => {
    const upstream = await startUpstream(t, era)
    const recorded = recordExchanges(upstream)
    const { seed, serviceToken, send } = await startMountedBroker(t, {
      url: upstream.url, identity: { assertion: { claims: ['email', 'groups'] } }
    })
    const keys = createRemoteJWKSet(new URL(`${seed.url}/.well-known/jwks.json`))
    const verify = async (headers: Record<string, string>): Promise<JWTPayload> =>
      (await jwtVerify(bearer(headers['authorization']), keys, {
        issuer: seed.url, audience: upstream.url, typ: 'caller-assertion+jwt', algorithms: ['ES256']
      })).payload
    for (const { headers } of recorded.exchanges) {
      const payload = await verify(headers)
      t.match(payload, { sub: seed.url, seed_principal_kind: 'service' }, 'lists are fetched by Seed itself')
      t.notOk('client_id' in payload || 'email' in payload)
    }

    const [ada, again, bob] = [await getTokens(seed), await getTokens(seed), await getTokens(seed, { login: 'bob' })]
    const seen: JWTPayload[] = []
    for (const { accessToken } of [ada, bob, again, ada]) {
      t.match(await send(accessToken), { content: [{ text: '{}' }] })
      seen.push(await verify(callsOf(recorded).at(-1)!))
    }
    t.match(seen, [
      { sub: 'ada', client_id: ada.clientId, seed_principal_kind: 'person', email: 'ada@example.com', groups: ['engineering', 'admins'] },
      { sub: 'bob', client_id: bob.clientId },
      { sub: 'ada', client_id: again.clientId },
      { sub: 'ada', client_id: ada.clientId }
    ])
    t.equal(new Set(seen.map(({ jti }) => jti)).size, 4, 'each request has an assertion of its own')
    t.match(await send(serviceToken), { content: [{ text: '{}' }] })
    t.match(await verify(callsOf(recorded).at(-1)!), { sub: 'nightly', client_id: 'nightly', seed_principal_kind: 'service' })

    t.match(await send(bob.accessToken, 'prompts/get', { name: 'calc_greet', arguments: { who: 'x' } }), { messages: [{}, {}] })
    t.match(await send(bob.accessToken, 'resources/read', { uri: 'calc+notes://1' }), { contents: [{ uri: 'calc+notes://1' }] })
    t.match(await send(bob.accessToken, 'completion/complete', {
      ref: { type: 'ref/prompt', name: 'calc_greet' }, argument: { name: 'who', value: 'A' }
    }), { completion: { values: ['A1', 'A2'] } })
    for (const method of ['prompts/get', 'resources/read', 'completion/complete']) {
      t.match(await verify(callsOf(recorded, method)[0]!), { sub: 'bob' }, method)
    }

    const sessions = callsOf(recorded).map(({ 'mcp-session-id': id }) => id)
    const opened = recorded.exchanges.filter(({ message }) => ['initialize', 'server/discover'].includes(message?.method ?? ''))
    if (era === 'session') {
      t.equal(new Set(sessions).size, 3, 'nobody shares a session with somebody else')
      t.equal(sessions[0], sessions[2], 'two clients of a person do')
      const owners = opened.filter(({ message }) => message!.method === 'initialize')
      t.same((await Promise.all(owners.map(async ({ headers }) => (await verify(headers)).sub))), [seed.url, 'ada', 'bob', 'nightly'])
    } else {
      t.equal(opened.length, 1, 'one connection is enough where each request stands for itself')
    }
    const seedLog = JSON.stringify(seed.logs)
    for (const { headers } of recorded.exchanges) {
      t.notOk(seedLog.includes(bearer(headers['authorization'])), 'no assertion is in the log')
      t.notOk('seed-call' in headers)
    }
    const received = JSON.stringify(recorded.exchanges)
    for (const token of [ada.accessToken, bob.accessToken, serviceToken]) t.notOk(received.includes(token))
  })
}

t.test('an assertion is no access token for Seed, and an access token of Seed is no assertion', async (t) => {
  const upstream = await startUpstream(t)
  const recorded = recordExchanges(upstream)
  const { seed, send } = await startMountedBroker(t, { url: upstream.url, identity: { assertion: {} } })
  const { accessToken } = await getTokens(seed)
  await send(accessToken)
  const assertion = bearer(callsOf(recorded)[0]!['authorization'])
  t.equal((await ping(seed.url, accessToken)).status, 200)
  const refused = await ping(seed.url, assertion)
  t.equal(refused.status, 401)
  t.match(refused.headers.get('www-authenticate'), /error="invalid_token"/)
  const keys = createRemoteJWKSet(new URL(`${seed.url}/.well-known/jwks.json`))
  const options = { issuer: seed.url, audience: upstream.url, typ: 'caller-assertion+jwt' }
  await t.rejects(jwtVerify(accessToken, keys, options), /unexpected "typ"/)
  const { typ, ...withoutType } = options
  await t.rejects(jwtVerify(accessToken, keys, withoutType), /unexpected "aud"/)
})

t.test('Seed publishes its keys in proxy mode and without sign-in too, with SEED_SECRET, which assertions need', async (t) => {
  const upstream = await startUpstream(t)
  const recorded = recordExchanges(upstream)
  const mounts = async (mount: object): Promise<string> =>
    await writeMounts({ calc: { url: upstream.url, connectTimeoutSeconds: 60, ...mount } }, { key: 'gateway-secret' })
  const identity = { header: 'X-Caller', assertion: { audience: 'urn:calc' } }
  for (const AUTH_REQUIRED of ['true', 'false']) {
    const common = { AUTH_REQUIRED, SEED_SECRET }
    const plain = await startSeed(t, { env: { AUTH_REQUIRED, SEED_MOUNTS: await mounts({}) }, timings: TIMINGS })
    t.equal((await fetch(`${plain.url}/.well-known/jwks.json`)).status, 404)
    const env = { ...common, SEED_MOUNTS: await mounts({ identity, secret: { file: 'key' } }) }
    const seed = await startSeed(t, { env, timings: TIMINGS, definitions: [] })
    if (AUTH_REQUIRED === 'true') await ready(seed)
    const token = AUTH_REQUIRED === 'true' ? await seed.provider.mint({ sub: 'ada' }) : undefined
    t.match(await createSender(seed)(token), { content: [{ text: '{}' }] })
    const headers = callsOf(recorded).at(-1)!
    t.equal(headers['authorization'], 'Bearer gateway-secret', 'the secret has another header, and stays')
    const keys = createRemoteJWKSet(new URL(`${seed.url}/.well-known/jwks.json`))
    const { payload } = await jwtVerify(headers['x-caller']!, keys, { issuer: seed.url, audience: 'urn:calc' })
    t.match(payload, AUTH_REQUIRED === 'true'
      ? { sub: 'ada', sub_id: { iss: seed.provider.issuer, sub: 'ada' }, seed_principal_kind: 'person' }
      : { sub: seed.url, seed_principal_kind: 'service' })
    const wrong = await fetch(`${seed.url}/.well-known/jwks.json`, { method: 'POST' })
    t.equal(wrong.status, 405)
    t.equal((await fetch(`${seed.url}/.well-known/jwks.json`)).headers.get('access-control-allow-origin'), '*')
  }
})

t.test('a caller with more groups than fit into a header is told so, and nothing is sent', async (t) => {
  const upstream = await startUpstream(t)
  const recorded = recordExchanges(upstream)
  const seed = await startSeed(t, {
    definitions: [],
    timings: TIMINGS,
    env: {
      SEED_SECRET,
      SEED_MOUNTS: await writeMounts({
        calc: {
          url: upstream.url,
          connectTimeoutSeconds: 60,
          identity: { assertion: { audience: `urn:${'x'.repeat(2_000)}`, claims: ['groups'] } }
        }
      })
    }
  })
  await ready(seed)
  const token = await seed.provider.mint({ sub: 'ada', groups: Array.from({ length: 450 }, (_, index) => `group${index}`) })
  t.match(await createSender(seed)(token), {
    isError: true, content: [{ text: /server behind calc cannot be told who calls: you are in too many groups/ }]
  })
  t.same(callsOf(recorded), [])
})

for (const era of ['modern', 'session'] as const) {
  t.test(`a mounted server (${era}) gets the caller's own token for it, and never the client's`, async (t) => {
    const upstream = await startUpstream(t, era)
    const recorded = recordExchanges(upstream)
    const { seed, serviceToken, send } = await startMountedBroker(t, {
      url: upstream.url, secret: { file: 'key' }, identity: { tokenFor: { audience: 'calc-api', scopes: ['openid'] } }
    }, { files: { key: 'list-secret' } })
    for (const { headers } of recorded.exchanges) t.equal(headers['authorization'], 'Bearer list-secret', 'for lists')
    const [ada, bob] = [await getTokens(seed), await getTokens(seed, { login: 'bob' })]
    const keys = createRemoteJWKSet(new URL(`${seed.provider.issuer}/jwks`))
    const subjectOf = async (headers: Record<string, string>): Promise<string | undefined> =>
      (await jwtVerify(bearer(headers['authorization']), keys, { issuer: seed.provider.issuer, audience: 'calc-api' })).payload.sub
    for (const [name, { accessToken }] of [['ada', ada], ['bob', bob], ['ada', ada]] as const) {
      t.match(await send(accessToken), { content: [{ text: '{}' }] })
      t.equal(await subjectOf(callsOf(recorded).at(-1)!), name)
    }
    t.match(await send(serviceToken), { isError: true, content: [{ text: /comes from a service.*allowServerToken/ }] })
    t.equal(callsOf(recorded).length, 3)
    const received = JSON.stringify(recorded.exchanges)
    for (const token of [ada.accessToken, bob.accessToken, serviceToken]) t.notOk(received.includes(token))
    const log = JSON.stringify(seed.logs)
    for (const headers of callsOf(recorded)) t.notOk(log.includes(bearer(headers['authorization'])))
  })

  t.test(`a token that the provider refuses is an error of the tool (${era}), which says what to do`, async (t) => {
    const upstream = await startUpstream(t, era)
    const recorded = recordExchanges(upstream)
    const { seed, send } = await startMountedBroker(t, {
      url: upstream.url, identity: { tokenFor: { audience: 'unknown-api' } }
    })
    for (const { headers } of recorded.exchanges) t.notOk('authorization' in headers, 'lists are fetched without')
    const { accessToken } = await getTokens(seed)
    t.match(await send(accessToken), {
      isError: true, content: [{ text: /gave no token for "unknown-api": let it allow OIDC_CLIENT_ID to exchange tokens/ }]
    })
    t.same(callsOf(recorded), [], 'nothing was sent')
    t.notOk(seed.logs.some(({ event }) => event === 'mount.unavailable'), 'the server is not away')
  })
}

t.test('with allowServerToken, lists and services get a token of Seed itself', async (t) => {
  const upstream = await startUpstream(t)
  const recorded = recordExchanges(upstream)
  const { seed, serviceToken, send } = await startMountedBroker(t, {
    url: upstream.url,
    identity: { header: 'X-Access', tokenFor: { audience: 'calc-api', resource: 'https://calc.example', allowServerToken: true } }
  })
  await seed.logged(({ event }) => event === 'mount.connected')
  await until(async () => (await send(serviceToken)) !== undefined, 'the tool is there')
  t.match(await send(serviceToken), { content: [{ text: '{}' }] })
  for (const { headers } of recorded.exchanges) {
    t.match(decodeJwt(headers['x-access']!), { sub: 'seed-dev-confidential', aud: 'calc-api' })
  }
  const { accessToken } = await getTokens(seed)
  await send(accessToken)
  t.match(decodeJwt(callsOf(recorded).at(-1)!['x-access']!), { sub: 'ada', aud: 'calc-api' })
})

t.test('a mount whose lists need a token of Seed is away while the provider gives none, and the log says why', async (t) => {
  const upstream = await startUpstream(t)
  const { seed } = await startMountedBroker(t, {
    url: upstream.url, identity: { tokenFor: { audience: 'unknown-api', allowServerToken: true } }
  })
  t.match(await seed.logged(({ event }) => event === 'mount.unavailable'), { mount: 'calc', reason: /^No token|^The identity/ })
  t.match(await seed.logged(({ reason }) => String(reason).includes('invalid_target')), {
    event: 'token_exchange.failed',
    audience: 'unknown-api',
    reason: /: let it allow OIDC_CLIENT_ID to use client credentials for this audience/
  })
  t.same(upstream.requests, [])
})

t.test('what the file cannot ask for is refused at the start', async (t) => {
  const problemsOf = async (mount: object, settings = {}): Promise<string> => {
    const path = await writeMounts({ a: { url: 'https://a.example/mcp', ...mount } })
    try {
      readMounts(path, settings)
      return 'none'
    } catch (err) {
      return (err as Error).message
    }
  }
  const [assertion, tokenFor] = [{ assertion: {} }, { tokenFor: { audience: 'a' } }]
  const identity = (members: object) => ({ identity: members })
  t.equal(await problemsOf(identity(assertion)), 'none')
  t.equal(await problemsOf(identity(tokenFor), { authRequired: true, oauth: { mode: 'broker' } }), 'none')
  t.match(await problemsOf(identity({})), /identity must have either tokenFor or assertion/)
  t.match(await problemsOf(identity({ ...assertion, ...tokenFor })), /identity must have either tokenFor or assertion/)
  t.match(await problemsOf(identity(tokenFor), { authRequired: true, oauth: { mode: 'proxy' } }), /identity.tokenFor needs sign-in and OAUTH_MODE=broker/)
  t.match(await problemsOf(identity(tokenFor), { authRequired: false }), /identity.tokenFor needs sign-in and OAUTH_MODE=broker/)
  t.match(await problemsOf(identity({ tokenFor: { audience: 'a', resource: 'no-uri' } })), /identity.tokenFor.resource must be an absolute URI/)
  t.match(await problemsOf(identity({ tokenFor: { audience: 'a', resource: 'https://a.example/#a' } })), /without a fragment/)
  t.match(await problemsOf(identity(assertion), { secrets: { current: undefined } }), /identity.assertion needs SEED_SECRET/)
  for (const audience of ['https://seed.example', 'https://seed.example/mcp']) {
    t.match(await problemsOf(identity({ assertion: { audience } }), { baseUrl: 'https://seed.example' }), /audience must be the mounted server/)
  }
  t.match(await problemsOf({ ...identity(assertion), url: 'https://seed.example/mcp' }, { baseUrl: 'https://seed.example' }), /must be the mounted server/)
  t.equal(await problemsOf(identity(assertion), { baseUrl: 'https://seed.example' }), 'none')
  t.match(await problemsOf(identity({ assertion: { claims: ['email', 'sub', 'cnf'] } })), /must not have sub, .*\n.*must not have cnf, which Seed sets itself/)
  t.match(await problemsOf(identity({ ...assertion, header: 'Mcp-Session-Id' })), /identity.header must not be Mcp-Session-Id/)
  t.match(await problemsOf({ ...identity({ ...assertion, header: 'X-Who' }), headers: { 'x-who': 'me' } }), /headers must not have X-Who, which is the header of identity/)
  t.match(await problemsOf({ ...identity(assertion), connection: 'shared' }), /connection must not be shared/)
  t.match(await problemsOf({ ...identity(assertion), url: 'http://a.example/mcp' }), /url must be https, as it is told there who calls/)
  t.equal(await problemsOf({ ...identity(assertion), url: 'http://a.example/mcp', allowInsecureHttp: true }), 'none')
  t.equal(await problemsOf({ ...identity(assertion), url: 'http://127.0.0.1/mcp' }), 'none')
  t.match(await problemsOf({ ...identity(assertion), url: undefined, command: 'x' }), /identity has no meaning for a mount with command/)
})

t.test('the example of docs/mounts.md verifies who calls, and refuses what is not from Seed', async (t) => {
  const upstream = await startUpstream(t)
  const recorded = recordExchanges(upstream)
  const { seed, send } = await startMountedBroker(t, { url: upstream.url, identity: { assertion: {} } })
  const { accessToken } = await getTokens(seed)
  await send(accessToken)
  const [, example] = /```js\n(import \{ createRemoteJWKSet.*?)```/s.exec(await readFile(join(ROOT, 'docs/mounts.md'), 'utf8'))!
  const folder = await mkdtemp(join(ROOT, '.test-build/example-'))
  t.teardown(async () => { await rm(folder, { recursive: true }) })
  const file = join(folder, 'caller.mjs')
  await writeFile(file, example!.replace('https://mcp.example.com', seed.url).replace('https://tickets.internal/mcp', upstream.url))
  const { callerOf } = await import(pathToFileURL(file).href) as { callerOf (headers: object): Promise<JWTPayload> }
  t.match(await callerOf(callsOf(recorded)[0]!), { sub: 'ada', seed_principal_kind: 'person', client_id: /./ })
  await t.rejects(callerOf({ authorization: `Bearer ${accessToken}` }), { name: 'JWTClaimValidationFailed' })
  await t.rejects(callerOf({}), { name: 'JWSInvalid' })
})

t.test('a request of a call that has ended is not sent in the name of somebody else', async (t) => {
  const identity = new RequestIdentity(async (caller) => ({ authorization: caller?.subject ?? 'Seed' }), undefined)
  const options = identity.begin({ principal: { subject: 'ada' } as Principal })
  t.same(await identity.addTo({ ...options.headers, Authorization: 'secret' }), { authorization: 'ada' })
  identity.end(options)
  await t.rejects(identity.addTo(options.headers), /a call that has ended/)
})
