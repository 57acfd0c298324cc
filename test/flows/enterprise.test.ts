import { Client, CrossAppAccessProvider, StreamableHTTPClientTransport } from '@modelcontextprotocol/client'
import { discoverAndRequestJwtAuthGrant } from '@modelcontextprotocol/client'
import { Client as ClientV1 } from '@modelcontextprotocol/sdk/client/index.js'
import { StreamableHTTPClientTransport as TransportV1 } from '@modelcontextprotocol/sdk/client/streamableHttp.js'
import t from 'tap'
import { companyRule } from '../../dev/development.ts'
import { startBroker, startReplica } from '../support/broker.ts'
import { COMPANY_APP, getCompanyIdToken } from '../support/company-app.ts'
import { ownRedisForTests } from '../support/redis.ts'

const info = { name: 'company-app', version: '1' }
const CALLBACK = 'http://127.0.0.1:53219/callback'
const CLIENT = { clientId: 'company-app-at-seed', clientSecret: 'dev-secret-at-seed' }
const ENV = {
  ENTERPRISE_AUTHORIZATION: 'only',
  OAUTH_CLIENTS: JSON.stringify([{
    client_id: CLIENT.clientId,
    client_secret: CLIENT.clientSecret,
    grant_types: ['urn:ietf:params:oauth:grant-type:jwt-bearer']
  }])
}

t.test('the SDKs go from 401 to whoami with an ID-JAG of the provider, at two replicas, in both eras', async (t) => {
  const redis = await ownRedisForTests(t)
  if (!redis) return
  const env = { ...ENV, REDIS_URL: redis.url }
  const one = await startBroker(t, { env, provider: { fixedRedirectUris: [CALLBACK] } })
  const two = await startReplica(t, one, env)
  const { port } = two.app.server.address() as { port: number }
  one.provider.enterpriseRules.push(companyRule(one.app.config))
  const idToken = await getCompanyIdToken(one.provider.issuer, CALLBACK)

  let turn = 0
  const alternate: typeof fetch = async (input, init) => {
    const url = new URL(input instanceof Request ? input.url : String(input))
    if (url.origin === one.url && turn++ % 2 === 1) url.port = String(port)
    return await fetch(url, init)
  }
  const createAuth = () => new CrossAppAccessProvider({
    ...CLIENT,
    expectedIssuer: one.url,
    assertion: async ({ authorizationServerUrl, resourceUrl, scope }) => (await discoverAndRequestJwtAuthGrant({
      idpUrl: one.provider.issuer,
      audience: authorizationServerUrl,
      resource: resourceUrl,
      idToken,
      ...COMPANY_APP,
      ...(scope !== undefined && { scope })
    })).jwtAuthGrant
  })
  const url = new URL(`${one.url}/mcp`)
  const expected = { signedIn: true, subject: 'ada', clientId: CLIENT.clientId, kind: 'person' }

  for (const [mode, protocol] of [['auto', '2026-07-28'], ['legacy', '2025-11-25']] as const) {
    const client = new Client(info, { versionNegotiation: { mode } })
    await client.connect(new StreamableHTTPClientTransport(url, { authProvider: createAuth(), fetch: alternate }))
    t.match((await client.callTool({ name: 'whoami', arguments: {} })).structuredContent, expected, `SDK v2, ${mode}`)
    t.equal(client.getNegotiatedProtocolVersion(), protocol)
    await client.close()
  }
  // SDK v1 has no provider of its own for this, and does not tell another one what it has discovered.
  const authV1 = createAuth()
  authV1.saveAuthorizationServerUrl!(one.url)
  authV1.saveResourceUrl!(url.href)
  const client = new ClientV1(info)
  const transport = new TransportV1(url, { authProvider: authV1 as never, fetch: alternate as never })
  await client.connect(transport as never)
  t.match((await client.callTool({ name: 'whoami', arguments: {} })).structuredContent, expected, 'SDK v1')
  await client.close()

  one.provider.enterpriseRules.length = 0
  const refused = new Client(info)
  await t.rejects(
    refused.connect(new StreamableHTTPClientTransport(url, { authProvider: createAuth(), fetch: alternate })),
    /invalid_target/, 'the company says no')
})
