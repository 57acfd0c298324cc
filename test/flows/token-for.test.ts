import { createServer } from 'node:http'
import { once } from 'node:events'
import type { AddressInfo } from 'node:net'
import { createRemoteJWKSet, decodeJwt, jwtVerify } from 'jose'
import t from 'tap'
import { Type } from 'typebox'
import { defineTool } from '../../src/define/tool.ts'
import { modernRequest, sendModern, startSeed } from '../support/seed.ts'
import { getTokens, post, startBroker } from '../support/broker.ts'

/** A tool calls another API on behalf of its caller: with a token of the provider for that API, never the client's. */

t.test("another API gets its own token for the caller, and the client's token is not forwarded", async (t) => {
  const seen: string[] = []
  const api = createServer(async (request, response) => {
    seen.push(JSON.stringify(request.headers))
    const [, token = ''] = /^Bearer (.+)$/.exec(request.headers.authorization ?? '') ?? []
    const { payload } = await jwtVerify(token, createRemoteJWKSet(new URL(`${seed.provider.issuer}/jwks`)), {
      audience: 'tickets-api',
      issuer: seed.provider.issuer
    })
    response.end(JSON.stringify({ subject: payload.sub }))
  })
  api.listen(0, '127.0.0.1')
  await once(api, 'listening')
  t.teardown(() => { api.close() })
  const url = `http://127.0.0.1:${(api.address() as AddressInfo).port}`

  const definitions = [defineTool({
    name: 'my_tickets',
    description: 'asks the ticket API as its caller',
    input: Type.Object({ audience: Type.String() }),
    async handler ({ audience }, { tokenFor, signal }) {
      const response = await fetch(url, { headers: { authorization: `Bearer ${await tokenFor(audience)}` }, signal })
      return await response.json() as { subject: string }
    }
  })]
  const seed = await startBroker(t, {
    definitions,
    env: { OIDC_CLIENT_ID: 'seed-dev-confidential', OIDC_CLIENT_SECRET: 'dev-secret' },
    provider: { quirks: { exchangeAudiences: ['tickets-api'] } }
  })
  const { accessToken } = await getTokens(seed)
  const call = async (audience: string): Promise<unknown> => {
    const { body, headers } = modernRequest('tools/call', { name: 'my_tickets', arguments: { audience } })
    const response = await fetch(`${seed.url}/mcp`, {
      method: 'POST',
      headers: {
        ...headers,
        'content-type': 'application/json',
        accept: 'application/json, text/event-stream',
        authorization: `Bearer ${accessToken}`
      },
      body
    })
    return await response.json()
  }

  t.match(await call('tickets-api'), { result: { structuredContent: { subject: 'ada' } } })
  t.match(await call('tickets-api'), { result: { structuredContent: { subject: 'ada' } } })
  t.equal(seed.provider.hits()['/token'], 2, 'the sign-in, and one exchange for both calls')
  t.notMatch(seen.join(), accessToken)
  t.match(await call('another-api'), {
    result: { isError: true, content: [{ text: /gave no token for "another-api".* OIDC_CLIENT_ID/ }] }
  })
  t.match(
    await seed.logged(({ msg }) => msg === 'No token for another API'),
    { audience: 'another-api' },
    'the log says what the provider must allow'
  )
  t.notMatch(JSON.stringify(seed.logs), accessToken)
})

t.test('a finished call gets no token', async (t) => {
  let seen: unknown
  const definitions = [defineTool({
    name: 'late',
    description: 'asks for a token when its time is up',
    input: Type.Object({}),
    timeoutSeconds: 0.05,
    async handler (_input, { tokenFor, signal }) {
      await new Promise((resolve) => { signal.addEventListener('abort', resolve, { once: true }) })
      seen = await tokenFor('tickets-api').catch((err: unknown) => err)
      return 'nobody waits for this'
    }
  })]
  const seed = await startBroker(t, { definitions })
  const { accessToken } = await getTokens(seed)
  const { body, headers } = modernRequest('tools/call', { name: 'late', arguments: {} })
  const response = await fetch(`${seed.url}/mcp`, {
    method: 'POST',
    headers: {
      ...headers,
      'content-type': 'application/json',
      accept: 'application/json, text/event-stream',
      authorization: `Bearer ${accessToken}`
    },
    body
  })
  t.match(await response.json(), {
    result: { isError: true, content: [{ text: /did not finish within 0.05 seconds/ }] }
  })
  t.match(seen, { name: 'TimeoutError' })
})

t.test('tokens for other APIs need broker mode', async (t) => {
  const definitions = [
    defineTool({
      name: 'my_tickets',
      description: 'asks',
      input: Type.Object({}),
      handler: async (_input, { tokenFor }) => await tokenFor('tickets-api')
    })
  ]
  const seed = await startSeed(t, { definitions, env: { AUTH_REQUIRED: 'false' } })
  const { body, headers } = modernRequest('tools/call', { name: 'my_tickets', arguments: {} })
  const response = await fetch(`${seed.url}/mcp`, {
    method: 'POST',
    headers: { ...headers, 'content-type': 'application/json', accept: 'application/json, text/event-stream' },
    body
  })
  t.match(await response.json(), { result: { isError: true } })
  t.match(await seed.logged(({ msg }) => msg === 'A handler failed'), {
    err: { message: /OAUTH_MODE=broker/ },
    handler: 'my_tickets'
  })
})

for (const delegation of ['token-exchange', 'on-behalf-of'] as const) {
  t.test(`a tool gets a token of the server itself for a service if it wants one, ${delegation}`, async (t) => {
    const definitions = [defineTool({
      name: 'tokens',
      description: 'tries both',
      input: Type.Object({ audience: Type.String() }),
      async handler ({ audience }, { tokenFor }) {
        const refused = await tokenFor(audience).catch((err: Error) => err.message)
        const resource = 'https://tickets.example.com'
        const token = await tokenFor(audience, { resource, scopes: ['openid'], allowServerToken: true })
        return { refused, sub: decodeJwt(token).sub!, aud: String(decodeJwt(token).aud) }
      }
    })]
    const service = { client_id: 'nightly', grant_types: ['client_credentials'], client_secret: 'a secret of a service' }
    const seed = await startBroker(t, {
      definitions,
      env: {
        OIDC_CLIENT_ID: 'seed-dev-confidential',
        OIDC_CLIENT_SECRET: 'dev-secret',
        OAUTH_CLIENTS: JSON.stringify([service]),
        ...(delegation === 'on-behalf-of' && { OIDC_PROVIDER: 'entra' })
      },
      provider: { quirks: { exchangeAudiences: ['tickets-api'], delegation } }
    })
    const { json } = await post(`${seed.url}/oauth/token`, { grant_type: 'client_credentials' }, {
      authorization: `Basic ${Buffer.from('nightly:a+secret+of+a+service').toString('base64')}`
    })
    const send = async (audience: string) => (await (await sendModern(
      seed.url, modernRequest('tools/call', { name: 'tokens', arguments: { audience } }), String(json['access_token'])
    )).json()) as { result: { structuredContent: object } }
    const before = seed.provider.hits()['/token'] ?? 0
    for (let calls = 0; calls < 2; calls++) {
      t.match((await send('tickets-api')).result.structuredContent, {
        refused: /comes from a service.*allowServerToken/, sub: 'seed-dev-confidential', aud: 'tickets-api'
      })
    }
    t.equal(seed.provider.hits()['/token'], before + 1, 'one token for both calls')
    t.same(seed.provider.lastTokenRequest().form, delegation === 'on-behalf-of'
      ? { grant_type: 'client_credentials', scope: 'tickets-api/.default' }
      : {
          grant_type: 'client_credentials',
          audience: 'tickets-api',
          resource: 'https://tickets.example.com',
          scope: 'openid'
        })
    t.match(await send('other-api'), {
      result: {
        isError: true,
        content: [{ text: /gave no token for "other-api": let it allow OIDC_CLIENT_ID to use client credentials/ }]
      }
    })
    t.match(await seed.logged(({ event, reason }) => event === 'token_exchange.failed' && !String(reason).startsWith('a service calls')), {
      audience: 'other-api', resource: 'https://tickets.example.com', reason: /invalid_target/
    })
  })
}
