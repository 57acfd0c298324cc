import t from 'tap'
import { startDevProvider } from '../../dev/provider.ts'
import { CLI, emptyFolder, startProcess, startServerProcess } from '../support/process.ts'
import { ownRedisForTests } from '../support/redis.ts'
import { runCommand } from '../support/run-command.ts'
import { freePort } from '../support/free-port.ts'
import { ping, ready, subscribe } from '../support/seed.ts'
import { createPlainClient, readTokens, signedIn } from '../support/sign-in.ts'

/** `seed revoke`, the command, against two real servers on one real Redis. */
const SECRET = 'a secret of more than thirty-two characters'

t.test('in broker mode', async (t) => {
  const redis = await ownRedisForTests(t)
  if (redis === undefined) return
  const provider = await startDevProvider({ algorithm: 'ES256' })
  t.teardown(async () => { await provider.close() })
  const env = {
    OAUTH_MODE: 'broker',
    OIDC_ISSUER: provider.issuer,
    OIDC_CLIENT_ID: provider.clientId,
    REDIS_URL: redis.url,
    SEED_SECRET: SECRET
  }
  const first = await startServerProcess(t, env)
  // The second replica is behind the same public address.
  const second = await startServerProcess(t, { ...env, BASE_URL: first.url })
  await ready(first)
  await ready(second)
  const client = await createPlainClient(first.url)

  t.test('--subject ends tokens and streams on both replicas, and the provider\'s token', async (t) => {
    const tokens = await signedIn(client)
    for (const { url } of [first, second]) t.equal((await ping(url, tokens.access_token)).status, 200)
    const streams = await Promise.all([
      subscribe(first.url, tokens.access_token),
      subscribe(second.url, tokens.access_token)
    ])
    const bob = await signedIn(client, { login: 'bob', password: 'bob' })
    const bobs = await subscribe(second.url, bob.access_token)
    const before = provider.hits()['/token/revocation'] ?? 0

    const cli = startProcess(t, [CLI, 'revoke', '--subject', 'ada'], env, await emptyFolder(t))
    t.match(await cli.ended, { code: 0 })
    t.equal(await cli.output(), 'One grant has ended\n')

    for (const stream of streams) t.ok(await ends(stream), 'the stream ends')
    for (const { url } of [first, second]) t.equal((await ping(url, tokens.access_token)).status, 401)
    t.match(await readTokens(await client.refresh(tokens.refresh_token!)), { status: 400, error: 'invalid_grant' })
    t.equal(provider.hits()['/token/revocation'], before + 1)
    t.equal((await ping(first.url, bob.access_token)).status, 200, 'other people go on')
    const reader = bobs.body!.getReader()
    t.match(new TextDecoder().decode((await reader.read()).value), /acknowledged/, 'and so do their streams')
    await reader.cancel()
  })

  t.test('--client ends all sign-ins of a client', async (t) => {
    const other = await createPlainClient(first.url, {
      clientId: 'another',
      redirectUri: 'http://127.0.0.1:53220/callback'
    })
    const [ada, bob, elsewhere] = [
      await signedIn(client),
      await signedIn(client, { login: 'bob', password: 'bob' }),
      await signedIn(other)
    ]
    t.match(await runCommand(['revoke', '--client', client.clientId], env), { code: 0, output: /\d grants have ended/ })
    t.equal((await ping(second.url, ada.access_token)).status, 401)
    t.equal((await ping(second.url, bob.access_token)).status, 401)
    t.equal((await ping(second.url, elsewhere.access_token)).status, 200)
  })

  t.test('--grant ends one, whose id the log tells', async (t) => {
    const [one, other] = [await signedIn(client), await signedIn(client)]
    const grant = one.refresh_token!.split('.')[0]!
    t.match(await first.output(), `"grant":"${grant}"`)
    t.match(await runCommand(['revoke', '--grant', grant], env), { code: 0, output: 'One grant has ended\n' })
    t.equal((await ping(first.url, one.access_token)).status, 401)
    t.equal((await ping(first.url, other.access_token)).status, 200)
    t.match(await runCommand(['revoke', '--grant', grant], env), { code: 0, output: /^No such grant/ })
    t.match(await runCommand(['revoke', '--subject', 'nobody'], env), { code: 0, output: /^There was no grant; access tokens that were issued without one/ })
    t.match(await runCommand(['revoke', '--grant', '-starts-with-a-dash'], env), { code: 0, output: /^No such grant/ })
  })

  t.test('with the provider away the grant ends all the same, and a line says what could not be done', async (t) => {
    const tokens = await signedIn(client)
    await provider.stop()
    const { code, output } = await runCommand(['revoke', '--grant', tokens.refresh_token!.split('.')[0]!], env)
    await provider.start()
    t.equal(code, 0)
    t.match(output, /the provider's token could not be revoked/)
    t.match(output, /One grant has ended/)
    t.equal((await ping(first.url, tokens.access_token)).status, 401)
  })

  t.test('a stream that was revoked while its replica could not hear of it ends when Redis is back', async (t) => {
    const tokens = await signedIn(client)
    const stream = await subscribe(second.url, tokens.access_token)
    const other = await subscribe(second.url, (await signedIn(client)).access_token)
    second.child.kill('SIGSTOP')
    await runCommand(['revoke', '--grant', tokens.refresh_token!.split('.')[0]!], env)
    // Its connection is cut while it sleeps: the message of the revocation is lost to it.
    await runRedis(redis.port, 'CLIENT KILL TYPE pubsub')
    second.child.kill('SIGCONT')
    t.ok(await ends(stream))
    await other.body!.cancel()
  })
})

/** Resolves when the server has ended the stream, cleanly or not; until then the test waits. */
async function ends (stream: Response): Promise<boolean> {
  return await stream.text().then(() => true, () => true)
}

async function runRedis (port: number, command: string): Promise<void> {
  const { Redis } = await import('ioredis')
  const redis = new Redis(port)
  const [name, ...args] = command.split(' ') as [string, ...string[]]
  await redis.call(name, ...args)
  redis.disconnect()
}

t.test('in proxy mode the access tokens of a subject end; grants are the provider\'s', async (t) => {
  const redis = await ownRedisForTests(t)
  if (redis === undefined) return
  const provider = await startDevProvider({ algorithm: 'ES256' })
  t.teardown(async () => { await provider.close() })
  const env = { OIDC_ISSUER: provider.issuer, OIDC_AUDIENCE: provider.clientId, REDIS_URL: redis.url }
  const server = await startServerProcess(t, env)
  await ready(server)
  const client = await createPlainClient(server.url)
  const tokens = await signedIn(client)
  t.equal((await ping(server.url, tokens.access_token)).status, 200)
  t.match(await runCommand(['revoke', '--subject', 'ada'], env), {
    code: 0,
    output: /have ended; end the sign-in at the provider too/
  })
  t.equal((await ping(server.url, tokens.access_token)).status, 401)
  t.match(await runCommand(['revoke', '--client', client.clientId], env), {
    code: 1,
    output: /the provider keeps the grants/
  })
})

t.test('what it cannot do, it says in a sentence', async (t) => {
  const env = {
    OAUTH_MODE: 'broker',
    OIDC_ISSUER: 'https://auth.example.com',
    OIDC_CLIENT_ID: 'seed',
    SEED_SECRET: SECRET
  }
  for (const [args, usage] of [
    [[], /^Usage: seed /],
    [['forget', '--subject', 'ada'], /^seed: unknown command 'forget'\nseed --help lists the commands\.\n$/],
    [['revoke'], /^seed revoke: name one subject, client or grant\nseed revoke --help /],
    [['revoke', '--subject', 'ada', '--client', 'x'], /^seed revoke: name one subject, client or grant\n/],
    [['revoke', '--grant'], /^seed revoke: option '--grant <id>' argument missing\n/],
    [['revoke', 'ada'], /^seed revoke: too many arguments for 'revoke'.*\n/]
  ] as const) {
    const { code, output } = await runCommand([...args], env)
    t.equal(code, 1, args.join(' '))
    t.match(output, usage)
    t.notMatch(output, / at .*:\d+/, 'no stack')
  }
  t.match(await runCommand(['--help'], env), {
    code: 0,
    output: /^Usage: seed [^]*\n {2}revoke .*end sign-ins/
  })
  t.match(await runCommand(['revoke', '--help'], env), { code: 0, output: /^Usage: seed revoke / })
  t.match(await runCommand(['revoke', '--subject', 'ada'], env), { code: 1, output: /^REDIS_URL is not set/ })
  t.match(
    await runCommand(['revoke', '--subject', 'ada'], { ...env, REDIS_URL: `redis://127.0.0.1:${await freePort()}` }),
    { code: 1, output: /The store \(REDIS_URL\) does not answer/ }
  )
  t.match(await runCommand(['revoke', '--subject', 'ada'], { ...env, OIDC_CLIENT_ID: '' }), {
    code: 1,
    output: /OIDC_CLIENT_ID is missing/
  })
})
