import t from 'tap'
import { startDevProvider } from '../../dev/provider.ts'
import { initialize, request } from '../support/mcp.ts'
import { sendModern, sendRaw, startRawSession } from '../support/raw-client.ts'
import { ownRedisForTests } from '../support/redis.ts'
import { ping, ready, startSeed } from '../support/seed.ts'
import { createPlainClient } from '../support/sign-in.ts'
import type { TestSeed } from '../support/seed.ts'
import { until } from '../support/until.ts'

/** Responses to clients while a dependency is away or changing. Real provider, real Redis, real outages. */
t.test('keys are rotated at the provider during traffic, and no valid token is refused', async (t) => {
  const provider = await startDevProvider({ algorithm: 'ES256' })
  t.teardown(async () => { await provider.close() })
  const seed = await startSeed(t, { sharedProvider: provider })
  await ready(seed)

  const stop = new AbortController()
  const statuses: number[] = []
  const traffic = Promise.all([1, 2, 3, 4].map(async () => {
    // Each call brings a new token, signed by the key of the moment.
    while (!stop.signal.aborted) statuses.push((await ping(seed.url, await provider.mint())).status)
  }))
  const before = await provider.mint()
  for (let rotation = 0; rotation < 2; rotation++) {
    const calls = statuses.length
    await provider.rotateKeys({ keepOld: true })
    await until(async () => statuses.length > calls + 20, 'traffic goes on after the rotation')
  }
  stop.abort()
  await traffic
  t.ok(statuses.length > 40)
  t.same([...new Set(statuses)], [200])
  t.equal((await ping(seed.url, before)).status, 200, 'a token of the first key still serves')

  const withdrawn = await provider.mint()
  t.equal((await ping(seed.url, withdrawn)).status, 200)
  await provider.rotateKeys({ keepOld: false })
  t.equal((await ping(seed.url, await provider.mint())).status, 200, 'the newest key is taken up')
  t.equal((await ping(seed.url, withdrawn)).status, 401, 'a token of a withdrawn key is refused from then on')
})

t.test('the provider is down: known tokens keep working, signing in waits, and all returns by itself', async (t) => {
  const provider = await startDevProvider({ algorithm: 'ES256' })
  t.teardown(async () => { await provider.close() })
  const seed = await startSeed(t, { sharedProvider: provider })
  await ready(seed)
  const [known, unseen] = [await provider.mint(), await provider.mint()]
  t.equal((await ping(seed.url, known)).status, 200)

  const client = await createPlainClient(seed.url)
  const page = await client.walk(undefined, { scope: 'openid offline_access' })
  const { refresh_token: refreshToken } = await (await client.redeem(page)).json() as { refresh_token: string }

  await provider.stop()
  t.equal((await ping(seed.url, known)).status, 200, 'a token seen before')
  t.equal((await ping(seed.url, unseen)).status, 200, 'a token never seen, of a known key')
  const refresh = await client.refresh(refreshToken)
  t.equal(refresh.status, 503)
  t.equal(refresh.headers.get('retry-after'), '5')
  t.match(
    await refresh.json(),
    { error: 'temporarily_unavailable' },
    'never invalid_grant: the client keeps its refresh token'
  )

  await provider.start()
  t.equal((await client.refresh(refreshToken)).status, 200, 'the same refresh token is good again')
})

for (const [name, fault] of [
  ['gone', 'down'],
  ['slow by five seconds', { slow: 5_000 }],
  ['hanging', 'hang'],
  ['failing', 500]
] as const) {
  t.test(`the provider is ${name} at run time: known keys serve both eras, and a session goes on`, async (t) => {
    const provider = await startDevProvider({ algorithm: 'ES256' })
    t.teardown(async () => { await provider.close() })
    const seed = await startSeed(t, { sharedProvider: provider })
    await ready(seed)
    const session = await startRawSession(seed.url, await provider.mint({ sub: 'ada' }))
    provider.setFault('*', fault)
    const unknown = provider.mint({}, { kid: 'unknown' }).then(async (token) => await ping(seed.url, token))
    for (let round = 0; round < 5; round++) {
      t.equal((await ping(seed.url, await provider.mint({ sub: 'ada' }))).status, 200)
      const { status, ms } = await session.post(request('ping'))
      t.equal(status, 200)
      t.ok(ms < 1_000)
    }
    // Half of its answers are good, half are not.
    for (let turn = 0; turn < 6; turn++) {
      provider.setFault('*', turn % 2 === 0 ? undefined : fault)
      t.equal((await ping(seed.url, await provider.mint())).status, 200)
    }
    t.equal((await fetch(`${seed.url}/health/ready`)).status, 200)
    provider.setFault('*', undefined)
    t.ok([401, 503].includes((await unknown).status), 'no key, or nobody to ask for it')
    t.equal((await session.post(request('ping'))).status, 200)
    t.equal((await session.end()).status, 204)
    const count = (text: string): number => seed.logs.filter(({ msg }) => msg.startsWith(text)).length
    t.ok(count("The provider's signing keys cannot be fetched") <= 1)
    t.ok(
      count("The provider's signing keys can be fetched again") <=
        count("The provider's signing keys cannot be fetched")
    )
  })
}

t.test('the provider is down when Seed starts: nobody is refused for good, and no restart is needed', async (t) => {
  const provider = await startDevProvider({ algorithm: 'ES256' })
  t.teardown(async () => { await provider.close() })
  await provider.stop()
  const seed = await startSeed(t, { sharedProvider: provider })
  const token = await provider.mint({ sub: 'ada' })
  await seed.logged(({ msg }) => msg.startsWith('OpenID provider cannot be used yet'))
  for (const answer of [
    await sendModern(seed.url, token, 'ping'),
    await sendRaw(seed.url, token, { body: initialize() }),
    await sendRaw(seed.url, token, { method: 'GET', headers: { 'mcp-session-id': 'A'.repeat(32) } })
  ]) {
    t.match(answer, { status: 503, retryAfter: '5' }, 'never 401, and never 404')
  }
  t.equal((await fetch(`${seed.url}/health/live`)).status, 200)
  const readiness = await fetch(`${seed.url}/health/ready`)
  t.match({ status: readiness.status, body: await readiness.json() }, { status: 503, body: { status: 'not ready' } })
  await provider.start()
  const returned = performance.now()
  await ready(seed)
  t.ok(performance.now() - returned < 30_000, 'ready soon: it tries every five seconds at the latest')
  const session = await startRawSession(seed.url, token)
  t.equal((await session.post(request('ping'))).status, 200)
  for (const text of ['OpenID provider cannot be used yet', 'OpenID provider discovered']) {
    t.equal(seed.logs.filter(({ msg }) => msg.startsWith(text)).length, 1, 'one line')
  }
})

t.test('Redis is gone: /mcp keeps answering, what needs it says 503 and when to come back, and it returns by itself', async (t) => {
  const redis = await ownRedisForTests(t)
  if (!redis) return
  const seed = await startSeed(t, { env: { REDIS_URL: redis.url, REDIS_KEY_PREFIX: 'bad-days:' } })
  await ready(seed)
  const token = await seed.provider.mint()
  const client = await (await register(seed)).json() as { client_id: string }
  t.match(client.client_id, /^seed-/)

  await redis.kill('SIGKILL')
  t.equal((await ping(seed.url, token)).status, 200)
  const refused = await register(seed)
  t.equal(refused.status, 503)
  t.equal(refused.headers.get('retry-after'), '1')
  t.match(await refused.json(), { error: 'temporarily_unavailable' })
  const query = new URLSearchParams({
    response_type: 'code',
    client_id: client.client_id,
    code_challenge: 'x'.repeat(43),
    code_challenge_method: 'S256'
  })
  const page = await fetch(`${seed.url}/oauth/authorize?${query.toString()}`, { redirect: 'manual' })
  t.equal(page.status, 503, 'a client is not called unknown because the store is away')
  t.match(page.headers.get('content-type'), 'text/html')
  t.equal((await fetch(`${seed.url}/health/live`)).status, 200)
  const readiness = await fetch(`${seed.url}/health/ready`)
  t.match(
    { status: readiness.status, body: await readiness.json() },
    {
      status: 200,
      body: { status: 'degraded', parts: { store: { status: 'failing', reason: String }, provider: { status: 'ok' } } }
    }
  )

  await redis.restart()
  await until(async () => (await register(seed)).status === 201, 'registration works again')
  t.equal(seed.logs.filter(({ msg }) => msg.startsWith('Redis is unreachable')).length, 1, 'one line marks the loss')
  t.equal(
    seed.logs.filter(({ msg }) => msg.startsWith('Redis is reachable again')).length,
    1,
    'one line marks the return'
  )
})

t.test('with Redis two replicas know the same clients and sign-ins', async (t) => {
  const redis = await ownRedisForTests(t)
  if (!redis) return
  const provider = await startDevProvider({ algorithm: 'ES256' })
  t.teardown(async () => { await provider.close() })
  const [one, two] = await Promise.all(
    [1, 2].map(async () => await startSeed(t, { sharedProvider: provider, env: { REDIS_URL: redis.url } }))
  )
  await ready(two!)
  const { client_id: clientId } = await (await register(one!)).json() as { client_id: string }
  const query = new URLSearchParams({
    response_type: 'code',
    client_id: clientId,
    redirect_uri: 'http://localhost:8080/callback',
    code_challenge: 'x'.repeat(43),
    code_challenge_method: 'S256'
  })
  const asked = await fetch(`${two!.url}/oauth/authorize?${query.toString()}`)
  t.equal(asked.status, 200)
  const [, consent] = /name="consent" value="([\w.-]+)"/.exec(await asked.text())!
  const answered = await fetch(`${one!.url}/oauth/consent`, {
    method: 'POST',
    redirect: 'manual',
    headers: { cookie: asked.headers.get('set-cookie')!.split(';')[0]! },
    body: new URLSearchParams({ consent: consent!, decision: 'approve' })
  })
  t.equal(answered.status, 303, 'what one has asked, the other may hear the answer to')
  t.equal(new URL(answered.headers.get('location')!).searchParams.get('redirect_uri'), 'http://localhost:8080/callback')
})

async function register ({ url }: TestSeed): Promise<Response> {
  return await fetch(`${url}/oauth/register`, {
    method: 'POST',
    headers: { 'content-type': 'application/json' },
    body: JSON.stringify({ redirect_uris: ['http://localhost:8080/callback'] })
  })
}
