import { readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { parseEnv } from 'node:util'
import t from 'tap'
import type { Test } from 'tap'
import { readConfig } from '../../plugins/config.ts'
import { buildApp } from '../../src/app.ts'
import { ConfigError } from '../../src/config/problem.ts'
import { EnvSchema, SECRET_SETTINGS } from '../../src/config/schema.ts'
import { findPreset } from '../../src/config/presets.ts'
import { VERSION } from '../../src/config/version.ts'
import { captureLogs } from '../support/seed.ts'
import { ROOT } from '../support/root.ts'
import { selfSigned } from '../support/tls.ts'

const GOOD = { OIDC_ISSUER: 'https://auth.example.com/application/o/seed/', OIDC_AUDIENCE: 'seed-client' }
const CERTIFICATE = selfSigned(t, ['redis.example']).cert.trim()
const folder = t.testdir()
const SECRET = 'a secret of thirty-two characters'
const PEM = '-----BEGIN PRIVATE KEY-----\nMC4CAQAwBQYDK2VwBCIEIA==\n-----END PRIVATE KEY-----'

async function loadConfig (environment: Record<string, string | undefined>, dotenvPath: string | false = false) {
  return await readConfig({ environment, dotenvPath })
}

t.test('the smallest configuration gets a safe default for everything else', async (t) => {
  t.same(await loadConfig(GOOD), {
    port: 3000,
    host: 'localhost',
    baseUrl: 'http://localhost:3000',
    resource: 'http://localhost:3000/mcp',
    trustProxy: [],
    allowedHosts: [],
    corsExtraOrigins: [],
    logLevel: 'info',
    shutdown: { delaySeconds: 0, graceSeconds: 5 },
    authRequired: true,
    secrets: { current: undefined, previous: undefined },
    oidc: {
      preset: findPreset('authentik', ''),
      issuer: 'https://auth.example.com/application/o/seed/',
      tenants: [],
      audience: 'seed-client',
      discoveryUrl: 'https://auth.example.com/application/o/seed/.well-known/openid-configuration',
      authorizationUrl: undefined,
      tokenUrl: undefined,
      clientId: 'seed-client',
      clientSecret: undefined,
      clientKey: undefined,
      clientKeyId: undefined,
      clientAuth: undefined,
      scopes: ['openid', 'profile', 'email', 'offline_access'],
      algorithms: ['RS256', 'PS256', 'ES256', 'EdDSA'],
      groupsClaim: 'groups'
    },
    token: { clockSkewSeconds: 30, maxLifetimeSeconds: 86_400 },
    oauth: {
      mode: 'proxy',
      configuredClients: [],
      metadataDocuments: { enabled: true, allowedHosts: [], probeUrl: 'https://claude.ai/oauth/claude-code-client-metadata' },
      registration: { clientTtlSeconds: 2_592_000, limitPerAddress: 10, limitTotal: 1_000 },
      redirectUriSchemes: ['cursor', 'vscode', 'vscode-insiders'],
      grant: { accessTokenTtlSeconds: 900, refreshTokenTtlSeconds: 1_209_600, maxAgeSeconds: 7_776_000, maxAgeUncheckedSeconds: 86_400 },
      limits: { perAddress: 120, perClient: 600 }
    },
    access: { groups: [], emailDomains: [], unverifiedEmail: true, hostedDomains: [], claims: [], contact: undefined },
    redis: { url: undefined, keyPrefix: 'seed:', sentinelPassword: undefined, tlsCa: undefined },
    scopeHierarchy: [],
    extensions: [],
    mcp: {
      pageSize: 1_000,
      session: { idleTtlSeconds: 86_400, maxAgeSeconds: 2_592_000, maxPerPrincipal: 100, maxTotal: 50_000 },
      tool: { timeoutSeconds: 60, inputTimeoutSeconds: 600 },
      limits: { requestsPerAddress: 3_000, requestsPerPrincipal: 600, refusedPerAddress: 60, callsPerPrincipal: 32, streamsPerPrincipal: 64 }
    }
  })
})

t.test('every setting is read', async (t) => {
  const config = await loadConfig({
    PORT: '8080',
    HOST: '10.0.0.1',
    BASE_URL: 'https://seed.example.com/',
    TRUST_PROXY: '10.0.0.0/8, 2001:db8::/32,192.0.2.1',
    ALLOWED_HOSTS: 'Seed.internal:8080, seed',
    CORS_EXTRA_ORIGINS: 'https://claude.ai, http://localhost:6274',
    LOG_LEVEL: 'debug',
    SHUTDOWN_DELAY_SECONDS: '15',
    SHUTDOWN_GRACE_SECONDS: '0',
    AUTH_REQUIRED: 'true',
    OAUTH_MODE: 'broker',
    SEED_SECRET: SECRET,
    SEED_SECRET_PREVIOUS: `${SECRET} of last year`,
    OIDC_PROVIDER: 'keycloak',
    OIDC_ISSUER: 'http://127.0.0.1:9000',
    OIDC_AUDIENCE: 'api://seed',
    OIDC_DISCOVERY_URL: 'https://internal.example/discovery?x',
    OAUTH_AUTHORIZATION_URL: 'https://auth.example.com/authorize?p=1',
    OAUTH_TOKEN_URL: 'http://[::1]:9000/token',
    OIDC_CLIENT_ID: 'seed-client',
    OIDC_CLIENT_SECRET: 's3cret',
    OIDC_CLIENT_KEY_ID: 'key-1',
    OIDC_CLIENT_AUTH: 'client_secret_post',
    OIDC_TENANTS: 'tenant-a, tenant-b',
    OIDC_SCOPES: ' openid  groups ',
    OIDC_ALGORITHMS: 'ES256, Ed25519',
    OIDC_GROUPS_CLAIM: 'realm_access.roles',
    TOKEN_CLOCK_SKEW_SECONDS: '0',
    TOKEN_MAX_LIFETIME_SECONDS: '60',
    ACCESS_TOKEN_TTL: '60',
    REFRESH_TOKEN_TTL: '300',
    GRANT_MAX_AGE: '301',
    GRANT_MAX_AGE_UNCHECKED: '302',
    ACCESS_GROUPS: 'Engineering, mcp users',
    ACCESS_EMAIL_DOMAINS: 'Example.com,example.org',
    ACCESS_EMAIL_UNVERIFIED: 'true',
    ACCESS_HOSTED_DOMAINS: 'Example.com',
    ACCESS_CLAIMS: 'department=R=D, active=true',
    ACCESS_CONTACT: 'it@example.com',
    REDIS_URL: 'rediss+sentinel://:pw@redis.example:6380/mymaster/1',
    REDIS_KEY_PREFIX: 'other:',
    REDIS_SENTINEL_PASSWORD: 'sentinel-pw',
    REDIS_TLS_CA: CERTIFICATE,
    OAUTH_CLIENTS: '[{"client_id":"ci","redirect_uris":["https://ci.example.com/cb"]}]',
    CIMD_ENABLED: 'false',
    CIMD_HOSTS: 'Claude.ai, localhost:8443',
    CIMD_PROBE_URL: 'https://client.example/metadata.json',
    DCR_CLIENT_TTL: '60',
    DCR_LIMIT_PER_ADDRESS: '1',
    DCR_LIMIT_TOTAL: '2',
    REDIRECT_URI_SCHEMES: 'cursor, com.example.app',
    OAUTH_LIMIT_PER_ADDRESS: '3',
    OAUTH_LIMIT_PER_CLIENT: '4',
    SESSION_IDLE_TTL: '61',
    SESSION_MAX_AGE: '62',
    SESSIONS_PER_PRINCIPAL: '5',
    SESSIONS_TOTAL: '6',
    TOOL_TIMEOUT_SECONDS: '7',
    INPUT_TIMEOUT_SECONDS: '8',
    MCP_LIMIT_PER_ADDRESS: '9',
    MCP_LIMIT_PER_PRINCIPAL: '10',
    MCP_LIMIT_REFUSED: '11',
    CALLS_PER_PRINCIPAL: '12',
    STREAMS_PER_PRINCIPAL: '13',
    SCOPE_HIERARCHY: 'tickets:admin > tickets:write, tickets:write>tickets:read',
    SEED_EXTENSIONS: '/extensions, @acme/seed-tools',
    LIST_PAGE_SIZE: '14'
  })
  t.match(config, {
    port: 8_080,
    host: '10.0.0.1',
    baseUrl: 'https://seed.example.com',
    resource: 'https://seed.example.com/mcp',
    trustProxy: ['10.0.0.0/8', '2001:db8::/32', '192.0.2.1'],
    allowedHosts: ['seed.internal:8080', 'seed'],
    corsExtraOrigins: ['https://claude.ai', 'http://localhost:6274'],
    logLevel: 'debug',
    shutdown: { delaySeconds: 15, graceSeconds: 0 },
    secrets: { current: SECRET, previous: `${SECRET} of last year` },
    oidc: {
      preset: findPreset('keycloak', ''),
      issuer: 'http://127.0.0.1:9000',
      tenants: ['tenant-a', 'tenant-b'],
      audience: 'api://seed',
      discoveryUrl: 'https://internal.example/discovery?x',
      authorizationUrl: 'https://auth.example.com/authorize?p=1',
      tokenUrl: 'http://[::1]:9000/token',
      clientId: 'seed-client',
      clientSecret: 's3cret',
      clientKey: undefined,
      clientKeyId: 'key-1',
      clientAuth: 'client_secret_post',
      scopes: ['openid', 'groups'],
      algorithms: ['ES256', 'Ed25519'],
      groupsClaim: 'realm_access.roles'
    },
    token: { clockSkewSeconds: 0, maxLifetimeSeconds: 60 },
    oauth: {
      mode: 'broker',
      configuredClients: [{ id: 'ci', redirectUris: ['https://ci.example.com/cb'] }],
      metadataDocuments: { enabled: false, allowedHosts: ['claude.ai', 'localhost:8443'], probeUrl: 'https://client.example/metadata.json' },
      registration: { clientTtlSeconds: 60, limitPerAddress: 1, limitTotal: 2 },
      redirectUriSchemes: ['cursor', 'com.example.app'],
      grant: { accessTokenTtlSeconds: 60, refreshTokenTtlSeconds: 300, maxAgeSeconds: 301, maxAgeUncheckedSeconds: 302 },
      limits: { perAddress: 3, perClient: 4 }
    },
    access: {
      groups: ['Engineering', 'mcp users'],
      emailDomains: ['example.com', 'example.org'],
      unverifiedEmail: true,
      hostedDomains: ['example.com'],
      claims: [{ claim: 'department', value: 'R=D' }, { claim: 'active', value: 'true' }],
      contact: 'it@example.com'
    },
    redis: { url: 'rediss+sentinel://:pw@redis.example:6380/mymaster/1', keyPrefix: 'other:', sentinelPassword: 'sentinel-pw', tlsCa: CERTIFICATE },
    scopeHierarchy: [['tickets:admin', 'tickets:write'], ['tickets:write', 'tickets:read']],
    extensions: ['/extensions', '@acme/seed-tools'],
    mcp: {
      pageSize: 14,
      session: { idleTtlSeconds: 61, maxAgeSeconds: 62, maxPerPrincipal: 5, maxTotal: 6 },
      tool: { timeoutSeconds: 7, inputTimeoutSeconds: 8 },
      limits: { requestsPerAddress: 9, requestsPerPrincipal: 10, refusedPerAddress: 11, callsPerPrincipal: 12, streamsPerPrincipal: 13 }
    }
  })
  t.match((await loadConfig({ ...GOOD, OIDC_CLIENT_KEY: PEM, OIDC_CLIENT_AUTH: 'private_key_jwt' })).oidc, { clientKey: PEM, clientAuth: 'private_key_jwt' })
})

t.test('.env.example lists every setting in the order of the schema, with its default where it has one', async (t) => {
  const file = readFileSync(join(ROOT, '.env.example'), 'utf8')
  const entries = [...file.matchAll(/^#?([A-Z][A-Z_]*)=(.*)$/gm)].map(([, name, value]) => ({ name: name!, value: value! }))
  t.same(entries.map(({ name }) => name).filter((name) => !name.endsWith('_FILE')), Object.keys(EnvSchema.properties))
  t.same(entries.map(({ name }) => name).filter((name) => name.endsWith('_FILE')), SECRET_SETTINGS.map((name) => `${name}_FILE`))
  for (const [name, schema] of Object.entries(EnvSchema.properties)) {
    const { default: standard } = schema as { default?: unknown }
    // The file starts people in the recommended mode; proxy stays the default, so that upgrading changes nothing.
    const shown = name === 'OAUTH_MODE' ? 'broker' : standard
    if (shown !== undefined) t.equal(entries.find((entry) => entry.name === name)!.value, String(shown), name)
  }
  const uncommented = Object.fromEntries(entries.filter(({ name }) => !name.endsWith('_FILE')).map(({ name, value }) => [name, value]))
  await t.resolves(loadConfig({ ...uncommented, ...GOOD, OIDC_CLIENT_SECRET: 's3cret', SEED_SECRET: SECRET }), 'every value that is shown is accepted')
})

t.test('.env.example starts in broker mode with the provider and the client that it asks for', async (t) => {
  const given = parseEnv(readFileSync(join(ROOT, '.env.example'), 'utf8'))
  t.same((await problemsOf(t, given as Record<string, string>)).map((problem) => problem.split(' ')[0]), ['OIDC_ISSUER', 'OIDC_CLIENT_ID'])
  const filledIn = { OIDC_ISSUER: GOOD.OIDC_ISSUER, OIDC_CLIENT_ID: 'seed-client' }
  t.same(await loadConfig({ ...given, ...filledIn }), await loadConfig({ ...filledIn, OAUTH_MODE: 'broker' }))
})

t.test('names every problem at once, each with its variable', async (t) => {
  const problems = await problemsOf(t, {
    PORT: 'many',
    LOG_LEVEL: 'loud',
    AUTH_REQUIRED: 'perhaps',
    DCR_CLIENT_TTL: '59',
    BASE_URL: 'http://seed.example.com',
    TRUST_PROXY: 'loopback',
    CORS_EXTRA_ORIGINS: 'https://claude.ai/',
    OIDC_SCOPES: 'profile',
    OIDC_ALGORITHMS: 'HS256',
    REDIRECT_URI_SCHEMES: 'javascript',
    REDIS_URL: 'redis',
    OIDC_CLIENT_SECRET_FILE: join(folder, 'missing'),
    SEED_SECRET: 'short',
    OAUTH_CLIENTS: '{}',
    ACCESS_CLAIMS: 'department'
  })
  for (const name of ['SEED_SECRET', 'OAUTH_CLIENTS', 'ACCESS_CLAIMS', 'PORT', 'LOG_LEVEL', 'AUTH_REQUIRED', 'DCR_CLIENT_TTL', 'BASE_URL', 'TRUST_PROXY', 'CORS_EXTRA_ORIGINS', 'OIDC_SCOPES', 'OIDC_ALGORITHMS', 'REDIRECT_URI_SCHEMES', 'REDIS_URL', 'OIDC_CLIENT_SECRET_FILE', 'OIDC_ISSUER', 'OIDC_AUDIENCE']) {
    t.equal(problems.filter((problem) => problem.startsWith(`${name} `)).length, 1, name)
  }
  t.equal(problems.length, 17)
})

t.test('the message counts the problems and lists one a line', async (t) => {
  await t.rejects(loadConfig({ ...GOOD, PORT: 'x' }), { name: 'ConfigError', message: 'Seed cannot start: one setting needs attention (see .env.example)\n  - PORT must be a whole number (it is "x")' })
  const { message } = await loadConfig({}).catch((err: unknown) => err) as ConfigError
  t.match(message, /^Seed cannot start: 2 settings need attention \(see \.env\.example\)\n {2}- OIDC_ISSUER is missing: set it to the issuer URL.*\n {2}- OIDC_AUDIENCE is missing: set it to the audience/)
})

/** One wrong value, and what is said of it. */
const wrong: Array<[name: string, values: string[], says: string | RegExp]> = [
  ['PORT', ['x', '3000.5', '3000x', '0x'], 'must be a whole number'],
  ['PORT', ['65536', '-1'], /^PORT must be at (most 65535|least 0) \(it is/],
  ['LOG_LEVEL', ['INFO', 'verbose'], 'must be one of fatal, error, warn, info, debug, trace, silent'],
  ['SHUTDOWN_DELAY_SECONDS', ['601', '-1'], 'must be'],
  ['SHUTDOWN_GRACE_SECONDS', ['601', '-1'], 'must be'],
  ['SHUTDOWN_GRACE_SECONDS', ['5s'], 'must be a whole number'],
  ['AUTH_REQUIRED', ['yes', 'False', 'TRUE', 'on', '2'], 'must be true or false'],
  ['OAUTH_MODE', ['passthrough'], 'must be one of proxy, broker'],
  ['OIDC_PROVIDER', ['Google', 'azure'], 'must be one of google, entra, okta, auth0, keycloak, authentik, generic'],
  ['OIDC_CLIENT_AUTH', ['basic'], 'must be one of client_secret_basic, client_secret_post, private_key_jwt, none'],
  ['SEED_SECRET', ['x', 'x'.repeat(31)], 'must have at least 32 characters: make one with `openssl rand -base64 32`'],
  ['SEED_SECRET_PREVIOUS', ['x'.repeat(31)], 'must have at least 32 characters'],
  ['OIDC_CLIENT_KEY', ['x', '-----BEGIN RSA PRIVATE KEY-----\nx\n-----END RSA PRIVATE KEY-----', '-----BEGIN PRIVATE KEY-----', PEM.replace('-----END', 'END')], 'must be a private key in PEM form (PKCS #8, "BEGIN PRIVATE KEY")'],
  ['OIDC_CLIENT_KEY_ID', ['k'.repeat(257)], 'must have at most 256 characters'],
  ['ACCESS_TOKEN_TTL', ['59', '86401'], 'must be'],
  ['REFRESH_TOKEN_TTL', ['299'], 'must be at least 300'],
  ['GRANT_MAX_AGE', ['299'], 'must be at least 300'],
  ['GRANT_MAX_AGE_UNCHECKED', ['299', '1d'], 'must be'],
  ['ACCESS_EMAIL_UNVERIFIED', ['yes'], 'must be true or false'],
  ['ACCESS_CLAIMS', ['department', '=x', 'a=b,c'], 'must list claims and their values, such as department=Engineering,active=true'],
  ['ACCESS_CONTACT', ['c'.repeat(201)], 'must have at most 200 characters'],
  ['OAUTH_CLIENTS', ['{}', 'ci', '[1]'], 'must be a JSON array of clients'],
  ['CIMD_ENABLED', ['no'], 'must be true or false'],
  ['OAUTH_LIMIT_PER_ADDRESS', ['0'], 'must be at least 1'],
  ['OAUTH_LIMIT_PER_CLIENT', ['0'], 'must be at least 1'],
  ['TOKEN_CLOCK_SKEW_SECONDS', ['301', '-1'], 'must be'],
  ['TOKEN_MAX_LIFETIME_SECONDS', ['59'], 'must be at least 60'],
  ['DCR_CLIENT_TTL', ['59', '0', '-1'], 'must be at least 60'],
  ['DCR_LIMIT_PER_ADDRESS', ['0'], 'must be at least 1'],
  ['DCR_LIMIT_TOTAL', ['0'], 'must be at least 1'],
  ['OIDC_AUDIENCE', ['a'.repeat(513)], 'must have at most 512 characters'],
  ['OIDC_CLIENT_ID', ['a'.repeat(513)], 'must have at most 512 characters'],
  ['BASE_URL', ['seed.example.com', 'ftp://seed.example.com', '//seed.example.com', 'https://', 'localhost:3000'], 'must be a URL beginning with https://'],
  ['BASE_URL', ['http://seed.example.com', 'http://10.0.0.1:3000', 'http://localhost.evil.example'], 'must use https; plain http is accepted for localhost only'],
  ['BASE_URL', ['https://user:pw@seed.example.com', 'https://user@seed.example.com'], 'must not contain a user name or password'],
  ['BASE_URL', ['https://seed.example.com/mcp', 'https://seed.example.com//', 'https://seed.example.com/?', 'https://seed.example.com?x', 'https://Seed.example.com', 'https://seed.example.com:443', 'http://localhost:80', 'https://sëed.example.com'], 'must be an origin such as https://seed.example.com'],
  ['BASE_URL', ['https://seed.example.com#x', 'https://seed.example.com/#'], 'must not contain a fragment'],
  ['OIDC_ISSUER', ['auth.example.com', 'urn:issuer', 'ldap://auth.example.com'], 'must be a URL beginning with https://'],
  ['OIDC_ISSUER', ['http://auth.example.com'], 'must use https'],
  ['OIDC_ISSUER', ['https://user:pw@auth.example.com'], 'must not contain a user name or password'],
  ['OIDC_ISSUER', ['https://auth.example.com?x', 'https://auth.example.com/?'], 'must not contain a query'],
  ['OIDC_ISSUER', ['https://auth.example.com/#x', 'https://auth.example.com#'], 'must not contain a fragment'],
  ...['OIDC_DISCOVERY_URL', 'OAUTH_AUTHORIZATION_URL', 'OAUTH_TOKEN_URL', 'CIMD_PROBE_URL'].flatMap((name) => [
    [name, ['/authorize', 'auth.example.com'], 'must be a URL beginning with https://'],
    [name, ['http://auth.example.com/x'], 'must use https'],
    [name, ['https://user:pw@auth.example.com/x'], 'must not contain a user name or password'],
    [name, ['https://auth.example.com/x#y', 'https://auth.example.com/x#'], 'must not contain a fragment']
  ] as Array<[string, string[], string]>),
  ['OIDC_SCOPES', ['profile email', 'openidx', 'OPENID', 'openid,profile'], 'must include openid'],
  ['OIDC_ALGORITHMS', ['HS256', 'none', 'rs256', 'RS256;ES256', 'ES256,HS512'], 'must list asymmetric algorithms'],
  ['REDIS_URL', ['redis.example:6379', 'http://redis:6379', 'redis', 'redis:redis', 'redis://', 'redis://a,b', 'redis://redis:0', 'redis://redis:65536', 'redis://redis/x', 'redis://:%@redis'], 'must be a URL such as redis://'],
  ['REDIS_URL', ['redis+sentinel://sentinel', 'redis+sentinel://sentinel/', 'redis+sentinel://sentinel/my/master', 'redis+sentinel://a,,b/mymaster'], 'must be a URL such as redis+sentinel://'],
  ['REDIS_URL', ['redis+cluster://', 'redis+cluster://redis/1'], 'must be a URL such as redis+cluster://'],
  ['REDIS_SENTINEL_PASSWORD', ['pw'], 'is set, but REDIS_URL names no sentinels'],
  ['TRUST_PROXY', ['true', '1', 'loopback', '*', 'proxy.example', '10.0.0.0/33', '10.0.0.0/0', '::/129', '::/0', '10.0.0.0/', '10.0.0.0/x', '10.0.0.0/8/8', '10.0.0', '10.0.0.1,true'], 'must list IP addresses or CIDR ranges'],
  ['CORS_EXTRA_ORIGINS', ['*', 'null', 'claude.ai', 'https://claude.ai/', 'https://claude.ai/x', 'HTTPS://claude.ai', 'https://claude.ai:443', 'https://*.claude.ai', 'https://a@claude.ai', 'file://', 'chrome-extension://abc', 'https://claude.ai,*'], 'must list origins such as https://claude.ai'],
  ['REDIRECT_URI_SCHEMES', ['http', 'https', 'javascript', 'data', 'vbscript', 'file', 'blob', 'about', 'mailto', 'view-source', 'intent', 'ws', 'wss', 'ftp', 'Cursor', 'cursor:', 'cursor://', '1x', '-x', 'x_y', 'cursor,javascript'], 'must list private-use schemes']
]

t.test('each wrong value is one problem that says what is wanted', async (t) => {
  for (const [name, values, says] of wrong) {
    for (const value of values) {
      const [problem = '', ...others] = await problemsOf(t, { ...GOOD, [name]: value })
      t.same({ others, named: problem.startsWith(`${name} `) }, { others: [], named: true }, `${name}=${encodeURIComponent(value).slice(0, 40)}`)
      t.match(problem, says)
    }
  }
})

t.test('settings that need another, or exclude it, say which', async (t) => {
  const { OIDC_ISSUER } = GOOD
  const google = { OIDC_ISSUER: 'https://accounts.google.com', OIDC_CLIENT_ID: 'x' }
  for (const [env, problems] of [
    [{ OAUTH_MODE: 'broker', OIDC_ISSUER }, ['OIDC_CLIENT_ID is missing: set it to the id of the client that you registered for Seed at the provider']],
    [{ OAUTH_MODE: 'broker', OIDC_ISSUER, OIDC_CLIENT_ID: 'x' }, []],
    [{ OAUTH_MODE: 'broker', ...GOOD }, []],
    [{ OAUTH_MODE: 'broker', ...GOOD, REDIS_URL: 'redis://redis' }, ['SEED_SECRET is missing: OAUTH_MODE=broker with REDIS_URL needs one for all replicas; make it with `openssl rand -base64 32`']],
    [{ OAUTH_MODE: 'broker', ...GOOD, REDIS_URL: 'redis://redis', SEED_SECRET: SECRET }, []],
    [{ ...GOOD, REDIS_URL: 'redis://redis' }, []],
    [{ ...GOOD, REDIS_URL: 'rediss://redis', REDIS_TLS_CA: `${CERTIFICATE}\n${CERTIFICATE}` }, []],
    [{ ...GOOD, REDIS_TLS_CA: CERTIFICATE }, ['REDIS_TLS_CA is set, but REDIS_URL does not ask for TLS (rediss://)']],
    [{ ...GOOD, REDIS_URL: 'redis+cluster://redis', REDIS_TLS_CA: 'hunter2', REDIS_SENTINEL_PASSWORD: 'x' }, ['REDIS_SENTINEL_PASSWORD is set, but REDIS_URL names no sentinels (redis+sentinel://)', 'REDIS_TLS_CA is set, but REDIS_URL does not ask for TLS (rediss://)', 'REDIS_TLS_CA must be certificates in PEM form ("BEGIN CERTIFICATE")']],
    [{ ...GOOD, REDIS_URL: 'rediss+sentinel://redis/mymaster', REDIS_SENTINEL_PASSWORD: 'x', REDIS_TLS_CA: '-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----' }, ['REDIS_TLS_CA must be certificates in PEM form ("BEGIN CERTIFICATE")']],
    [{ ...google, OIDC_AUDIENCE: 'x', OIDC_CLIENT_SECRET: 'y' }, ['OAUTH_MODE must be broker for google: its access tokens are opaque, and redirect URIs are fixed']],
    [{ ...google, OAUTH_MODE: 'broker' }, ['OIDC_CLIENT_SECRET is missing: google requires it']],
    [{ ...google, OAUTH_MODE: 'broker', OIDC_CLIENT_SECRET: 'y' }, []],
    [{ ...google, OAUTH_MODE: 'broker', OIDC_CLIENT_KEY: PEM }, []],
    [{ ...google, AUTH_REQUIRED: 'false' }, []],
    [{ ...GOOD, OIDC_ISSUER: 'https://acme.eu.auth0.com' }, ['OIDC_ISSUER must end with a slash for auth0']],
    [{ ...GOOD, OIDC_ISSUER: 'https://acme.eu.auth0.com/' }, []],
    [{ OAUTH_MODE: 'broker', OIDC_PROVIDER: 'auth0' }, ['OIDC_ISSUER is missing: set it to the issuer URL of your OpenID provider (or AUTH_REQUIRED=false to serve without sign-in)', 'OIDC_CLIENT_ID is missing: set it to the id of the client that you registered for Seed at the provider']],
    ...['common', 'organizations', 'consumers'].flatMap((tenant) => [
      [{ ...GOOD, OIDC_ISSUER: `https://login.microsoftonline.com/${tenant}/v2.0` }, ['OIDC_TENANTS is missing: OIDC_ISSUER covers several tenants; list the ids of those that may sign in']],
      [{ ...GOOD, OIDC_ISSUER: `https://login.microsoftonline.com/${tenant}/v2.0`, OIDC_TENANTS: 'a' }, []]
    ] as Array<[Record<string, string>, string[]]>),
    [{ ...GOOD, OIDC_ISSUER: 'https://login.microsoftonline.com/11111111-2222-3333-4444-555555555555/v2.0' }, []],
    [{ ...GOOD, OIDC_CLIENT_KEY: PEM, OIDC_CLIENT_SECRET: 'y' }, ['OIDC_CLIENT_KEY and OIDC_CLIENT_SECRET are both set: keep one of them']],
    [{ ...GOOD, OIDC_CLIENT_AUTH: 'private_key_jwt' }, ['OIDC_CLIENT_KEY is missing: OIDC_CLIENT_AUTH=private_key_jwt needs it']],
    [{ ...GOOD, OIDC_CLIENT_AUTH: 'client_secret_basic' }, ['OIDC_CLIENT_SECRET is missing: OIDC_CLIENT_AUTH=client_secret_basic needs it']],
    [{ ...GOOD, OIDC_CLIENT_AUTH: 'client_secret_post' }, ['OIDC_CLIENT_SECRET is missing: OIDC_CLIENT_AUTH=client_secret_post needs it']],
    [{ ...GOOD, OIDC_CLIENT_AUTH: 'none' }, []]
  ] as Array<[Record<string, string>, string[]]>) {
    // A problem of PORT comes first, so that there is always one.
    t.same(await problemsOf(t, { ...env, PORT: 'x' }), ['PORT must be a whole number (it is "x")', ...problems], JSON.stringify(env).slice(0, 120))
  }
})

t.test('the provider decides what ACCESS_EMAIL_UNVERIFIED and OIDC_GROUPS_CLAIM are when they are not set', async (t) => {
  t.equal((await loadConfig(GOOD)).access.unverifiedEmail, true, 'authentik')
  t.equal((await loadConfig({ ...GOOD, ACCESS_EMAIL_UNVERIFIED: 'false' })).access.unverifiedEmail, false)
  t.equal((await loadConfig({ ...GOOD, OIDC_PROVIDER: 'generic' })).access.unverifiedEmail, false)
  t.equal((await loadConfig({ ...GOOD, OIDC_PROVIDER: 'generic' })).oidc.groupsClaim, 'groups')
  t.equal((await loadConfig({ ...GOOD, OIDC_GROUPS_CLAIM: 'roles' })).oidc.groupsClaim, 'roles')
})

t.test('a problem never shows a secret', async (t) => {
  writeFileSync(join(folder, 'redis'), 'http://:hunter2@redis')
  for (const env of [{ REDIS_URL: 'http://:hunter2@redis' }, { REDIS_URL_FILE: join(folder, 'redis') }, { REDIS_URL: 'redis+sentinel://:hunter2@redis' }, { REDIS_URL: 'redis://:hunter2%@redis' }, { REDIS_SENTINEL_PASSWORD: 'hunter2' }, { OIDC_CLIENT_SECRET: 'hunter2', OIDC_CLIENT_SECRET_FILE: join(folder, 'redis') }, { BASE_URL: 'https://user:hunter2@seed.example.com' }, { OIDC_ISSUER: 'http://user:hunter2@auth.example.com' }, { OAUTH_TOKEN_URL: 'ftp://user:hunter2@auth.example.com' }, { CORS_EXTRA_ORIGINS: 'https://user:hunter2@app.example' }, { SEED_SECRET: 'hunter2' }, { SEED_SECRET_PREVIOUS: 'hunter2' }, { OIDC_CLIENT_KEY: 'hunter2' }, { OAUTH_CLIENTS: '[{"client_secret":"hunter2"}]' }, { OAUTH_CLIENTS: 'hunter2' }]) {
    for (const problem of await problemsOf(t, { ...GOOD, ...env })) t.notMatch(problem, 'hunter2', problem)
  }
})

t.test('what is accepted of TRUST_PROXY can be started with', async (t) => {
  for (const range of ['10.0.0.0/8', '10.0.0.1', '10.0.0.0/1', '10.0.0.0/32', '::1', '2001:db8::/1', '2001:db8::/128', 'fe80::1%eth0', '::ffff:10.0.0.0/104']) {
    const app = await buildApp({ AUTH_REQUIRED: 'false', TRUST_PROXY: range }, { logStream: captureLogs().stream })
    await app.close()
    t.pass(range)
  }
})

t.test('an empty value counts as absent, and spaces around a value do not count', async (t) => {
  const config = await loadConfig({ ...Object.fromEntries(Object.keys(EnvSchema.properties).map((name) => [name, '  '])), OIDC_ISSUER: ` ${GOOD.OIDC_ISSUER}\n`, OIDC_AUDIENCE: '\tseed-client ', HOME: '/root' })
  t.same(config, await loadConfig(GOOD))
  t.same(await loadConfig({ ...GOOD, BASE_URL: undefined, REDIS_URL: '' }), await loadConfig(GOOD))
})

t.test('listens on loopback unless Seed is meant to be reached from elsewhere', async (t) => {
  for (const [env, host] of [
    [{}, 'localhost'],
    [{ BASE_URL: 'http://127.0.0.1:3000' }, 'localhost'],
    [{ BASE_URL: 'http://[::1]:3000' }, 'localhost'],
    [{ BASE_URL: 'https://localhost' }, 'localhost'],
    [{ BASE_URL: 'https://seed.example.com' }, '0.0.0.0'],
    [{ BASE_URL: 'https://seed.example.com', AUTH_REQUIRED: 'false' }, 'localhost'],
    [{ BASE_URL: 'https://seed.example.com', HOST: '::1' }, '::1'],
    [{ AUTH_REQUIRED: 'false', HOST: '0.0.0.0' }, '0.0.0.0']
  ] as const) t.equal((await loadConfig({ ...GOOD, ...env })).host, host, JSON.stringify(env))
})

t.test('BASE_URL follows PORT when it is not set', async (t) => {
  t.equal((await loadConfig({ ...GOOD, PORT: '8080' })).baseUrl, 'http://localhost:8080')
  for (const [given, baseUrl] of [['https://seed.example.com', 'https://seed.example.com'], ['https://seed.example.com/', 'https://seed.example.com'], ['https://seed.example.com:8443', 'https://seed.example.com:8443'], ['http://localhost:3000/', 'http://localhost:3000'], ['http://[::1]:3000', 'http://[::1]:3000']] as const) {
    t.equal((await loadConfig({ ...GOOD, BASE_URL: given })).baseUrl, baseUrl)
    t.equal((await loadConfig({ ...GOOD, BASE_URL: given })).resource, `${baseUrl}/mcp`)
  }
})

t.test('finds discovery under the issuer, with or without a slash behind it', async (t) => {
  for (const issuer of ['https://auth.example.com', 'https://auth.example.com/']) {
    const { oidc } = await loadConfig({ ...GOOD, OIDC_ISSUER: issuer })
    t.equal(oidc.issuer, issuer, 'kept byte for byte')
    t.equal(oidc.discoveryUrl, 'https://auth.example.com/.well-known/openid-configuration')
  }
})

t.test('AUTH_REQUIRED=false needs neither a provider nor Redis', async (t) => {
  const config = await loadConfig({ AUTH_REQUIRED: 'false' })
  t.match(config, { authRequired: false, host: 'localhost', redis: { url: undefined }, oidc: { issuer: '', audience: '', clientId: '' } })
  t.same((await problemsOf(t, { AUTH_REQUIRED: 'false', OIDC_ISSUER: 'nonsense' })).length, 1, 'what is set is checked all the same')
})

t.test('a secret may come from a file', async (t) => {
  t.same(SECRET_SETTINGS, ['SEED_SECRET', 'SEED_SECRET_PREVIOUS', 'OIDC_CLIENT_SECRET', 'OIDC_CLIENT_KEY', 'REDIS_URL', 'REDIS_SENTINEL_PASSWORD', 'REDIS_TLS_CA', 'OAUTH_CLIENTS'])
  writeFileSync(join(folder, 'secret'), 's3cret\n')
  writeFileSync(join(folder, 'redis-url'), ' redis://:pw@redis:6379\n')
  const config = await loadConfig({ ...GOOD, OIDC_CLIENT_SECRET_FILE: join(folder, 'secret'), REDIS_URL_FILE: join(folder, 'redis-url') })
  t.equal(config.oidc.clientSecret, 's3cret')
  t.equal(config.redis.url, 'redis://:pw@redis:6379')
  writeFileSync(join(folder, 'key'), `${PEM}\n`)
  writeFileSync(join(folder, 'clients'), '[\n  { "client_id": "ci", "redirect_uris": ["https://ci.example.com/cb"] }\n]\n')
  writeFileSync(join(folder, 'seed-secret'), `${SECRET}\n`)
  const more = await loadConfig({ ...GOOD, OIDC_CLIENT_KEY_FILE: join(folder, 'key'), OAUTH_CLIENTS_FILE: join(folder, 'clients'), SEED_SECRET_FILE: join(folder, 'seed-secret'), SEED_SECRET_PREVIOUS_FILE: join(folder, 'seed-secret') })
  t.match({ key: more.oidc.clientKey, clients: more.oauth.configuredClients, ...more.secrets }, { key: PEM, clients: [{ id: 'ci' }], current: SECRET, previous: SECRET }, 'several lines too')
  t.same(await problemsOf(t, { ...GOOD, REDIS_URL: 'redis://redis', REDIS_URL_FILE: join(folder, 'redis-url') }), ['REDIS_URL and REDIS_URL_FILE are both set: keep one of them'])
  t.same(await problemsOf(t, { ...GOOD, OIDC_CLIENT_SECRET_FILE: join(folder, 'missing') }), ['OIDC_CLIENT_SECRET_FILE cannot be read (ENOENT): set it to a file that Seed may read'])
  t.same(await problemsOf(t, { ...GOOD, OIDC_CLIENT_SECRET_FILE: folder }), ['OIDC_CLIENT_SECRET_FILE cannot be read (EISDIR): set it to a file that Seed may read'])
  writeFileSync(join(folder, 'empty'), '\n')
  for (const name of SECRET_SETTINGS) {
    t.equal((await problemsOf(t, { ...GOOD, [`${name}_FILE`]: join(folder, 'empty') }))[0], `${name}_FILE names an empty file: put the value into it`, 'it would silently mean no secret')
  }
})

t.test('reads a .env file, and the environment wins over it', async (t) => {
  const path = join(t.testdir({ '.env': '# a comment\nOIDC_ISSUER=https://file.example\nOIDC_AUDIENCE="from the file"\nPORT=4000\nLOG_LEVEL=debug\n' }), '.env')
  const config = await loadConfig({ PORT: '5000', LOG_LEVEL: '' }, path)
  t.match(config, { port: 5_000, logLevel: 'debug', oidc: { issuer: 'https://file.example', audience: 'from the file' } }, 'an empty variable does not hide the file')
  await t.rejects(loadConfig({}), ConfigError, 'no file is read unasked')
  t.equal((await loadConfig(GOOD, join(folder, 'no-such.env'))).port, 3_000, 'a missing file is no error')
})

t.test('what was loaded cannot be changed', async (t) => {
  const config = await loadConfig(GOOD)
  const frozen = (value: object): boolean => Object.isFrozen(value) && Object.values(value).every((inner) => typeof inner !== 'object' || inner === null || frozen(inner as object))
  t.ok(frozen(config))
  t.throws(() => { (config.oidc.scopes as string[]).push('admin') }, TypeError)
})

t.test('the environment that was passed in is left as it was', async (t) => {
  writeFileSync(join(folder, 'secret'), 's3cret')
  const env = Object.freeze({ ...GOOD, PORT: ' 3000 ', OIDC_CLIENT_SECRET_FILE: join(folder, 'secret') })
  await loadConfig(env)
  t.same(env, { ...GOOD, PORT: ' 3000 ', OIDC_CLIENT_SECRET_FILE: join(folder, 'secret') })
})

t.test('the version is that of package.json', async (t) => {
  t.match(VERSION, /^\d+\.\d+\.\d+/)
})

async function problemsOf (t: Test, env: Record<string, string>): Promise<readonly string[]> {
  try {
    await loadConfig(env)
  } catch (err) {
    if (err instanceof ConfigError) return err.problems
    throw err
  }
  t.fail('no problem was found', { env })
  return []
}
