import { createHmac, generateKeyPairSync } from 'node:crypto'
import { setTimeout as sleep } from 'node:timers/promises'
import { base64url } from 'jose'
import pino from 'pino'
import t from 'tap'
import type { Test } from 'tap'
import { readTrustedIssuers } from '../../src/config/trusted-issuers.ts'
import { HttpError } from '../../src/errors/http-error.ts'
import { createTrustedIssuers } from '../../src/workloads/trusted-issuers.ts'
import { WorkloadTokenError } from '../../src/workloads/workload-token-error.ts'
import { captureLogs } from '../support/seed.ts'
import { until } from '../support/until.ts'
import {
  githubClaims, gitlabClaims, kubernetesClaims, spiffeClaims, startWorkloadIssuer
} from '../support/workload-issuer.ts'

const BASE_URL = 'https://seed.example.com'
const seconds = (): number => Math.floor(Date.now() / 1_000)

function trust (t: Test, entries: object[], { onChange }: { onChange?: () => void } = {}) {
  const { logs, logged, stream } = captureLogs()
  const issuers = createTrustedIssuers({
    issuers: readTrustedIssuers(JSON.stringify(entries), BASE_URL),
    clockSkewSeconds: 30,
    log: pino({}, stream) as never,
    onChange,
    forcedRefreshMs: 20
  })
  issuers.start()
  t.teardown(() => { issuers.close() })
  return { ...issuers, logs, logged }
}

const GITHUB_RULE = {
  service: 'deploy',
  match: { repository_id: '74', environment: 'production', ref: ['refs/heads/main', { pattern: 'refs/tags/*' }] },
  scope: 'tickets:write',
  groups: ['ci']
}

async function startGitHub (t: Test, more: object = {}) {
  const platform = await startWorkloadIssuer(t)
  const entry = { issuer: platform.issuer, preset: 'github-actions', rules: [GITHUB_RULE], ...more }
  return { platform, entry, claims: (changes = {}) => githubClaims(BASE_URL, changes) }
}

/** Waits until the keys of the issuer of a token have been fetched. */
async function loadKeys ({ verify }: Pick<ReturnType<typeof trust>, 'verify'>, token: string): Promise<void> {
  await until(async () => await verify(token).then(() => true, (err: unknown) => !(err instanceof HttpError)), 'keys')
}

async function isRefused (t: Test, verified: Promise<unknown>, reason: RegExp, about: string): Promise<void> {
  const error = await verified.then(() => undefined, (err: unknown) => err)
  t.type(error, WorkloadTokenError, about)
  t.match((error as WorkloadTokenError).message, reason, about)
}

t.test('tokens as the platforms make them stand for the services of the rules', async (t) => {
  const { platform: github, entry, claims } = await startGitHub(t)
  const gitlab = await startWorkloadIssuer(t)
  const cluster = await startWorkloadIssuer(t)
  const spire = await startWorkloadIssuer(t, { algorithm: 'ES256' })
  const federated = await startWorkloadIssuer(t)
  spire.keys = [
    ...spire.keys.map(({ alg, ...key }) => ({ ...key, use: 'jwt-svid' })),
    { kty: 'EC', crv: 'P-256', x: 'x', y: 'y', kid: 'x509', use: 'x509-svid' }
  ]
  const issuers = trust(t, [
    entry,
    {
      issuer: gitlab.issuer,
      preset: 'gitlab-ci',
      rules: [{ service: 'pipeline', match: { project_id: 20, ref: 'main', ref_protected: true, runner_id: '1' } }]
    },
    {
      issuer: cluster.issuer,
      preset: 'kubernetes',
      jwks: { keys: cluster.keys },
      single_use: false,
      rules: [{ service: 'reports', match: { sub: 'system:serviceaccount:reports:nightly' } }]
    },
    {
      preset: 'spiffe',
      trust_domain: 'example.org',
      jwks_uri: spire.jwksUri,
      rules: [{ service: 'job', match: { sub: 'spiffe://example.org/ns/reports/job' } }]
    },
    {
      issuer: federated.issuer,
      audience: ['api://seed', 'api://seed-too'],
      rules: [{ service: 'app', match: { azp: 'app', roles: ['Tools.Call', 'Tools.All'] } }]
    }
  ])
  for (const platform of [github, gitlab]) await loadKeys(issuers, await platform.mint(claims()))
  await loadKeys(issuers, await spire.mint(spiffeClaims(BASE_URL)))
  await loadKeys(issuers, await federated.mint({ aud: 'api://seed' }))
  t.match(await issuers.verify(await github.mint(claims(), { typ: 'JWT' })), {
    service: 'deploy',
    rights: { scopes: ['tickets:write'], claims: { groups: ['ci'] } },
    issuer: github.issuer,
    jti: String,
    singleUse: true,
    issuedAfter: Number,
    expiresAt: Number,
    claims: { repository_id: '74' }
  })
  t.match(await issuers.verify(await github.mint(claims({ ref: 'refs/tags/v1.2.3' }))), { service: 'deploy' })
  t.match(await issuers.verify(await gitlab.mint(gitlabClaims(BASE_URL), { typ: 'JWT' })), { service: 'pipeline' })
  t.match(await issuers.verify(await cluster.mint(kubernetesClaims(BASE_URL))), {
    service: 'reports', singleUse: false
  })
  t.same(cluster.requests, [], 'keys of the configuration are not fetched')
  t.match(await issuers.verify(await spire.mint(spiffeClaims(`${BASE_URL}/`), { typ: 'JOSE' })), {
    service: 'job', issuer: 'example.org', jti: undefined
  })
  const { issuedAfter } = await issuers.verify(await spire.mint(spiffeClaims(BASE_URL, { iat: undefined })))
  t.ok(issuedAfter < seconds() - 3_000, 'without iat it may be as old as any token')
  const app = (changes: object = {}) => federated.mint({
    sub: 'app', aud: ['api://seed', 'api://seed-too'], azp: 'app', roles: ['Other', 'Tools.All'], iat: seconds(), exp: seconds() + 60, ...changes
  })
  t.match(await issuers.verify(await app()), { service: 'app' }, 'a claim that is a list, and two audiences')
  await isRefused(t, issuers.verify(await app({ roles: [['Tools.All'], 'Tools.Callx'] })), /no rule/, 'roles')
  await isRefused(t, issuers.verify(await app({ azp: { app: 'app' } })), /no rule/, 'an object in the place of a text')
  t.match(await issuers.verify(await app({ aud: 'api://seed' }), ['at+jwt', 'jwt']), { service: 'app' })
})

t.test('a token that any check refuses stands for nothing, and the reason repeats nothing of it', async (t) => {
  const { platform, entry, claims } = await startGitHub(t)
  const spire = await startWorkloadIssuer(t)
  const stranger = await startWorkloadIssuer(t)
  const issuers = trust(t, [entry, {
    preset: 'spiffe',
    trust_domain: 'example.org',
    jwks_uri: spire.jwksUri,
    rules: [{ service: 'job', match: { sub: 'spiffe://example.org/ns/reports/job' } }]
  }])
  const good = await platform.mint(claims())
  await loadKeys(issuers, good)
  await loadKeys(issuers, await spire.mint(spiffeClaims(BASE_URL)))
  await issuers.verify(good)
  const [header, payload, signature] = good.split('.') as [string, string, string]
  const encode = (value: unknown): string => base64url.encode(typeof value === 'string' ? value : JSON.stringify(value))
  const hmac = (input: string): string => `${input}.${createHmac('sha256', JSON.stringify(platform.keys[0])).update(input).digest('base64url')}`
  const kid = platform.keys[0]!.kid
  const own = generateKeyPairSync('rsa', { modulusLength: 2048 }).privateKey
  const cases: Record<string, [token: string | Promise<string>, reason: RegExp]> = {
    'no JWT': ['x', /must be a signed JWT/],
    'three parts of nothing': ['..', /must be a signed JWT/],
    'a claim twice': [`${header}.${encode('{"iss":"a","iss":"b"}')}.${signature}`, /without a claim twice/],
    'too deep': [`${header}.${encode(`{"iss":"a","x":${'['.repeat(80)}${']'.repeat(80)}}`)}.${signature}`, /signed JWT/],
    'another typ': [platform.mint(claims(), { typ: 'at+jwt' }), /typ in its header/],
    'an ID-JAG': [platform.mint(claims(), { typ: 'oauth-id-jag+jwt' }), /typ in its header/],
    'a logout token': [platform.mint(claims(), { typ: 'logout+jwt' }), /typ in its header/],
    'a typ that is no text': [`${encode({ alg: 'RS256', kid, typ: ['JWT'] })}.${payload}.${signature}`, /typ in its header/],
    'another issuer': [stranger.mint(claims()), /iss must be an issuer/],
    'an issuer with a slash more': [platform.mint(claims({ iss: `${platform.issuer}/` })), /iss must be an issuer/],
    'no issuer': [platform.mint(claims({ iss: undefined })), /iss must be an issuer/],
    'the issuer of another key with the same id': [stranger.mint(claims({ iss: platform.issuer })), /signature is not valid/],
    'another trust domain': [spire.mint(spiffeClaims(BASE_URL, { sub: 'spiffe://example.org.evil/ns/reports/job' })), /iss must be/],
    'an issuer for a trust domain without one': [spire.mint(spiffeClaims(BASE_URL, { iss: spire.issuer })), /iss must be/],
    'a key of another issuer': [stranger.mint(claims({ iss: platform.issuer }), {}, stranger.privateKey), /signature/],
    'algorithm none': [`${encode({ alg: 'none' })}.${payload}.`, /algorithm/],
    'no algorithm': [`${encode({ kid })}.${payload}.${signature}`, /algorithm/],
    'HS256 with the public key': [hmac(`${encode({ alg: 'HS256', kid })}.${payload}`), /algorithm/],
    'an algorithm that its issuer does not use': [platform.mint(claims(), { alg: 'PS256' }, own as never), /algorithm/],
    'a key in the header': [platform.mint(claims(), { jwk: own.export({ format: 'jwk' }) }, own as never), /signature/],
    'an unknown key id': [platform.mint(claims(), { kid: 'other' }), /its key is not one of its issuer/],
    'a critical header': [`${encode({ alg: 'RS256', kid, crit: ['x'], x: 1 })}.${payload}.${signature}`, /signature/],
    'a changed claim': [`${header}.${encode(claims({ repository_id: '75', iss: platform.issuer }))}.${signature}`, /signature/],
    'no audience': [platform.mint(claims({ aud: undefined })), /aud must be https:\/\/seed.example.com alone/],
    'another audience': [platform.mint(claims({ aud: 'https://github.com/octo-org' })), /aud must be/],
    'two audiences': [platform.mint(claims({ aud: [BASE_URL, 'https://other.example.com'] })), /aud must be/],
    'an audience that begins alike': [platform.mint(claims({ aud: `${BASE_URL}.evil.org` })), /aud must be/],
    expired: [platform.mint(claims({ iat: seconds() - 600, exp: seconds() - 60 })), /it has expired/],
    'not valid yet': [platform.mint(claims({ nbf: seconds() + 90 })), /nbf is missing or not acceptable/],
    'no exp': [platform.mint(claims({ exp: undefined })), /exp is missing/],
    'no iat': [platform.mint(claims({ iat: undefined })), /iat is missing/],
    'from the future': [platform.mint(claims({ iat: seconds() + 90 })), /iat is in the future/],
    'two hours long': [platform.mint(claims({ exp: seconds() + 7_200 })), /at most 3600 seconds/],
    'two hours long without iat': [spire.mint(spiffeClaims(BASE_URL, { iat: undefined, exp: seconds() + 7_200 })), /at most 3600/],
    'bound to a key': [platform.mint(claims({ cnf: { jkt: 'x' } })), /bound to a key/],
    'an ID token of a person': [platform.mint(claims({ nonce: 'n' })), /ID tokens of people/],
    'a logout token without typ': [platform.mint(claims({ events: {} })), /logout tokens are not accepted/],
    'no sub': [platform.mint(claims({ sub: undefined })), /sub must be a text/],
    'an empty jti': [platform.mint(claims({ jti: '' })), /jti must be a text/],
    'a long jti': [platform.mint(claims({ jti: 'x'.repeat(2_049) })), /jti must be a text/],
    'another repository of the same name': [platform.mint(claims({ repository_id: '75' })), /no rule/],
    'a pull request': [platform.mint(claims({ ref: 'refs/pull/1/merge' })), /no rule/],
    'another environment': [platform.mint(claims({ environment: 'production-2' })), /no rule/],
    'a tag with a slash': [platform.mint(claims({ ref: 'refs/tags/v1/evil' })), /no rule/],
    'no environment': [platform.mint(claims({ environment: undefined })), /no rule/],
    'a fraction in the place of a number': [platform.mint(claims({ repository_id: 74.5 })), /no rule/]
  }
  for (const [about, [token, reason]] of Object.entries(cases)) {
    await isRefused(t, issuers.verify(await token), reason, about)
  }
  const error = await issuers.verify(await platform.mint(claims({ environment: 'staging' }))).catch((err) => err)
  t.match(error.detail, 'no rule fits: "deploy" wants another environment', 'the log names the claim')
})

t.test('a token that rules for two services fit stands for neither', async (t) => {
  const { platform, entry, claims } = await startGitHub(t)
  const issuers = trust(t, [{
    ...entry,
    rules: [
      { service: 'one', match: { repository_id: '74', environment: 'production' } },
      { service: 'two', match: { repository_id: '74', ref: 'refs/heads/main' } },
      { service: 'two', match: { repository_id: '74', ref: 'refs/heads/main', event_name: 'push' }, scope: 'more' }
    ]
  }])
  await loadKeys(issuers, await platform.mint(claims()))
  const error = await issuers.verify(await platform.mint(claims())).catch((err) => err)
  t.match(error, { name: 'WorkloadTokenError', message: 'rules of two services fit its claims', detail: /"one" and "two"/ })
  t.match(await issuers.verify(await platform.mint(claims({ environment: undefined }))), {
    service: 'two', rights: { scopes: [] }
  }, 'of the rules for one service the first counts')
})

t.test('keys are fetched for a new key id, kept through an outage, and missed with a 503', async (t) => {
  const { platform, entry, claims } = await startGitHub(t)
  let changes = 0
  platform.isUp = false
  const issuers = trust(t, [entry], { onChange: () => { changes++ } })
  t.match(await issuers.logged(({ event }) => event === 'issuer.keys_unavailable'), {
    level: 50, issuer: platform.issuer, keysKept: 0, msg: /\(TRUSTED_ISSUERS\)/
  })
  const error = await issuers.verify(await platform.mint(claims())).catch((err) => err)
  t.type(error, HttpError)
  t.match(error, { statusCode: 503, retryAfterSeconds: 5, causeCode: 'issuer_unavailable' })
  platform.isUp = true
  await issuers.logged(({ event }) => event === 'issuer.keys_available')
  await issuers.verify(await platform.mint(claims()))
  await platform.rotate('second')
  await issuers.verify(await platform.mint(claims()))
  t.match(issuers.logs.find(({ event }) => event === 'issuer.keys_changed'), { kids: ['second'] })
  t.equal(changes, 1)
  platform.isUp = false
  const before = platform.requests.length
  await issuers.verify(await platform.mint(claims()), undefined)
  t.equal(platform.requests.length, before, 'a known key needs no fetch')
  await t.rejects(issuers.verify(await platform.mint(claims(), { kid: 'third' })), /cannot be had/)
  t.match(await issuers.logged(({ event, keysKept }) => event === 'issuer.keys_unavailable' && keysKept === 1), {
    msg: /the last good ones stay in use/
  })
  await issuers.verify(await platform.mint(claims()))
})

t.test('a discovery document of another issuer, or with keys at an unsafe place, gives no keys', async (t) => {
  for (const [change, reason] of [
    [{ issuer: 'https://other.example.com' }, /is the document of another issuer/],
    [{ jwks_uri: 'http://other.example.com/jwks' }, /has no usable jwks_uri/],
    [{ jwks_uri: undefined }, /has no usable jwks_uri/]
  ] as const) {
    const { platform, entry } = await startGitHub(t)
    Object.assign(platform.document, change)
    const issuers = trust(t, [entry])
    t.match(await issuers.logged(({ event }) => event === 'issuer.keys_unavailable'), { reason })
    t.same(platform.requests, ['/.well-known/openid-configuration'])
    issuers.close()
  }
})

t.test('made-up key ids cause one fetch at a time, however many tokens there are', async (t) => {
  const { platform, entry, claims } = await startGitHub(t)
  const issuers = trust(t, [entry])
  await loadKeys(issuers, await platform.mint(claims()))
  await sleep(25)
  const before = platform.requests.length
  const tokens = await Promise.all(Array.from({ length: 20 }, async (_, index) =>
    await platform.mint(claims(), { kid: `made-up-${index}` })))
  await Promise.all(tokens.map(async (token) => await isRefused(t, issuers.verify(token), /its key/, 'made up')))
  t.ok(platform.requests.length - before <= 4, `${platform.requests.length - before} requests for two documents`)
})

t.test('an error of this program is none of the token', async (t) => {
  const { platform, entry, claims } = await startGitHub(t)
  let reads = 0
  const readAlgorithms = (): string[] => {
    if (++reads > 1) throw new TypeError('a bug')
    return ['RS256']
  }
  const issuers = createTrustedIssuers({
    issuers: readTrustedIssuers(JSON.stringify([{ ...entry, jwks: { keys: platform.keys } }]), BASE_URL)
      .map((issuer) => ({ ...issuer, get algorithms (): string[] { return readAlgorithms() } })),
    clockSkewSeconds: 30,
    log: pino({ level: 'silent' }) as never
  })
  await t.rejects(issuers.verify(await platform.mint(claims())), { name: 'TypeError' })
})
