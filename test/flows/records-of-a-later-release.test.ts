import { randomBytes } from 'node:crypto'
import t from 'tap'
import type { Test } from 'tap'
import { digest } from '../../src/crypto/hash.ts'
import { keys } from '../../src/store/keys.ts'
import { StoreUnavailableError } from '../../src/store/store.ts'
import type { Store } from '../../src/store/store.ts'
import {
  byHand, getTokens, grantKey, newRequest, post, redeem, refresh, register, signIn, startBroker
} from '../support/broker.ts'
import type { Tokens } from '../support/broker.ts'
import { request } from '../support/mcp.ts'
import { challengeOf } from '../support/proxy.ts'
import { startRawSession } from '../support/raw-client.ts'
import { ownRedisForTests } from '../support/redis.ts'
import { runCommand } from '../support/run-command.ts'
import { ping, ready, startSeed } from '../support/seed.ts'
import type { TestSeed } from '../support/seed.ts'
import { createPlainClient, signedIn } from '../support/sign-in.ts'

/**
 * A rolling upgrade, seen by the older release: records that a newer replica has written in a format that this release
 * would misread. Nobody is signed out, and the newer replica finds its records as it wrote them.
 */

/** Never to appear in the log. */
const CONTENT = 'content-of-a-record'

interface LaterRecord {
  text: string
  /** Puts the record back that this release reads. */
  restore (): Promise<void>
}

/** Puts the record under a key into the format of the next release. */
async function makeLater (store: Store, key: string): Promise<LaterRecord> {
  const own = (await store.get(key))!
  const { form, ...value } = JSON.parse(own) as Record<string, unknown>
  const text = JSON.stringify({ form: Number(form) + 1, renamed: value, secret: CONTENT })
  await store.set(key, text, 600)
  return { text, restore: async () => { await store.set(key, own, 600) } }
}

interface Answer {
  status: number
  retryAfter: string | null | undefined
}

const fromFetch = ({ status, headers }: Response): Answer => ({ status, retryAfter: headers.get('retry-after') })

/** Sends a request that needs a record of a later release; then the same one for a record of this release. */
async function checkRecord (
  t: Test, { app: { store }, logs }: TestSeed, { kind, key, status, send }: {
    kind: string
    key: string
    /** Expected once this release reads the record. */
    status: number
    send: () => Promise<Answer>
  }
): Promise<void> {
  const later = await makeLater(store, key)
  t.match(await send(), { status: 503, retryAfter: '5' }, kind)
  t.equal(await store.get(key), later.text, `${kind}: the record stays as it is`)
  t.match(logs.filter(({ event, kind: named }) => event === 'store.record_of_later_release' && named === kind),
    [{ level: 40, form: 2, known: 1, msg: /has version 2, and this release reads 1 at most/ }], 'one line')
  await later.restore()
  t.equal((await send()).status, status, `${kind}: the same request goes on once a replica that knows it answers`)
}

const bySend = async (sent: ReturnType<typeof post>): Promise<Answer> => {
  const { statusCode, headers } = await sent
  return { status: statusCode, retryAfter: headers['retry-after'] }
}

t.test('no sign-in ends in an upgrade: whatever needs a client, sign-in, code or grant of a newer replica tries again', async (t) => {
  const seed = await startBroker(t)
  const clientId = await register(seed.url)
  await checkRecord(t, seed, {
    kind: 'registered client',
    key: keys.client(clientId),
    status: 200,
    send: async () => fromFetch(await fetch(newRequest(seed, clientId).url))
  })

  const { callback, cookie } = await byHand(seed)
  await checkRecord(t, seed, {
    kind: 'pending sign-in',
    key: keys.signIn(digest(callback.searchParams.get('state')!)),
    status: 303,
    send: async () => fromFetch(await fetch(callback, { headers: { cookie }, redirect: 'manual' }))
  })

  const withCode = await signIn(seed)
  await checkRecord(t, seed, {
    kind: 'authorization code',
    key: keys.code(digest(withCode.code)),
    status: 200,
    send: async () => await bySend(redeem(seed.url, withCode))
  })

  const tokens = await getTokens(seed)
  await checkRecord(t, seed, {
    kind: 'grant',
    key: grantKey(tokens.refreshToken),
    status: 200,
    send: async () => await bySend(refresh(seed.url, tokens.clientId, tokens.refreshToken))
  })
  t.notMatch(JSON.stringify(seed.logs), CONTENT)
  t.same(seed.logs.filter(({ level }) => level >= 50), [], 'no error')
})

t.test('the answer says that the server is being upgraded', async (t) => {
  const seed = await startBroker(t)
  const { clientId, refreshToken } = await getTokens(seed)
  const { restore } = await makeLater(seed.app.store, grantKey(refreshToken))
  t.match(await refresh(seed.url, clientId, refreshToken), {
    statusCode: 503,
    json: { error: 'temporarily_unavailable', error_description: /being upgraded; try again shortly/ }
  })
  await restore()

  const other = await register(seed.url)
  await makeLater(seed.app.store, keys.client(other))
  const page = await fetch(newRequest(seed, other).url)
  t.match(await page.text(), /This server is being upgraded/)
})

t.test('a client whose registration is in a later format may register again', async (t) => {
  const seed = await startBroker(t)
  const metadata = { client_name: 'One name for both' }
  const first = await register(seed.url, metadata)
  t.equal(await register(seed.url, metadata), first)
  const { text } = await makeLater(seed.app.store, keys.client(first))
  t.not(await register(seed.url, metadata), first)
  t.equal(await seed.app.store.get(keys.client(first)), text)
})

t.test('revoking is refused for a grant of a later release, after the marks are set and all others have ended', async (t) => {
  const seed = await startBroker(t)
  const { store } = seed.app
  const [later, other] = [await getTokens(seed), await getTokens(seed)]
  const { text, restore } = await makeLater(store, grantKey(later.refreshToken))
  const revoke = async ({ clientId }: Tokens, token: string): Promise<Answer> =>
    await bySend(post(`${seed.url}/oauth/revoke`, { client_id: clientId, token }))
  t.same(await revoke(later, later.refreshToken), { status: 503, retryAfter: '5' })
  t.equal((await ping(seed.url, later.accessToken)).status, 200, 'the client knows that nothing was revoked')

  const logOut = async (claims: Record<string, unknown> = {}): Promise<number> =>
    (await seed.provider.backchannelLogout('ada', `${seed.url}/oauth/backchannel-logout`, { claims })).status
  t.equal(await logOut(), 503, 'the grant may be one without a session at the provider')
  t.equal(await store.get(grantKey(later.refreshToken)), text)
  for (const { accessToken } of [later, other]) t.equal((await ping(seed.url, accessToken)).status, 401)
  t.equal(await store.get(grantKey(other.refreshToken)), undefined)
  await restore()
  t.equal(await logOut({ sid: undefined }), 200, 'the replica that reads it ends it')
  t.equal(await store.get(grantKey(later.refreshToken)), undefined)
})

t.test('an outage of the store is no upgrade', async (t) => {
  const seed = await startBroker(t)
  const { refreshToken } = await getTokens(seed)
  const { store } = seed.app
  const { get } = store
  store.get = async (key) => {
    if (key === grantKey(refreshToken)) throw new StoreUnavailableError()
    return await get(key)
  }
  const { status, retryAfter } = await seed.provider.backchannelLogout('ada', `${seed.url}/oauth/backchannel-logout`)
    .then(fromFetch)
  t.same({ status, retryAfter }, { status: 503, retryAfter: '1' })
})

t.test('seed connections leaves out what it cannot read, and seed revoke says that it could not end it', async (t) => {
  const redis = await ownRedisForTests(t)
  if (redis === undefined) return
  const seed = await startBroker(t, { env: { REDIS_URL: redis.url } })
  const { store } = seed.app
  const [later, other] = [await getTokens(seed), await getTokens(seed)]
  const startSession = async () => await startRawSession(seed.url, other.accessToken)
  const sessions = [await startSession(), await startSession()]
  const { text } = await makeLater(store, grantKey(later.refreshToken))
  await makeLater(store, keys.session(digest(sessions[0]!.id)))
  await makeLater(store, keys.client(other.clientId))
  const env = {
    OAUTH_MODE: 'broker',
    OIDC_ISSUER: seed.provider.issuer,
    OIDC_CLIENT_ID: seed.provider.clientId,
    BASE_URL: seed.url,
    REDIS_URL: redis.url,
    SEED_SECRET: seed.app.config.secrets.current!
  }
  const { code, printed, printedErrors } = await runCommand(['connections', '--json'], env)
  t.equal(code, 0)
  t.match(printed.trim().split('\n').map((line) => JSON.parse(line)), [{ clientId: other.clientId, sessions: 1 }])
  t.match(printedErrors, /has version 2, and this release reads 1 at most/)

  t.match(await runCommand(['revoke', '--subject', 'ada'], env), { code: 1, printedErrors: /grant .* has version 2/ })
  t.equal(await store.get(grantKey(later.refreshToken)), text)
  t.equal(await store.get(grantKey(other.refreshToken)), undefined, 'the other one has ended')
})

t.test('in proxy mode neither an approval nor a family of refresh tokens ends in an upgrade', async (t) => {
  const seed = await startSeed(t)
  await ready(seed)
  const client = await createPlainClient(seed.url)
  const page = await client.walk()
  await checkRecord(t, seed, {
    kind: 'approval of a sign-in',
    key: keys.approval(digest(challengeOf(client.verifier))),
    status: 200,
    send: async () => fromFetch(await client.redeem(page))
  })

  const other = await createPlainClient(seed.url)
  const { store } = seed.app
  const { set } = store
  const families: string[] = []
  store.set = async (key, value, ttlSeconds) => {
    if (key.startsWith(keys.refreshFamily(''))) families.push(key)
    await set(key, value, ttlSeconds)
  }
  const tokens = await signedIn(other)
  await checkRecord(t, seed, {
    kind: 'family of refresh tokens',
    key: families[0]!,
    status: 200,
    send: async () => fromFetch(await other.refresh(tokens.refresh_token!))
  })
})

t.test('neither a session nor a stream ends in an upgrade', async (t) => {
  const seed = await startBroker(t)
  const { store } = seed.app
  const { accessToken } = await getTokens(seed)
  const session = await startRawSession(seed.url, accessToken)
  const name = digest(session.id)
  await checkRecord(t, seed, {
    kind: 'session',
    key: keys.session(name),
    status: 200,
    send: async () => {
      // No replica has it in its cache.
      await store.publish('replicas', JSON.stringify({ kind: 'log-level-changed', session: name }))
      return await session.post(request('ping'))
    }
  })

  const stream = `${randomBytes(9).toString('base64url')}.${randomBytes(9).toString('base64url')}`
  const key = keys.stream(name, stream)
  await store.set(key, JSON.stringify({ form: 1, requests: [1] }), 600)
  await checkRecord(t, seed, {
    kind: "state of a call's stream",
    key,
    status: 200,
    send: async () => {
      const answer = await session.get(`${stream}.0`)
      await answer.events?.cut()
      return answer
    }
  })

  const { events } = await session.get(`${stream}.0`)
  await makeLater(store, key)
  await store.publish('replicas', JSON.stringify({ kind: 'event-appended', stream }))
  t.same(await events!.rest(), [], 'a stream that a newer replica has taken over ends, so that its client resumes it there')
})

t.test('a session of a later release gives way to no new one', async (t) => {
  const seed = await startBroker(t, { env: { SESSIONS_PER_PRINCIPAL: '2' } })
  const { store } = seed.app
  const { accessToken } = await getTokens(seed)
  const [first, second] = [await startRawSession(seed.url, accessToken), await startRawSession(seed.url, accessToken)]
  const { text, restore } = await makeLater(store, keys.session(digest(first.id)))
  const third = await startRawSession(seed.url, accessToken)
  t.equal(await store.get(keys.session(digest(first.id))), text)
  t.equal((await second.post(request('ping'))).status, 404, 'one of this release does')
  t.equal((await third.post(request('ping'))).status, 200)
  await restore()
  t.equal((await first.post(request('ping'))).status, 200)
})
