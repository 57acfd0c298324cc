import { once } from 'node:events'
import { createServer } from 'node:http'
import type { AddressInfo } from 'node:net'
import { createRemoteJWKSet, jwtVerify } from 'jose'
import t from 'tap'
import type { Test } from 'tap'
import { Type } from 'typebox'
import { defineTool } from '../../src/define/tool.ts'
import { SEED_SECRET, getTokens, post, startBroker } from '../support/broker.ts'
import { modernRequest, postMcp, ready, startSeed } from '../support/seed.ts'
import type { TestSeed } from '../support/seed.ts'

/** A tool tells another API who calls, by an assertion of Seed. */

const AUDIENCE = 'https://tickets.internal/'
const SERVICE = { client_id: 'nightly', grant_types: ['client_credentials'], client_secret: 'a secret of a service' }

/** An API that answers who calls, if it can verify it with the keys that Seed publishes. */
async function startApi (t: Test) {
  const assertions: string[] = []
  let seedUrl = ''
  const server = createServer(async (request, response) => {
    const [, assertion = ''] = /^Bearer (\S+)$/.exec(request.headers.authorization ?? '') ?? []
    assertions.push(assertion)
    const keys = createRemoteJWKSet(new URL(`${seedUrl}/.well-known/jwks.json`))
    const verified = await jwtVerify(assertion, keys, {
      issuer: seedUrl, audience: AUDIENCE, typ: 'caller-assertion+jwt', algorithms: ['ES256']
    }).catch((err: Error) => err)
    response.end(JSON.stringify(verified instanceof Error ? { refused: verified.message } : verified.payload))
  })
  await once(server.listen(0, '127.0.0.1'), 'listening')
  t.teardown(() => { server.close().closeAllConnections() })
  return {
    url: `http://127.0.0.1:${(server.address() as AddressInfo).port}`,
    assertions,
    trust (seed: TestSeed) { seedUrl = seed.url }
  }
}

/** A tool that asks the API who it thinks is calling. */
function createTool (url: string) {
  return defineTool({
    name: 'who_calls',
    description: 'asks the API who calls',
    input: Type.Object({ audience: Type.String(), claims: Type.Optional(Type.Array(Type.String())) }),
    async handler ({ audience, claims }, { assertionFor, signal }) {
      const assertion = await assertionFor(audience, claims && { claims })
      return await (await fetch(url, { headers: { authorization: `Bearer ${assertion}` }, signal })).json() as object
    }
  })
}

async function call (seed: TestSeed, token: string | undefined, input: object = {}) {
  const request = modernRequest('tools/call', { name: 'who_calls', arguments: { audience: AUDIENCE, ...input } })
  return (await postMcp(seed, request, token)).body.result
}

t.test('an API verifies which person or service calls, by which client, and gets no token', async (t) => {
  const api = await startApi(t)
  const seed = await startBroker(t, {
    definitions: [createTool(api.url)],
    env: {
      OIDC_CLIENT_ID: 'seed-dev-confidential',
      OIDC_CLIENT_SECRET: 'dev-secret',
      OAUTH_CLIENTS: JSON.stringify([SERVICE])
    }
  })
  api.trust(seed)
  const ada = await getTokens(seed)
  const { json } = await post(`${seed.url}/oauth/token`, { grant_type: 'client_credentials' }, {
    authorization: `Basic ${Buffer.from('nightly:a+secret+of+a+service').toString('base64')}`
  })
  const { structuredContent: plain } = await call(seed, ada.accessToken)
  t.match(plain, { sub: 'ada', client_id: ada.clientId, seed_principal_kind: 'person' })
  t.notOk('email' in plain, 'nothing that the tool does not ask for')
  t.match(await call(seed, ada.accessToken, { claims: ['email', 'groups'] }), {
    structuredContent: { sub: 'ada', email: 'ada@example.com', groups: ['engineering', 'admins'] }
  })
  t.match(await call(seed, String(json['access_token'])), {
    structuredContent: { sub: 'nightly', client_id: 'nightly', seed_principal_kind: 'service' }
  })
  t.match(await call(seed, ada.accessToken, { audience: 'https://other.internal/' }), {
    structuredContent: { refused: /unexpected "aud"/ }
  })
  t.equal(new Set(api.assertions).size, 4, 'each is another')
  t.notOk(api.assertions.includes(ada.accessToken))
  const log = JSON.stringify(seed.logs)
  for (const assertion of api.assertions) t.notOk(log.includes(assertion))
})

for (const AUTH_REQUIRED of ['true', 'false']) {
  const mode = AUTH_REQUIRED === 'true' ? 'in proxy mode' : 'without sign-in'
  t.test(`an API verifies who calls ${mode}`, async (t) => {
    const api = await startApi(t)
    const seed = await startSeed(t, { definitions: [createTool(api.url)], env: { AUTH_REQUIRED, SEED_SECRET } })
    api.trust(seed)
    if (AUTH_REQUIRED === 'true') await ready(seed)
    const token = AUTH_REQUIRED === 'true' ? await seed.provider.mint({ sub: 'ada' }) : undefined
    t.match((await call(seed, token)).structuredContent, AUTH_REQUIRED === 'true'
      ? { sub: 'ada', sub_id: { iss: seed.provider.issuer, sub: 'ada' }, seed_principal_kind: 'person' }
      : { sub: seed.url, seed_principal_kind: 'service' })
  })
}

t.test('nothing is signed that Seed would accept itself, or in which the tool names the caller', async (t) => {
  const api = await startApi(t)
  const seed = await startSeed(t, { definitions: [createTool(api.url)], env: { AUTH_REQUIRED: 'false', SEED_SECRET } })
  for (const [input, message] of [
    [{ audience: seed.url }, /must be the API, and not Seed itself \(BASE_URL\)/],
    [{ audience: `${seed.url}/mcp` }, /must be the API, and not Seed itself/],
    [{ audience: '' }, /needs the audience of the API/],
    [{ claims: ['email', 'sub', 'seed_principal_kind'] }, /must not have sub, seed_principal_kind: Seed sets them itself/]
  ] as const) {
    const seen = seed.logs.length
    const { isError, content } = await call(seed, undefined, input)
    t.ok(isError)
    t.notMatch(JSON.stringify(content), message, 'the model does not learn it')
    t.match(seed.logs.slice(seen).find(({ msg }) => msg === 'A handler failed'), { err: { message } })
  }
  t.same(api.assertions, [])
})

t.test('a caller with more groups than fit into a header is told so, and nothing is sent', async (t) => {
  const api = await startApi(t)
  const seed = await startSeed(t, { definitions: [createTool(api.url)], env: { SEED_SECRET } })
  await ready(seed)
  const groups = Array.from({ length: 450 }, (_, index) => `group${index}`)
  const token = await seed.provider.mint({ sub: 'ada', groups })
  const audience = `urn:${'x'.repeat(2_000)}`
  t.match(await call(seed, token, { audience, claims: ['groups'] }), {
    isError: true, content: [{ text: /^urn:x+ cannot be told who calls: you are in too many groups/ }]
  })
  t.same(api.assertions, [])
})

t.test('assertions need SEED_SECRET, and the log says so', async (t) => {
  const api = await startApi(t)
  const seed = await startSeed(t, { definitions: [createTool(api.url)], env: { AUTH_REQUIRED: 'false' } })
  t.match(await call(seed, undefined), { isError: true })
  t.match(await seed.logged(({ msg }) => msg === 'A handler failed'), {
    err: { message: /^assertionFor needs SEED_SECRET/ }, handler: 'who_calls'
  })
  t.same(api.assertions, [])
})

t.test('a finished call gets no assertion', async (t) => {
  let seen: unknown
  const late = defineTool({
    name: 'who_calls',
    description: 'asks for an assertion when its time is up',
    input: Type.Object({ audience: Type.String() }),
    timeoutSeconds: 0.05,
    async handler ({ audience }, { assertionFor, signal }) {
      await once(signal, 'abort')
      seen = await assertionFor(audience).catch((err: unknown) => err)
      return 'nobody waits for this'
    }
  })
  const seed = await startSeed(t, { definitions: [late], env: { AUTH_REQUIRED: 'false', SEED_SECRET } })
  t.match(await call(seed, undefined), { isError: true, content: [{ text: /did not finish within 0.05 seconds/ }] })
  t.match(seen, { name: 'TimeoutError' })
})
