import { createServer } from 'node:http'
import type { IncomingMessage, ServerResponse } from 'node:http'
import { createServer as createHttpsServer } from 'node:https'
import type { AddressInfo } from 'node:net'
import { once } from 'node:events'
import { generateKeyPairSync } from 'node:crypto'
import { writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import t from 'tap'
import type { Test } from 'tap'
import { Value } from 'typebox/value'
import { startDevProvider } from '../../dev/provider.ts'
import type { DevProvider, DevProviderOptions } from '../../dev/provider.ts'
import { ReportSchema } from '../../src/doctor/finding.ts'
import type { Finding, Report } from '../../src/doctor/finding.ts'
import { freePort } from '../support/free-port.ts'
import { COMPILED_CLI, emptyFolder, startProcess } from '../support/process.ts'
import { runCommand } from '../support/run-command.ts'
import { selfSigned } from '../support/tls.ts'
import { startWorkloadIssuer } from '../support/workload-issuer.ts'

const BASE_URL = 'http://127.0.0.1:9'
const CALLBACK = `${BASE_URL}/oauth/callback`

interface Case {
  provider?: DevProviderOptions
  /** Changes the provider before the diagnosis. */
  change?: (provider: DevProvider) => void | Promise<void>
  env?: Record<string, string> | ((provider: DevProvider) => Record<string, string>)
}

type Diagnosis = Report & { code: number, output: string, find (check: string): Finding | undefined }

/** Runs `seed doctor --json` with these settings alone. */
async function run (env: Record<string, string>): Promise<Diagnosis> {
  const { code, output, printed } = await runCommand(['doctor', '--json'], { CIMD_ENABLED: 'false', BASE_URL, ...env })
  const report = JSON.parse(printed) as Report
  return { ...report, code, output, find: (check) => report.findings.find((finding) => finding.check === check) }
}

/** Runs it in broker mode against a development provider that knows the callback of BASE_URL only. */
async function diagnose (t: Test, { provider: options, change, env = {} }: Case = {}): Promise<Diagnosis> {
  const provider = await startDevProvider({ algorithm: 'ES256', fixedRedirectUris: [CALLBACK], ...options })
  t.teardown(async () => { await provider.close() })
  await change?.(provider)
  return await run({
    OAUTH_MODE: 'broker',
    OIDC_ISSUER: provider.issuer,
    OIDC_CLIENT_ID: provider.clientId,
    ...typeof env === 'function' ? env(provider) : env
  })
}

const confidential = (suffix = 'confidential', others: Record<string, string> = {}) => ({ clientId }: DevProvider) =>
  ({ OIDC_CLIENT_ID: `${clientId}-${suffix}`, OIDC_CLIENT_SECRET: 'dev-secret', ...others })

/** The redirect URI with which the doctor asks in proxy mode. */
const NATIVE_REDIRECT_URI = 'http://localhost:53217/callback'

const DISCOVERY = '/.well-known/openid-configuration'

/** Changes members of the discovery document; undefined leaves one out. */
const withDocument = (members: Record<string, unknown>) => async (provider: DevProvider): Promise<void> => {
  const document = await (await fetch(`${provider.issuer}${DISCOVERY}`)).json() as Record<string, unknown>
  provider.setFault(DISCOVERY, { status: 200, json: { ...document, ...members } })
}

t.test('nothing is wrong with a provider that knows the client', async (t) => {
  for (const [name, env] of [['public', {}], ['secret', confidential()], ['post', confidential('post')]] as const) {
    const { findings, result, code, find } = await diagnose(t, { env })
    t.same(findings.filter(({ severity }) => severity === 'error'), [], name)
    // The store in memory.
    t.same([result, code], ['warning', 1])
    for (const check of [
      'configuration.settings', 'provider.discovery', 'provider.signing-keys', 'provider.authorization',
      'provider.refresh', 'provider.revocation-request', 'provider.clock', 'provider.pkce', 'tools.definitions'
    ]) {
      t.equal(find(check)?.severity, 'ok', check)
    }
    t.equal(find('provider.client-authentication')?.severity, 'ok', name)
  }
})

t.test('the keys of trusted issuers are fetched, and an issuer without keys is an error', async (t) => {
  const [good, away, empty] = [await startWorkloadIssuer(t), await startWorkloadIssuer(t), await startWorkloadIssuer(t)]
  away.isUp = false
  empty.keys = [{ kty: 'oct', k: 'c2VjcmV0' }]
  const { publicKey } = generateKeyPairSync('ec', { namedCurve: 'P-256' })
  const rules = [{ service: 'deploy', match: { sub: 'deploy' } }]
  const { findings } = await diagnose(t, {
    env: {
      TRUSTED_ISSUERS: JSON.stringify([
        { issuer: good.issuer, rules },
        { issuer: away.issuer, rules },
        { issuer: empty.issuer, rules },
        { issuer: 'https://ci.example.com', jwks: { keys: [publicKey.export({ format: 'jwk' })] }, rules }
      ])
    }
  })
  t.match(findings.filter(({ check }) => check === 'trusted-issuers.keys'), [
    { severity: 'ok', asked: `GET the keys of ${good.issuer}`, answered: '1 key(s)' },
    { severity: 'error', answered: /answered 503/, setting: 'TRUSTED_ISSUERS', meaning: /No token of .* can be verified/ },
    {
      severity: 'error',
      answered: /no usable signing key \(it needs the public RSA key of at least 2,048 bits, .* the issuer signs\)$/,
      setting: 'TRUSTED_ISSUERS'
    }
  ])
})

t.test('each misconfiguration is found, and the setting to change is named', async (t) => {
  const { privateKey: otherKey } = generateKeyPairSync('ec', { namedCurve: 'P-256' })
  const otherPem = otherKey.export({ type: 'pkcs8', format: 'pem' }).toString()
  const cases: Array<[what: string, given: Case, check: string, expected: Partial<Record<keyof Finding, unknown>>]> = [
    ['a client that does not exist', { env: { OIDC_CLIENT_ID: 'nobody' } }, 'provider.client-authentication',
      { severity: 'error', setting: 'OIDC_CLIENT_SECRET', meaning: /OIDC_CLIENT_ID \(nobody\).*public/ }],
    ['a wrong secret', { env: confidential('confidential', { OIDC_CLIENT_SECRET: 'wrong-secret' }) },
      'provider.client-authentication', {
        severity: 'error',
        setting: 'OIDC_CLIENT_SECRET',
        answered: /invalid_client/
      }],
    ['a public client with a secret', { env: { OIDC_CLIENT_SECRET: 'dev-secret' } }, 'provider.client-authentication',
      { severity: 'error', setting: 'OIDC_CLIENT_SECRET', meaning: /is public there: remove OIDC_CLIENT_SECRET/ }],
    ['a confidential client without a secret', { env: ({ clientId }) => ({ OIDC_CLIENT_ID: `${clientId}-confidential` }) },
      'provider.client-authentication', { severity: 'error', setting: 'OIDC_CLIENT_SECRET' }],
    ['the wrong method', {
      provider: { quirks: { refuseOtherAuthMethod: { status: 401, json: { error: 'invalid_client' } } } },
      env: confidential('post', { OIDC_CLIENT_AUTH: 'client_secret_basic' })
    }, 'provider.client-authentication',
    { severity: 'error', setting: 'OIDC_CLIENT_AUTH', value: 'client_secret_post' }],
    ['a method that is not set', {
      provider: { quirks: { refuseOtherAuthMethod: { status: 403, json: { error: 'unauthorized_client' } } } },
      env: confidential('post')
    }, 'provider.client-authentication',
    { severity: 'warning', setting: 'OIDC_CLIENT_AUTH', value: 'client_secret_post' }],
    ['a key that the provider does not have', {
      env: ({ clientId }) => ({ OIDC_CLIENT_ID: `${clientId}-key`, OIDC_CLIENT_KEY: otherPem.trim() })
    }, 'provider.client-authentication', { severity: 'error', setting: 'OIDC_CLIENT_KEY' }],
    ['a public client with a key', { env: { OIDC_CLIENT_KEY: otherPem.trim() } }, 'provider.client-authentication',
      { severity: 'error', setting: 'OIDC_CLIENT_KEY', meaning: /remove OIDC_CLIENT_KEY/ }],
    ['a provider that accepts any secret', {
      env: confidential(),
      change: (provider) => {
        provider.setFault('/token', {
          status: 400,
          json: { error: 'invalid_grant' }
        })
      }
    }, 'provider.client-authentication', { severity: 'unknown', meaning: /a wrong secret as well/ }],
    ['a token endpoint that is down', { change: (provider) => { provider.setFault('/token', 'down') } },
      'provider.client-authentication', { severity: 'unknown', answered: /cannot be reached/ }],
    ['a token endpoint that answers with a page', { change: (provider) => { provider.setFault('/token', 'html') } },
      'provider.client-authentication', { severity: 'unknown', answered: /not JSON/ }],
    ['a redirect URI that is not registered', { env: { BASE_URL: 'http://127.0.0.1:10' } }, 'provider.authorization',
      { severity: 'error', setting: 'BASE_URL', meaning: /register http:\/\/127\.0\.0\.1:10\/oauth\/callback at the/ }],
    ['one that is not registered, in proxy mode', {
      env: ({ clientId }) => ({
        OAUTH_MODE: 'proxy',
        OIDC_AUDIENCE: clientId
      })
    },
    'provider.authorization', { severity: 'warning', setting: 'OAUTH_MODE', value: 'broker' }],
    ['a scope that the provider refuses', { provider: { quirks: { refuseOfflineAccess: true } } },
      'provider.authorization', { severity: 'error', setting: 'OIDC_SCOPES', value: 'openid profile email' }],
    ['a scope that it does not list', { provider: { quirks: { refuseOfflineAccess: true } } },
      'provider.scopes', { severity: 'warning', setting: 'OIDC_SCOPES', value: 'openid profile email' }],
    ['a resource that it refuses', { env: { OIDC_RESOURCE: 'https://api.example.com' } }, 'provider.authorization',
      { severity: 'error', setting: 'OIDC_RESOURCE' }],
    ['a resource that no request may name', {
      provider: { quirks: { refuseResource: true } }, env: { OIDC_RESOURCE: 'https://api.example.com' }
    }, 'provider.authorization', { severity: 'error', setting: 'OIDC_RESOURCE' }],
    ['a document of another issuer', { change: (provider) => { provider.setFault(DISCOVERY, 'wrong-issuer') } },
      'provider.discovery', { severity: 'error', setting: 'OIDC_ISSUER', value: /^http.*\/other$/ }],
    ['a document that is elsewhere', { change: (provider) => { provider.setFault(DISCOVERY, 'redirect') } },
      'provider.discovery', { severity: 'error', setting: 'OIDC_DISCOVERY_URL', value: /\/redirected$/ }],
    ['a document with a slash more at its URL', { provider: { quirks: { discoveryWithSlash: true } } },
      'provider.discovery', { severity: 'ok' }],
    ['a secret that the provider does not decode', {
      provider: { clientSecret: "a-b_c.d~e*f!'()", quirks: { undecodedBasic: true } },
      env: confidential('confidential', { OIDC_CLIENT_SECRET: "a-b_c.d~e*f!'()" })
    }, 'provider.client-authentication', { severity: 'ok' }],
    ['an iss that is sent and not promised, in proxy mode', {
      provider: { quirks: { unpromisedIss: true }, fixedRedirectUris: [NATIVE_REDIRECT_URI] },
      env: ({ clientId }) => ({ OAUTH_MODE: 'proxy', OIDC_AUDIENCE: clientId })
    }, 'provider.iss-in-answers', { severity: 'warning', setting: 'OAUTH_MODE', value: 'broker' }],
    ['keys that cannot be fetched', { change: (provider) => { provider.setFault('/jwks', 500) } },
      'provider.signing-keys', { severity: 'error', answered: /500/ }],
    ['no document', { change: (provider) => { provider.setFault(DISCOVERY, 404) } },
      'provider.discovery', { severity: 'error', setting: 'OIDC_ISSUER', answered: /404/ }],
    ['a provider that is away', { change: async (provider) => { await provider.stop() } },
      'provider.discovery', { severity: 'error', meaning: /cannot be reached from here/ }],
    ['an empty key set', { provider: { quirks: { emptyJwks: true } } },
      'provider.signing-keys', { severity: 'error', answered: /Signing Key/ }],
    ['keys for other algorithms', { env: { OIDC_ALGORITHMS: 'RS256' } },
      'provider.signing-keys', { severity: 'error', setting: 'OIDC_ALGORITHMS' }],
    ['no revocation endpoint', { provider: { quirks: { noRevocation: true } } },
      'provider.revocation', { severity: 'warning', setting: 'OAUTH_REVOCATION_URL' }],
    ['a revocation endpoint that refuses the client', {
      change: (provider) => { provider.setFault('/token/revocation', 401) }
    }, 'provider.revocation-request', { severity: 'warning', setting: 'OIDC_CLIENT_SECRET' }],
    ['a revocation endpoint that refuses a client with a secret, whatever the method', {
      env: confidential(),
      change: (provider) => { provider.setFault('/token/revocation', 401) }
    }, 'provider.revocation-request', { severity: 'warning', setting: 'OIDC_CLIENT_SECRET' }],
    ['a method that only the revocation endpoint shows to be wrong', {
      env: confidential('post'),
      provider: { quirks: { refuseOtherAuthMethod: { status: 401, json: { error: 'invalid_client' } } } },
      change: (provider) => { provider.setFault('/token', { status: 400, json: { error: 'invalid_grant' } }) }
    }, 'provider.revocation-request', { severity: 'warning', setting: 'OIDC_CLIENT_AUTH', value: 'client_secret_post' }],
    ['a revocation endpoint that is not there', {
      change: (provider) => { provider.setFault('/token/revocation', 404) }
    }, 'provider.revocation-request', { severity: 'warning', setting: 'OAUTH_REVOCATION_URL' }],
    ['a revocation endpoint that is down', {
      change: (provider) => { provider.setFault('/token/revocation', 'down') }
    }, 'provider.revocation-request', { severity: 'unknown' }],
    ['a dead refresh token that has another name', {
      provider: { quirks: { deadRefreshToken: { status: 400, json: { error: 'invalid_request' } } } }
    }, 'provider.refresh', { severity: 'ok', meaning: /recognizes this answer/ }],
    ['PKCE that is switched off', { change: withDocument({ code_challenge_methods_supported: ['plain'] }) },
      'provider.pkce', { severity: 'error' }],
    ['symmetric ID tokens only', { change: withDocument({ id_token_signing_alg_values_supported: ['HS256'] }) },
      'provider.id-token-algorithms', { severity: 'error', meaning: /RS256 or ES256/ }],
    ['ID tokens of other algorithms', { change: withDocument({ id_token_signing_alg_values_supported: ['ES384'] }) },
      'provider.id-token-algorithms', { severity: 'error', setting: 'OIDC_ALGORITHMS', value: 'ES384' }],
    ['required PAR', { provider: { quirks: { pushedRequests: 'required' } } },
      'provider.pushed-authorization-requests', { severity: 'ok' }],
    ['required PAR, and the authorization request', { provider: { quirks: { pushedRequests: 'required' } } },
      'provider.authorization', { severity: 'ok', answered: /login_required/ }],
    ['required PAR that a setting switches off', {
      provider: { quirks: { pushedRequests: 'required' } }, env: { OIDC_PAR: 'false' }
    }, 'provider.pushed-authorization-requests', { severity: 'error', setting: 'OIDC_PAR', value: 'true' }],
    ['PAR that is required of this client only', { provider: { quirks: { pushedRequests: 'required-of-client' } } },
      'provider.authorization', { severity: 'error', setting: 'OIDC_PAR', value: 'true' }],
    ['PAR without an endpoint', {
      change: withDocument({ pushed_authorization_request_endpoint: undefined }), env: { OIDC_PAR: 'true' }
    }, 'provider.pushed-authorization-requests', { severity: 'error', setting: 'OIDC_PAR' }],
    ['a redirect URI that a pushed request may not have', {
      provider: { fixedRedirectUris: [], quirks: { pushedRequests: 'required' } }
    }, 'provider.authorization', { severity: 'error', setting: 'BASE_URL' }],
    ['scopes that a pushed request may not have', {
      change: (provider) => {
        provider.setFault('/request', { status: 400, json: { error: 'invalid_scope' } })
      },
      env: { OIDC_PAR: 'true' }
    }, 'provider.authorization', { severity: 'error', setting: 'OIDC_SCOPES' }],
    ['a pushed request of a client that is refused', {
      change: (provider) => { provider.setFault('/request', { status: 401, json: { error: 'invalid_client' } }) },
      env: { OIDC_PAR: 'true' }
    }, 'provider.authorization', { severity: 'unknown', meaning: /could not be pushed/ }],
    ['no back-channel logout', { change: withDocument({ backchannel_logout_supported: undefined }) },
      'provider.back-channel-logout', { severity: 'unknown' }],
    ['a promised iss in proxy mode', {
      provider: { quirks: { issParameter: true } },
      env: ({ clientId }) => ({ OAUTH_MODE: 'proxy', OIDC_AUDIENCE: clientId })
    }, 'provider.iss', { severity: 'warning', setting: 'OAUTH_MODE', value: 'broker' }],
    ['a discovery URL as issuer', { env: ({ issuer }) => ({ OIDC_ISSUER: `${issuer}${DISCOVERY}` }) },
      'configuration.OIDC_ISSUER', { severity: 'error', setting: 'OIDC_ISSUER' }],
    ['no client id', { env: { OIDC_CLIENT_ID: '' } }, 'configuration.OIDC_CLIENT_ID',
      { severity: 'error', setting: 'OIDC_CLIENT_ID' }],
    ['everybody may use everything', { env: { AUTH_REQUIRED: 'false' } }, 'configuration.access',
      { severity: 'warning', setting: 'AUTH_REQUIRED', value: 'true' }],
    ['a rule about a claim that is not asked for', {
      env: {
        ACCESS_EMAIL_DOMAINS: 'a.example',
        OIDC_SCOPES: 'openid'
      }
    },
    'configuration.email-scope', { severity: 'warning', setting: 'OIDC_SCOPES', value: 'openid email' }],
    ['Redis that is away', { env: { REDIS_URL: 'redis://localhost:9', SEED_SECRET: 'x'.repeat(44) } },
      'store.connection', { severity: 'error', setting: 'REDIS_URL', answered: 'ECONNREFUSED', meaning: /container/ }]
  ]
  for (const [what, given, check, expected] of cases) {
    const { find, code } = await diagnose(t, given)
    t.match(find(check), expected, what)
    t.equal(code, expected.severity === 'error' ? 2 : code, what)
  }
})

t.test('a wrong audience of the assertion, and none that is set', async (t) => {
  const { privateKey, publicKey } = generateKeyPairSync('ec', { namedCurve: 'P-256' })
  const key = privateKey.export({ type: 'pkcs8', format: 'pem' }).toString().trim()
  for (const [others, severity] of [[{}, 'warning'], [{ OIDC_ASSERTION_AUDIENCE: 'issuer' }, 'error']] as const) {
    const { find } = await diagnose(t, {
      provider: {
        clientPublicJwks: { keys: [{ ...publicKey.export({ format: 'jwk' }), alg: 'ES256' }] },
        quirks: { assertionAudience: '/token' }
      },
      env: ({ clientId }) => ({ OIDC_CLIENT_ID: `${clientId}-key`, OIDC_CLIENT_KEY: key, ...others })
    })
    t.match(find('provider.client-authentication'),
      { severity, setting: 'OIDC_ASSERTION_AUDIENCE', value: 'token_endpoint' })
  }
})

t.test('all problems of the settings come first, and what does not depend on them is checked', async (t) => {
  const { findings, code, find } = await diagnose(t, {
    env: { BASE_URL: 'seed.example.com', REDIS_URL: 'nonsense', PORT: 'x', OAUTH_CLIENTS: '[' }
  })
  t.equal(code, 2)
  t.same(findings.slice(0, 5).map(({ setting }) => setting).sort(),
    ['BASE_URL', 'OAUTH_CLIENTS', 'PORT', 'REDIS_URL', 'SEED_SECRET'])
  t.equal(find('provider.client-authentication')?.severity, 'ok')
  t.match(find('store.connection'), { severity: 'unknown', setting: 'REDIS_URL' })
  t.match(find('public-url.reachable'), { severity: 'unknown', setting: 'BASE_URL' })
  const { find: without } = await run({})
  t.match(without('provider.discovery'), { severity: 'unknown', setting: 'OIDC_ISSUER' })
  const { find: noClient } = await diagnose(t, { env: { OIDC_CLIENT_ID: '' } })
  t.match(noClient('provider.client-authentication'), { severity: 'unknown', setting: 'OIDC_CLIENT_ID' })
})

t.test('no output has a secret', async (t) => {
  const secrets = ['planted-secret', 'planted/secret', 'planted-prev', 'planted-seed', 'planted-sentinel',
    'planted-client']
  for (const mode of ['--json', undefined]) {
    for (const issuer of ['http://user:planted-secret@localhost:9', undefined]) {
      const provider = await startDevProvider()
      t.teardown(async () => { await provider.close() })
      provider.setFault('/token', {
        status: 401, json: { error: 'invalid_client', error_description: 'not planted-secret' }
      })
      const { output } = await runCommand(['doctor', ...mode === undefined ? [] : [mode]], {
        CIMD_ENABLED: 'false',
        OAUTH_MODE: 'broker',
        BASE_URL,
        OIDC_ISSUER: issuer ?? provider.issuer,
        OIDC_CLIENT_ID: 'x',
        OIDC_CLIENT_SECRET: 'planted-secret',
        OIDC_CLIENT_KEY: '-----BEGIN PRIVATE KEY-----planted-secret-----END PRIVATE KEY-----',
        SEED_SECRET: 'planted-seed',
        SEED_SECRET_PREVIOUS: 'planted-prev',
        REDIS_URL: 'redis+sentinel://user:planted%2Fsecret%@localhost:9/primary',
        REDIS_SENTINEL_PASSWORD: 'planted-sentinel',
        REDIS_TLS_CA: 'planted-secret',
        OAUTH_CLIENTS: '[{"client_id":"a","client_secret":"planted-client"}]'
      })
      t.notOk(secrets.some((secret) => output.includes(secret)), `${mode} ${issuer}`)
      t.notMatch(output, /planted%2F/)
    }
  }
})

t.test('the report for people has a line for what is right, and the remedy for what is not', async (t) => {
  const provider = await startDevProvider({ algorithm: 'ES256' })
  t.teardown(async () => { await provider.close() })
  const env = {
    OIDC_ISSUER: provider.issuer,
    OIDC_AUDIENCE: 'x',
    CIMD_ENABLED: 'false',
    BASE_URL,
    OAUTH_MODE: 'broker'
  }
  const { code, printed } = await runCommand(['doctor'], env)
  t.equal(code, 2)
  t.match(printed, /^Configuration\n {2}ok {7}settings: The settings are valid\n/)
  t.match(printed, /\n\nOpenID provider\n/)
  t.match(printed, / {2}ERROR {4}client-authentication: .*\n +asked: POST .*\n +answered: 401 .*\n +change: OIDC_CLIENT_SECRET\n/)
  t.match(printed, / {2}WARNING {2}connection: .*\n.*\n.*\n +change: REDIS_URL=redis:\/\/redis:6379\n/)
  t.match(printed, /It would not work/)

  const { code: wrong, printedErrors } = await runCommand(['doctor', '--nosuch'], env)
  t.equal(wrong, 1)
  t.match(printedErrors, /^seed doctor: unknown option '--nosuch'\nseed doctor --help shows /)
  const report: unknown = JSON.parse((await runCommand(['doctor', '--json'], env)).printed)
  t.ok(Value.Check(ReportSchema, report))
})

t.test('a certificate that is not trusted names NODE_EXTRA_CA_CERTS', async (t) => {
  const server = createHttpsServer(selfSigned(t, ['localhost'])).listen(0, '127.0.0.1')
  await once(server, 'listening')
  t.teardown(() => { server.close() })
  const url = `https://localhost:${(server.address() as AddressInfo).port}`
  const { find } = await run({ OIDC_ISSUER: url, OIDC_AUDIENCE: 'x', BASE_URL: url })
  t.match(find('provider.discovery'), { severity: 'error', setting: 'NODE_EXTRA_CA_CERTS' })
  t.match(find('public-url.reachable'), { severity: 'error', setting: 'BASE_URL', meaning: /certificate/ })

  const { find: others } = await diagnose(t, {
    change: withDocument({ jwks_uri: url }),
    env: {
      OAUTH_AUTHORIZATION_URL: url,
      TRUSTED_ISSUERS: JSON.stringify([{ issuer: url, rules: [{ service: 'job', match: { sub: 'job' } }] }])
    }
  })
  t.match(others('provider.signing-keys'), { severity: 'error', setting: 'NODE_EXTRA_CA_CERTS' })
  t.match(others('trusted-issuers.keys'), { severity: 'error', setting: 'NODE_EXTRA_CA_CERTS' })
  t.match(others('provider.authorization'), { severity: 'unknown' })
})

t.test('an extension that does not load, and tools that clients refuse', async (t) => {
  const folder = await emptyFolder(t)
  const missing = await run({ AUTH_REQUIRED: 'false', SEED_EXTENSIONS: join(folder, 'nothing.js') })
  t.match(missing.find('tools.definitions'), { severity: 'error', setting: 'SEED_EXTENSIONS', answered: /nothing\.js/ })
  const file = join(folder, 'dotted.js')
  await writeFile(file, `
    import { Type, defineTool } from 'seed-mcp-server'
    export default defineTool({ name: 'a.b', description: 'x', input: Type.Object({}), handler: () => '' })
  `)
  const dotted = await run({ AUTH_REQUIRED: 'false', SEED_EXTENSIONS: file })
  t.match(dotted.find('tools.compatibility'), { severity: 'warning', meaning: /a\.b/ })
})

/** A provider or a server in front, that answers as the test says. */
async function startServer (
  t: Test, answer: (request: IncomingMessage, response: ServerResponse) => void
): Promise<string> {
  const server = createServer((request, response) => {
    request.resume()
    answer(request, response)
  }).listen(0, '127.0.0.1')
  await once(server, 'listening')
  t.teardown(() => {
    server.closeAllConnections()
    server.close()
  })
  return `http://127.0.0.1:${(server.address() as AddressInfo).port}`
}

/** A provider whose authorization endpoint redirects to where the test says. */
async function authorizationOf (
  t: Test, redirect: ((query: URLSearchParams, issuer: string) => string) | undefined, env: Record<string, string> = {}
): Promise<Diagnosis> {
  const issuer = await startServer(t, ({ url }, response) => {
    const { pathname, searchParams } = new URL(url!, 'http://localhost')
    if (pathname === '/authorize' && redirect === undefined) return response.writeHead(200).end('<form>')
    if (pathname === '/authorize') return response.writeHead(302, { location: redirect!(searchParams, issuer) }).end()
    if (pathname !== DISCOVERY) return response.writeHead(400).end()
    return response.end(JSON.stringify({
      issuer,
      authorization_endpoint: `${issuer}/authorize`,
      token_endpoint: `${issuer}/token`,
      jwks_uri: `${issuer}/keys`
    }))
  })
  return await run({ OIDC_ISSUER: issuer, OIDC_AUDIENCE: 'x', OAUTH_MODE: 'broker', ...env })
}

const callbackWith = (parameters: Record<string, string>) => (query: URLSearchParams): string =>
  `${query.get('redirect_uri')}?${new URLSearchParams(parameters)}`

t.test('what the answer to an authorization request means', async (t) => {
  for (const [what, redirect, expected] of [
    ['a login page', (_query: URLSearchParams, issuer: string) => `${issuer}/login`,
      { severity: 'unknown', meaning: /page of its own first/ }],
    ['PAR required', callbackWith({
      error: 'invalid_request', error_description: 'Pushed Authorization Request must be used'
    }), { severity: 'error', meaning: /RFC 9126/ }],
    ['a page in place of an answer', undefined, { severity: 'unknown', answered: '200 and a page' }],
    ['no code flow', callbackWith({ error: 'unauthorized_client' }), { severity: 'error', meaning: /code flow/ }],
    ['a scope of all that are listed', callbackWith({ error: 'invalid_scope' }),
      { severity: 'error', setting: 'OIDC_SCOPES', value: undefined }],
    ['another error', callbackWith({ error: 'server_error' }), { severity: 'unknown' }],
    ['no error', callbackWith({ code: 'x' }), { severity: 'unknown' }],
    ['a Location that is no URL', () => 'http://[', { severity: 'error', setting: 'BASE_URL' }],
    ['no Location', () => '', { severity: 'error', setting: 'BASE_URL' }]
  ] as const) {
    t.match((await authorizationOf(t, redirect)).find('provider.authorization'), expected, what)
  }
  const unexplained = await authorizationOf(t, callbackWith({ error: 'server_error' }), { OIDC_RESOURCE: 'urn:api' })
  t.equal(unexplained.find('provider.authorization')?.severity, 'unknown')
  const answer = callbackWith({ error: 'login_required', iss: 'x' })
  const { find } = await authorizationOf(t, answer, { OAUTH_MODE: 'proxy' })
  t.equal(find('provider.authorization')?.severity, 'ok')
  t.match(find('provider.iss-in-answers'), { severity: 'warning', setting: 'OAUTH_MODE', value: 'broker' })
  t.equal((await authorizationOf(t, answer)).find('provider.iss-in-answers'), undefined, 'in broker mode it is right')
})

t.test('refresh requests that the client is not allowed', async (t) => {
  for (const [error, meaning] of [
    ['unsupported_grant_type', /no refresh tokens/], ['invalid_client', /refuses it at a refresh/], ['', /not known/]
  ] as const) {
    let requests = 0
    const issuer = await startServer(t, ({ url }, response) => {
      if (url === DISCOVERY) {
        return response.end(JSON.stringify({
          issuer, authorization_endpoint: `${issuer}/a`, token_endpoint: `${issuer}/token`, jwks_uri: `${issuer}/keys`
        }))
      }
      if (url !== '/token') return response.writeHead(404).end()
      requests++
      return error === '' && requests > 1
        ? response.writeHead(500).end()
        : response.writeHead(400).end(JSON.stringify({ error: requests === 1 ? 'invalid_grant' : error }))
    })
    const { find } = await run({ OIDC_ISSUER: issuer, OIDC_AUDIENCE: 'x', OAUTH_MODE: 'broker' })
    t.match(find('provider.refresh'), { meaning }, error)
  }
})

t.test('access rules are mentioned', async (t) => {
  const { find } = await diagnose(t, { env: { ACCESS_GROUPS: 'admins' } })
  t.match(find('configuration.access'), { severity: 'ok', answered: 'set' })
})

t.test('metadata documents of clients that cannot be fetched are a warning', async (t) => {
  const { find } = await diagnose(t, {
    env: {
      CIMD_ENABLED: 'true',
      CIMD_PROBE_URL: `https://127.0.0.1:${await freePort()}/x`
    }
  })
  t.match(find('network.client-metadata-documents'),
    { severity: 'warning', setting: 'CIMD_ENABLED', value: 'false', answered: /not at a public address/ })
})

t.test('seed doctor, the command, ends with the code of its worst finding', async (t) => {
  const env = { AUTH_REQUIRED: 'false', BASE_URL: 'http://127.0.0.1:9', CIMD_ENABLED: 'false', PORT: 'many' }
  const doctor = startProcess(t, [COMPILED_CLI, 'doctor'], env, await emptyFolder(t))
  t.match(await doctor.ended, { code: 2 })
  t.match(await doctor.output(), /PORT/)
})
