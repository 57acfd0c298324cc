import { randomUUID } from 'node:crypto'
import {
  Client, ClientCredentialsProvider, PrivateKeyJwtProvider, StaticPrivateKeyJwtProvider, StreamableHTTPClientTransport
} from '@modelcontextprotocol/client'
import {
  ClientCredentialsProvider as ClientCredentialsProviderV1, PrivateKeyJwtProvider as PrivateKeyJwtProviderV1,
  StaticPrivateKeyJwtProvider as StaticPrivateKeyJwtProviderV1
} from '@modelcontextprotocol/sdk/client/auth-extensions.js'
import { Client as ClientV1 } from '@modelcontextprotocol/sdk/client/index.js'
import { StreamableHTTPClientTransport as TransportV1 } from '@modelcontextprotocol/sdk/client/streamableHttp.js'
import { SignJWT, exportJWK, exportPKCS8, generateKeyPair } from 'jose'
import t from 'tap'
import { post } from '../support/broker.ts'
import { ownRedisForTests } from '../support/redis.ts'
import { startReplicas } from '../support/replicas.ts'

/** Services with the SDKs' own providers, from 401 to whoami, at two replicas with one store. */

const SECRET = 'a secret of the nightly job'
const { privateKey, publicKey } = await generateKeyPair('ES256', { extractable: true })
const old = await generateKeyPair('ES256', { extractable: true })
const pem = await exportPKCS8(privateKey)
const oldPem = await exportPKCS8(old.privateKey)
const clients = [
  { client_id: 'with-secret', grant_types: ['client_credentials'], client_secret: SECRET, groups: ['jobs'] },
  {
    client_id: 'with-key',
    grant_types: ['client_credentials'],
    jwks: { keys: [await exportJWK(publicKey), await exportJWK(old.publicKey)] },
    groups: ['jobs']
  }
]
const env = { OAUTH_MODE: 'broker', OAUTH_CLIENTS: JSON.stringify(clients) }
const info = { name: 'a service', version: '1' }
const key = { clientId: 'with-key', algorithm: 'ES256' }

async function signAssertion (audience: string): Promise<string> {
  return await new SignJWT({ iss: 'with-key', sub: 'with-key', aud: audience, jti: randomUUID() })
    .setProtectedHeader({ alg: 'ES256' }).setIssuedAt().setExpirationTime('1m').sign(privateKey)
}

type Fetch = typeof fetch
type CreateProvider = (issuer: string) => unknown
interface Service {
  clientId: string
  whoami (url: URL, issuer: string, fetch: Fetch): Promise<unknown>
}

const v1 = (clientId: string, createProvider: CreateProvider): Service => ({
  clientId,
  async whoami (url, issuer, fetch) {
    const client = new ClientV1(info)
    await client.connect(new TransportV1(url, { authProvider: await createProvider(issuer) as never, fetch }) as never)
    const { structuredContent } = await client.callTool({ name: 'whoami' })
    await client.close()
    return structuredContent
  }
})

const v2 = (clientId: string, mode: 'legacy' | { pin: '2026-07-28' }, createProvider: CreateProvider) => ({
  clientId,
  async whoami (url: URL, issuer: string, fetch: Fetch): Promise<unknown> {
    const client = new Client(info, { versionNegotiation: { mode } })
    const authProvider = await createProvider(issuer) as never
    await client.connect(new StreamableHTTPClientTransport(url, { authProvider, fetch }))
    const { structuredContent } = await client.callTool({ name: 'whoami' })
    await client.close()
    return structuredContent
  }
})

const secretOptions = (expectedIssuer: string) => ({ clientId: 'with-secret', clientSecret: SECRET, expectedIssuer })
const modern = { pin: '2026-07-28' } as const
/** For providers that send an assertion which something else has signed: they can send it once. */
const staticOptions = async (expectedIssuer: string) => ({
  clientId: 'with-key', jwtBearerAssertion: await signAssertion(expectedIssuer), expectedIssuer
})
const SERVICES: Record<string, Service> = {
  'SDK v1, secret': v1('with-secret', (issuer) => new ClientCredentialsProviderV1(secretOptions(issuer))),
  'SDK v1, key': v1('with-key', (expectedIssuer) =>
    new PrivateKeyJwtProviderV1({ ...key, privateKey: pem, expectedIssuer })),
  'SDK v2 in sessions, secret': v2('with-secret', 'legacy', (issuer) =>
    new ClientCredentialsProvider(secretOptions(issuer))),
  'SDK v2 in sessions, key': v2('with-key', 'legacy', (expectedIssuer) =>
    new PrivateKeyJwtProvider({ ...key, privateKey: pem, expectedIssuer })),
  'SDK v2 in 2026-07-28, secret': v2('with-secret', modern, (issuer) =>
    new ClientCredentialsProvider(secretOptions(issuer))),
  'SDK v2 in 2026-07-28, key': v2('with-key', modern, (expectedIssuer) =>
    new PrivateKeyJwtProvider({ ...key, privateKey: pem, expectedIssuer })),
  'SDK v1, an assertion signed elsewhere': v1('with-key', async (issuer) =>
    new StaticPrivateKeyJwtProviderV1(await staticOptions(issuer))),
  'SDK v2 in sessions, an assertion signed elsewhere': v2('with-key', 'legacy', async (issuer) =>
    new StaticPrivateKeyJwtProvider(await staticOptions(issuer))),
  'SDK v2 in 2026-07-28, an assertion signed elsewhere': v2('with-key', modern, async (issuer) =>
    new StaticPrivateKeyJwtProvider(await staticOptions(issuer))),
  'SDK v2 in 2026-07-28, the older of two keys': v2('with-key', modern, (expectedIssuer) =>
    new PrivateKeyJwtProvider({ ...key, privateKey: oldPem, expectedIssuer }))
}

t.test('services of both SDKs go from 401 to whoami in both eras, and a credential works once everywhere', async (t) => {
  const redis = await ownRedisForTests(t)
  if (!redis) return
  const replicas = await startReplicas(t, { redisUrl: redis.url, env })
  const url = new URL(`${replicas.url}/mcp`)
  for (const [name, { clientId, whoami }] of Object.entries(SERVICES)) {
    t.match(await whoami(url, replicas.url, replicas.roundRobin), {
      signedIn: true,
      kind: 'service',
      grantType: 'client_credentials',
      subject: clientId,
      clientId,
      issuer: replicas.url,
      groups: ['jobs']
    }, name)
  }

  const assertion = await signAssertion(replicas.url)
  const send = async (at: number) => await post(`${replicas.seeds[at]!.url}/oauth/token`, {
    grant_type: 'client_credentials',
    client_assertion: assertion,
    client_assertion_type: 'urn:ietf:params:oauth:client-assertion-type:jwt-bearer'
  }, { host: new URL(replicas.url).host })
  const first = await send(0)
  t.match(first, { statusCode: 200, json: { scope: '' } }, 'without client_id: the assertion names it')
  t.match(await send(1), { statusCode: 401, json: { error: 'invalid_client' } }, 'not again at the other replica')
  t.notMatch(JSON.stringify(replicas.seeds.map(({ logs }) => logs)), assertion)
})
