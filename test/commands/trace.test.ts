import t from 'tap'
import { SEED_SECRET, redeem, signIn, startBroker } from '../support/broker.ts'
import { ownRedisForTests } from '../support/redis.ts'
import { runCommand } from '../support/run-command.ts'
import type { CommandOutcome } from '../support/run-command.ts'
import { ping } from '../support/seed.ts'
import { until } from '../support/until.ts'

t.test('seed trace tells the story of a sign-in from the store, from the first request to the first call', async (t) => {
  const redis = await ownRedisForTests(t)
  if (redis === undefined) return
  const seed = await startBroker(t, { env: { REDIS_URL: redis.url } })
  const env = {
    OAUTH_MODE: 'broker', OIDC_ISSUER: seed.provider.issuer, OIDC_CLIENT_ID: 'seed-dev', REDIS_URL: redis.url, SEED_SECRET
  }
  const signedIn = await signIn(seed)
  const line = await seed.logged(({ path }) => path === '/oauth/callback')
  const reference = String(line['signIn'])
  let told: CommandOutcome
  const tell = async (expected: RegExp): Promise<void> => {
    await until(async () => {
      told = await runCommand(['trace', reference], env)
      return expected.test(told.printed)
    }, `the story has ${String(expected)}`)
    t.match(told, { code: 0, printedErrors: '' })
  }
  await tell(/Stopped at: callback \(code_not_redeemed\)/)
  const { json } = await redeem(seed.url, signedIn)
  await tell(/Stopped at: token \(token_not_used\)/)
  t.equal((await ping(seed.url, String(json['access_token']))).status, 200)
  await tell(/The sign-in has succeeded/)
  t.match(told!.printed, new RegExp(`^Sign-in ${reference}, `))
  for (const step of ['authorize', 'consent', 'callback', 'token', 'call']) t.match(told!.printed, `  ${step}: `)
  for (const fact of ['kind of client: registered', 'redirect URI: http://localhost:53217/callback',
    'The token endpoint of the provider', 'ID token and userinfo of the provider']) t.match(told!.printed, fact)
  for (const secret of [signedIn.code, signedIn.verifier, signedIn.state, String(json['access_token']), 'Ada', 'ada@']) {
    t.notOk(told!.printed.includes(secret), 'no secret and no name is in it')
  }
  const { printed } = await runCommand(['trace', reference, '--json'], env)
  t.match(JSON.parse(printed), { reference, completed: true, steps: [{ step: 'authorize' }] })
})

t.test('what it cannot tell, it says in a sentence', async (t) => {
  const redis = await ownRedisForTests(t)
  if (redis === undefined) return
  const env = {
    OAUTH_MODE: 'broker', OIDC_ISSUER: 'https://auth.example.com', OIDC_CLIENT_ID: 'seed', SEED_SECRET
  }
  for (const [reference, environment, message] of [
    ['short', env, /^seed trace: a reference has twelve characters/],
    ['Xw3_bT0aQk9z', env, /^REDIS_URL is not set/],
    ['Xw3_bT0aQk9z', { ...env, REDIS_URL: redis.url }, /^Nothing is recorded under this reference/]
  ] as const) {
    t.match(await runCommand(['trace', reference], environment), { code: 1, printed: '', printedErrors: message })
  }
})
