import t from 'tap'
import { startDevProvider } from '../../dev/provider.ts'
import { until } from '../support/until.ts'
import { ping, ready, startSeed } from '../support/seed.ts'

const seed = await startSeed(t, { env: { LOG_LEVEL: 'debug' } })
await ready(seed)

t.test('health and liveness say that the process responds', async (t) => {
  for (const path of ['/health', '/health/live']) {
    const response = await fetch(seed.url + path)
    t.equal(response.status, 200)
    t.equal(response.headers.get('cache-control'), 'no-store')
    const { status, timestamp, ...rest } = await response.json() as Record<string, string>
    t.equal(status, 'ok')
    t.equal(new Date(timestamp!).toISOString(), timestamp)
    t.same(rest, {})
  }
})

t.test('readiness names each part', async (t) => {
  const response = await fetch(`${seed.url}/health/ready`)
  t.equal(response.status, 200)
  t.equal(response.headers.get('cache-control'), 'no-store')
  t.match(await response.json(), {
    status: 'ready',
    parts: { store: { status: 'ok' }, provider: { status: 'ok', lastContact: /^20.+Z$/ }, keys: { status: 'ok' } }
  })
})

t.test('probes are logged at debug level', async (t) => {
  const id = (await fetch(`${seed.url}/health/live`)).headers.get('x-request-id')
  t.match(await seed.logged(({ reqId }) => reqId === id), { level: 20, path: '/health/live', status: 200 })
})

t.test('monitors may send HEAD', async (t) => {
  for (const url of ['/health', '/health/live', '/health/ready']) {
    const response = await fetch(seed.url + url, { method: 'HEAD' })
    t.equal(response.status, 200, url)
    t.equal(await response.text(), '')
  }
})

t.test('only GET and HEAD, and no other paths', async (t) => {
  for (const url of ['/health', '/health/live', '/health/ready']) {
    for (const method of ['POST', 'PUT', 'DELETE', 'OPTIONS'] as const) {
      t.match(
        await seed.app.inject({ method, url }),
        { statusCode: 405, headers: { allow: 'GET, HEAD' } },
        `${method} ${url}`
      )
    }
    t.equal((await seed.app.inject({ url: `${url}/` })).statusCode, 404)
  }
})

t.test('a probe may use any Host, and none of it is echoed', async (t) => {
  const response = await seed.app.inject({ url: '/health/ready', headers: { host: '10.1.2.3:3000' } })
  t.equal(response.statusCode, 200)
  t.notMatch(response.body, '10.1.2.3')
})

t.test('not ready names what is missing and why, while the process stays live', async (t) => {
  const provider = await startDevProvider({ algorithm: 'ES256' })
  t.teardown(async () => { await provider.close() })
  provider.setFault('/.well-known/openid-configuration', 'wrong-issuer')
  const broken = await startSeed(t, { sharedProvider: provider, env: { REDIS_URL: 'redis://127.0.0.1:1' } })
  await broken.logged(({ msg }) => msg.startsWith('OpenID provider cannot be used yet'))
  const response = await fetch(`${broken.url}/health/ready`)
  t.equal(response.status, 503)
  t.equal(response.headers.get('cache-control'), 'no-store')
  t.match(await response.json(), {
    status: 'not ready',
    parts: {
      store: { status: 'failing', reason: 'The store (REDIS_URL) does not answer' },
      provider: { status: 'failing', reason: /must be equal byte for byte/ },
      keys: { status: 'failing', reason: String }
    }
  })
  t.equal((await fetch(`${broken.url}/health`)).status, 200)
  t.equal((await fetch(`${broken.url}/health/live`)).status, 200)
})

t.test('without the store readiness is degraded: what needs no store is served', async (t) => {
  const storeless = await startSeed(t, { sharedProvider: seed.provider, env: { REDIS_URL: 'redis://127.0.0.1:1' } })
  await until(
    async () => (await fetch(`${storeless.url}/health/ready`)).status === 200,
    'the provider and its keys are there'
  )
  const response = await fetch(`${storeless.url}/health/ready`)
  t.equal(response.headers.get('cache-control'), 'no-store')
  t.match(await response.json(), {
    status: 'degraded',
    parts: {
      store: { status: 'failing', reason: 'The store (REDIS_URL) does not answer' },
      provider: { status: 'ok', lastContact: String },
      keys: { status: 'ok' }
    }
  })
  t.equal((await ping(storeless.url, await seed.provider.mint())).status, 200)
})

t.test('in broker mode readiness is degraded without the provider, as Seed has its own keys', async (t) => {
  const provider = await startDevProvider({ algorithm: 'ES256' })
  t.teardown(async () => { await provider.close() })
  await provider.stop()
  const broker = await startSeed(t, {
    sharedProvider: provider,
    env: { OAUTH_MODE: 'broker', OIDC_CLIENT_ID: provider.clientId }
  })
  await broker.logged(({ msg }) => msg.startsWith('OpenID provider cannot be used yet'))
  const response = await fetch(`${broker.url}/health/ready`)
  t.equal(response.status, 200)
  t.match(await response.json(), {
    status: 'degraded',
    parts: {
      store: { status: 'ok' },
      provider: { status: 'failing', reason: /ECONNREFUSED/ },
      keys: { status: 'failing' }
    }
  })
  await provider.start()
  await ready(broker)
})

t.test('with discovery but without keys, readiness names the keys', async (t) => {
  const provider = await startDevProvider({ algorithm: 'ES256' })
  t.teardown(async () => { await provider.close() })
  provider.setFault('/jwks', 'html')
  const keyless = await startSeed(t, { sharedProvider: provider })
  await keyless.logged(({ msg }) => msg.startsWith("The provider's signing keys cannot be fetched"))
  const response = await fetch(`${keyless.url}/health/ready`)
  t.equal(response.status, 503)
  t.match(await response.json(), {
    status: 'not ready',
    parts: { store: { status: 'ok' }, provider: { status: 'ok' }, keys: { status: 'failing', reason: String } }
  })
})

t.test('without sign-in there is no provider to wait for', async (t) => {
  const open = await startSeed(t, { sharedProvider: seed.provider, env: { AUTH_REQUIRED: 'false' } })
  t.same(await (await fetch(`${open.url}/health/ready`)).json(), {
    status: 'ready',
    parts: { store: { status: 'ok' } }
  })
})

t.test('reasons, which name internal addresses, are shown to probes on this machine only', async (t) => {
  const { app } = await startSeed(t, { env: { OIDC_ISSUER: 'http://127.0.0.1:1/realms/internal' } })
  const readiness = async (options: object) => (await app.inject({ url: '/health/ready', ...options })).body
  t.match(await readiness({}), /127\.0\.0\.1:1\/realms\/internal/)
  for (const options of [
    { remoteAddress: '192.0.2.1' },
    { headers: { 'x-forwarded-for': '192.0.2.1' } },
    { headers: { forwarded: 'for=192.0.2.1' } }
  ]) t.notMatch(await readiness(options), /127\.0\.0\.1/, JSON.stringify(options))
})

t.test('requests that reach no route are limited too: a foreign Host or Origin, a malformed URL', async (t) => {
  const { app } = await startSeed(t, { env: { AUTH_REQUIRED: 'false', OAUTH_LIMIT_PER_ADDRESS: '1' } })
  for (const [index, options] of [
    { url: '/mcp', method: 'POST', headers: { host: 'evil.example' } },
    { url: '/mcp', method: 'POST', headers: { origin: 'https://evil.example' } },
    { url: '/%ff' }
  ].entries()) {
    const statuses: number[] = []
    for (let times = 0; times < 6; times++) {
      statuses.push((await app.inject({ ...options, remoteAddress: `192.0.2.${index}` } as never)).statusCode)
    }
    t.same(statuses.slice(5), [429], JSON.stringify(options))
    t.notOk(statuses.slice(0, 5).includes(429))
  }
})

t.test('health and unknown paths are limited by address, without the store', async (t) => {
  const { app } = await startSeed(t, { env: { AUTH_REQUIRED: 'false', OAUTH_LIMIT_PER_ADDRESS: '1' } })
  app.store.increment = async () => { throw new Error('asked') }
  const statuses = async (url: string, times: number) =>
    await Promise.all(Array.from({ length: times }, async () => (await app.inject({ url })).statusCode))
  t.same(await statuses('/health', 11), [...Array(10).fill(200), 429])
  t.same(await statuses('/nothing', 6), [...Array(5).fill(404), 429])
  t.equal((await app.inject({ url: '/health', remoteAddress: '192.0.2.9' })).statusCode, 200, 'other addresses are not')
})

for (const mode of ['broker', 'proxy']) {
  t.test(`readiness is degraded while the provider does not answer after the start, and recovers (${mode})`, async (t) => {
    const broken = await startSeed(t, { env: { OAUTH_MODE: mode } })
    await ready(broken)
    const readiness = async () => {
      const response = await fetch(`${broken.url}/health/ready`)
      return { code: response.status, ...await response.json() as { status: string, parts: Record<string, object> } }
    }
    const token = await broken.provider.mint()
    await broken.provider.stop()
    const request = broken.app.oidc.tokenClient.requestTokens('refresh_token', { refresh_token: 'x' })
    await t.rejects(request, { code: 'temporarily_unavailable' })
    t.match(await readiness(), {
      code: 200, status: 'degraded', parts: { provider: { status: 'failing', reason: /cannot be reached/ }, keys: { status: 'ok' } }
    })
    if (mode === 'proxy') t.equal((await ping(broken.url, token)).status, 200)
    await broken.provider.start()
    await t.rejects(broken.app.oidc.tokenClient.requestTokens('refresh_token', { refresh_token: 'x' }))
    t.match(await readiness(), { code: 200, status: 'ready', parts: { provider: { status: 'ok' } } })
  })
}
