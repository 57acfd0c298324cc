import t from 'tap'
import { buildApp } from '../../src/app.ts'
import { GOOD, PEM, SECRET, keyOf, problemsOf } from '../support/config.ts'
import { captureLogs, ping, ready, startSeed } from '../support/seed.ts'
import { selfSigned } from '../support/tls.ts'

const CERTIFICATE = selfSigned(t, ['redis.example']).cert.trim()

/** Wrong values of a setting, and the text of the problem. */
const wrong: Array<[name: string, values: string[], says: string | RegExp]> = [
  ['PORT', ['x', '3000.5', '3000x', '0x'], 'must be a whole number'],
  ['PORT', ['65536', '-1'], /^PORT must be at (most 65535|least 0) \(it is/],
  ['LOG_LEVEL', ['INFO', 'verbose'], 'must be one of fatal, error, warn, info, debug, trace, silent'],
  ['SHUTDOWN_DELAY_SECONDS', ['601', '-1'], 'must be'],
  ['SHUTDOWN_GRACE_SECONDS', ['601', '-1'], 'must be'],
  ['SHUTDOWN_GRACE_SECONDS', ['5s'], 'must be a whole number'],
  ['METRICS_PORT', ['65536', 'x'], 'must be'],
  ['METRICS_PORT', ['3000'], 'must be another port than PORT'],
  ['OTEL_EXPORTER_OTLP_ENDPOINT', ['https://user:password@collector:4318', 'https://user@collector'], 'must have no user and password'],
  ['WELL_KNOWN_FILES', ['a=x,b=y,a=z'], 'has "a" more than once'],
  ['OTEL_EXPORTER_OTLP_TRACES_ENDPOINT', ['https://user@collector/v1/traces'], 'must have no user and password'],
  ['OTEL_EXPORTER_OTLP_TRACES_ENDPOINT', ['collector:4318'], 'must be a URL such as http://localhost:4318/v1/traces'],
  ['OTEL_TRACES_EXPORTER', ['zipkin', 'console'], 'must be'],
  ['OTEL_TRACES_SAMPLER', ['sometimes'], 'must be'],
  ['OTEL_TRACES_SAMPLER_ARG', ['-0.1', '2', 'x'], 'must be'],
  ['OTEL_SDK_DISABLED', ['yes'], 'must be'],
  ['OTEL_EXPORTER_OTLP_ENDPOINT', ['collector:4318', 'localhost', 'grpc://x'], 'must be a URL such as http://localhost:4318'],
  ['AUTH_REQUIRED', ['yes', 'False', 'TRUE', 'on', '2'], 'must be true or false'],
  ['OAUTH_MODE', ['passthrough'], 'must be one of proxy, broker'],
  ['OIDC_PROVIDER', ['Google', 'azure'], 'must be one of google, entra, okta, auth0, keycloak, authentik, generic'],
  ['OIDC_CLIENT_AUTH', ['basic'], 'must be one of client_secret_basic, client_secret_post, private_key_jwt, none'],
  ['SEED_SECRET', ['x', 'x'.repeat(31)], 'must have at least 32 characters: make one with `openssl rand -base64 32`'],
  ['SEED_SECRET_PREVIOUS', ['x'.repeat(31)], 'must have at least 32 characters'],
  ['OIDC_CLIENT_KEY', [
    'x',
    '-----BEGIN RSA PRIVATE KEY-----\nx\n-----END RSA PRIVATE KEY-----',
    '-----BEGIN PRIVATE KEY-----',
    PEM.replace('-----END', 'END')
  ], 'must be a private key in PEM form (PKCS #8, "BEGIN PRIVATE KEY")'],
  ['OIDC_CLIENT_KEY', [
    keyOf('P-384'), keyOf('Ed25519'), '-----BEGIN PRIVATE KEY-----\nx\n-----END PRIVATE KEY-----'
  ], 'must be a P-256 or RSA key: providers verify ES256 or RS256'],
  ['OIDC_ISSUER', [
    'https://id.example.com/o/.well-known/openid-configuration',
    'https://id.example.com/o/.well-known/openid-configuration/',
    'https://id.example.com/o//.well-known/oauth-authorization-server'
  ], 'is the URL of a discovery document: set OIDC_ISSUER=https://id.example.com/o, or what'],
  ['ACCESS_EMAIL_DOMAINS', ['ada@example.com', 'example.com,@', 'example.com example.org'], 'must list domains such as'],
  ['ACCESS_HOSTED_DOMAINS', ['ada@example.com'], 'must list domains such as example.com, not addresses'],
  ['OIDC_CLIENT_KEY_ID', ['k'.repeat(257)], 'must have at most 256 characters'],
  ['ACCESS_TOKEN_TTL', ['59', '86401'], 'must be'],
  ['REFRESH_TOKEN_TTL', ['299'], 'must be at least 300'],
  ['GRANT_MAX_AGE', ['299'], 'must be at least 300'],
  ['GRANT_MAX_AGE_UNCHECKED', ['299', '1d'], 'must be'],
  ['ACCESS_EMAIL_UNVERIFIED', ['yes'], 'must be true or false'],
  ['ACCESS_CLAIMS', [
    'department', '=x', 'a=b,c'
  ], 'must list claims and their values, such as department=Engineering,active=true'],
  ['ACCESS_CONTACT', ['c'.repeat(201)], 'must have at most 200 characters'],
  ['OAUTH_CLIENTS', ['{}', 'ci', '[1]'], 'must be a JSON array of clients'],
  ['TRUSTED_ISSUERS', ['{}', 'github', '[1]'], 'must be a JSON array of issuers'],
  ['CIMD_ENABLED', ['no'], 'must be true or false'],
  ['OAUTH_LIMIT_PER_ADDRESS', ['0'], 'must be at least 1'],
  ['OAUTH_LIMIT_PER_CLIENT', ['0'], 'must be at least 1'],
  ['TOKEN_CLOCK_SKEW_SECONDS', ['301', '-1'], 'must be'],
  ['TOKEN_MAX_LIFETIME_SECONDS', ['59'], 'must be at least 60'],
  ['DCR_CLIENT_TTL', ['59', '0', '-1'], 'must be at least 60'],
  ['DCR_LIMIT_PER_ADDRESS', ['0'], 'must be at least 1'],
  ['DCR_LIMIT_TOTAL', ['0'], 'must be at least 1'],
  ['CONNECTIONS_TOTAL', ['3'], 'must be at least 4'],
  ['OIDC_AUDIENCE', ['a'.repeat(513)], 'must have at most 512 characters'],
  ['OIDC_CLIENT_ID', ['a'.repeat(513)], 'must have at most 512 characters'],
  ['BASE_URL', [
    'seed.example.com', 'ftp://seed.example.com', '//seed.example.com', 'https://', 'localhost:3000'
  ], 'must be a URL beginning with https://'],
  ['BASE_URL', [
    'http://seed.example.com', 'http://10.0.0.1:3000', 'http://localhost.evil.example'
  ], 'must use https; plain http is accepted for localhost only'],
  ['BASE_URL', [
    'https://user:pw@seed.example.com', 'https://user@seed.example.com'
  ], 'must not contain a user name or password'],
  ['BASE_URL', [
    'https://seed.example.com//', 'https://seed.example.com/?', 'https://seed.example.com?x',
    'https://Seed.example.com', 'https://seed.example.com:443', 'http://localhost:80', 'https://sëed.example.com',
    'https://example.com/seed//', 'https://example.com//seed', 'https://example.com/../seed',
    'https://example.com/.well-known', 'https://example.com/s%65ed', 'https://example.com/sëed',
    'https://example.com/seed?x', 'https://example.com/a;b', 'https://example.com:443/seed'
  ], 'must be like https://seed.example.com or https://example.com/seed'],
  ['BASE_URL', ['https://seed.example.com/mcp', 'https://example.com/seed/mcp/'], 'must not end with /mcp'],
  ['BASE_URL', [
    'https://example.com/oauth', 'https://example.com/health/seed', 'https://example.com/mcp/seed'
  ], "must have a path that does not begin with a path of Seed's own"],
  ['BASE_URL', ['https://seed.example.com#x', 'https://seed.example.com/#'], 'must not contain a fragment'],
  ['OIDC_ISSUER', [
    'auth.example.com', 'urn:issuer', 'ldap://auth.example.com'
  ], 'must be a URL beginning with https://'],
  ['OIDC_ISSUER', ['http://auth.example.com'], 'must use https'],
  ['OIDC_ISSUER', ['https://user:pw@auth.example.com'], 'must not contain a user name or password'],
  ['OIDC_ISSUER', ['https://auth.example.com?x', 'https://auth.example.com/?'], 'must not contain a query'],
  ['OIDC_ISSUER', ['https://auth.example.com/#x', 'https://auth.example.com#'], 'must not contain a fragment'],
  ...['OIDC_DISCOVERY_URL', 'OAUTH_AUTHORIZATION_URL', 'OAUTH_TOKEN_URL', 'OAUTH_REVOCATION_URL', 'CIMD_PROBE_URL'].flatMap((name) => [
    [name, ['/authorize', 'auth.example.com'], 'must be a URL beginning with https://'],
    [name, ['http://auth.example.com/x'], 'must use https'],
    [name, ['https://user:pw@auth.example.com/x'], 'must not contain a user name or password'],
    [name, ['https://auth.example.com/x#y', 'https://auth.example.com/x#'], 'must not contain a fragment']
  ] as Array<[string, string[], string]>),
  ...['HTTPS_PROXY', 'HTTP_PROXY'].map((name) => [
    name, ['proxy.example.com:3128', 'socks5://proxy.example.com', 'proxy'], 'must be the URL of an HTTP proxy'
  ] as [string, string[], string]),
  ['SERVER_NAME', ['Acme tools', '-x', 'a/b', 'ä'], 'must have letters, digits'],
  ['SERVER_NAME', ['x'.repeat(65)], 'must have at most 64 characters'],
  ['SERVER_WEBSITE', ['http://acme.example'], 'must use https'],
  ['WELL_KNOWN_FILES', [
    'jwks.json=x', 'openai-apps-challenge', 'a=', 'a/b=c', '../x=y', 'A=b', `a=${'x'.repeat(1_025)}`
  ], 'must list names under /.well-known'],
  ['WELL_KNOWN_FILES', [Array.from({ length: 17 }, (_, i) => `f${i}=x`).join(',')], 'must have at most 16 files'],
  ['HOME_PAGE', ['no'], 'must be true or false'],
  ['CONNECTIONS_PAGE', ['no'], 'must be true or false'],
  ['AUDIT_LOG', ['on', 'audit.log', 'STDOUT', '/'], 'must be off, stdout, or the path of a file'],
  ['AUDIT_ARGUMENTS', ['hash'], 'must be one of off, digest, full'],
  ['AUDIT_CHAIN_KEY', ['short'], 'must have at least 32 characters'],
  ['OIDC_RESOURCE', ['seed', '/mcp', 'https://seed.example.com/mcp#x'], 'must be an absolute URI without a fragment'],
  ['OIDC_SCOPES', ['profile email', 'openidx', 'OPENID', 'openid,profile'], 'must include openid'],
  ['OIDC_ALGORITHMS', ['HS256', 'none', 'rs256', 'RS256;ES256', 'ES256,HS512'], 'must list asymmetric algorithms'],
  ['REDIS_URL', [
    'redis.example:6379', 'http://redis:6379', 'redis', 'redis:redis', 'redis://', 'redis://a,b', 'redis://redis:0',
    'redis://redis:65536', 'redis://redis/x', 'redis://:%@redis'
  ], 'must be a URL such as redis://'],
  ['REDIS_URL', [
    'redis+sentinel://sentinel', 'redis+sentinel://sentinel/', 'redis+sentinel://sentinel/my/master',
    'redis+sentinel://a,,b/mymaster'
  ], 'must be a URL such as redis+sentinel://'],
  ['REDIS_URL', ['redis+cluster://', 'redis+cluster://redis/1'], 'must be a URL such as redis+cluster://'],
  ['REDIS_SENTINEL_PASSWORD', ['pw'], 'is set, but REDIS_URL names no sentinels'],
  ['TRUST_PROXY', [
    'true', '1', 'loopback', '*', 'proxy.example', '10.0.0.0/33', '10.0.0.0/0', '::/129', '::/0', '10.0.0.0/',
    '10.0.0.0/x', '10.0.0.0/8/8', '10.0.0', '10.0.0.1,true'
  ], 'must list IP addresses or CIDR ranges'],
  ['CORS_EXTRA_ORIGINS', [
    '*', 'null', 'claude.ai', 'https://claude.ai/', 'https://claude.ai/x', 'HTTPS://claude.ai', 'https://claude.ai:443',
    'https://*.claude.ai', 'https://a@claude.ai', 'file://', 'file://x', 'data://x', 'chrome-extension://abc/x',
    'chrome-extension://', 'https://claude.ai,*'
  ], 'must list origins such as https://claude.ai'],
  ['ACCESS_GROUPS', ['cn=eng,ou=groups,dc=example', 'staff, CN = eng,DC=example', 'eng,dc=example'],
    /looks like a part of an LDAP name: names with commas need .* JSON array, such as \["cn=eng,ou=groups,dc=example"\]/],
  ['ACCESS_CLAIMS', ['memberOf=cn=eng,ou=groups,dc=example'], /LDAP name.*\["memberOf=cn=eng,ou=groups,dc=example"\]/],
  ...[
    'TRUST_PROXY', 'ALLOWED_HOSTS', 'CORS_EXTRA_ORIGINS', 'OIDC_TENANTS', 'OIDC_SCOPES', 'SCOPE_HIERARCHY',
    'OIDC_ALGORITHMS', 'ACCESS_GROUPS', 'ACCESS_EMAIL_DOMAINS', 'ACCESS_HOSTED_DOMAINS', 'ACCESS_CLAIMS',
    'SEED_EXTENSIONS', 'CIMD_HOSTS', 'REDIRECT_URI_SCHEMES'
  ].map((name): [string, string[], string] =>
    [name, ['["a"', '[x]', '[5]', '[""]', '[null]', '["a"],b'], 'begins with "[" but is not a JSON array of strings']),
  ['REDIRECT_URI_SCHEMES', [
    'http', 'https', 'javascript', 'data', 'vbscript', 'file', 'blob', 'about', 'mailto', 'view-source', 'intent', 'ws',
    'wss', 'ftp', 'Cursor', 'cursor:', 'cursor://', '1x', '-x', 'x_y', 'cursor,javascript'
  ], 'must list private-use schemes']
]

t.test('a group with an LDAP name admits its members, and not those of a group named like a part of it', async (t) => {
  const seed = await startSeed(t, { env: { ACCESS_GROUPS: '["cn=eng,ou=groups,dc=example"]' } })
  await ready(seed)
  const cases: Array<[group: string, status: number]> = [
    ['cn=eng,ou=groups,dc=example', 200], ['cn=eng', 403], ['ou=groups', 403], ['dc=example', 403]
  ]
  for (const [group, status] of cases) {
    const token = await seed.provider.mint({ groups: [group] })
    t.equal((await ping(seed.url, token)).status, status, group)
  }
})

t.test('each wrong value is one problem that says what to set', async (t) => {
  for (const [name, values, says] of wrong) {
    for (const value of values) {
      const [problem = '', ...others] = await problemsOf(t, { ...GOOD, [name]: value })
      t.same(
        { others, named: problem.startsWith(`${name} `) },
        { others: [], named: true },
        `${name}=${encodeURIComponent(value).slice(0, 40)}`
      )
      t.match(problem, says)
    }
  }
})

t.test('an operator reads at start that SEED_SECRET can be guessed, and how to make a good one', async (t) => {
  for (const [secrets, settings] of [
    [{ SEED_SECRET: 'changeme'.repeat(5), SEED_SECRET_PREVIOUS: 'x'.repeat(32) }, ['SEED_SECRET', 'SEED_SECRET_PREVIOUS']],
    [{ SEED_SECRET: 'rIq0Fp3qJ8sJY0sVdH1h0m3mJq0u8m5Tq2Zk3o9X7bE=' }, []]
  ] as const) {
    const { logs, stream } = captureLogs()
    const app = await buildApp({ AUTH_REQUIRED: 'false', ...secrets }, { logStream: stream })
    t.teardown(async () => { await app.close() })
    const warnings = logs.filter(({ msg }) => msg.includes('can be guessed'))
    t.same(warnings.map(({ msg }) => msg.split(' ')[0]), settings)
    for (const { level, msg } of warnings) t.match([level, msg], [50, '`openssl rand -base64 32`'])
    t.notMatch(JSON.stringify(logs), 'changeme')
  }
})

t.test('settings that need or exclude another say which', async (t) => {
  const { OIDC_ISSUER } = GOOD
  const google = { OIDC_ISSUER: 'https://accounts.google.com', OIDC_CLIENT_ID: 'x' }
  for (const [env, problems] of [
    [
      { OAUTH_MODE: 'broker', OIDC_ISSUER },
      ['OIDC_CLIENT_ID is missing: set it to the id of the client that you registered for Seed at the provider']
    ],
    [{ OAUTH_MODE: 'broker', OIDC_ISSUER, OIDC_CLIENT_ID: 'x' }, []],
    [{ OAUTH_MODE: 'broker', ...GOOD }, []],
    [
      { OAUTH_MODE: 'broker', ...GOOD, REDIS_URL: 'redis://redis' },
      [
        'SEED_SECRET is missing: OAUTH_MODE=broker with REDIS_URL needs one for all replicas; ' +
          'make it with `openssl rand -base64 32`'
      ]
    ],
    [{ OAUTH_MODE: 'broker', ...GOOD, REDIS_URL: 'redis://redis', SEED_SECRET: SECRET }, []],
    ...[['100', '100'], ['101', '100'], [undefined, '50']].map(([perPrincipal = '', total = '']) => [
      { ...GOOD, SESSIONS_PER_PRINCIPAL: perPrincipal, SESSIONS_TOTAL: total },
      ['SESSIONS_PER_PRINCIPAL must be less than SESSIONS_TOTAL, or one person can use up the sessions of everybody ' +
        `(they are ${perPrincipal || 100} and ${total})`]
    ] as const),
    [{ ...GOOD, SESSIONS_PER_PRINCIPAL: '99', SESSIONS_TOTAL: '100' }, []],
    [{ ...GOOD, REDIS_URL: 'redis://redis' }, []],
    [{ ...GOOD, REDIS_URL: 'rediss://redis', REDIS_TLS_CA: `${CERTIFICATE}\n${CERTIFICATE}` }, []],
    [{ ...GOOD, REDIS_TLS_CA: CERTIFICATE }, ['REDIS_TLS_CA is set, but REDIS_URL does not ask for TLS (rediss://)']],
    [{ ...GOOD, REDIS_URL: 'redis+cluster://redis', REDIS_TLS_CA: 'hunter2', REDIS_SENTINEL_PASSWORD: 'x' }, [
      'REDIS_SENTINEL_PASSWORD is set, but REDIS_URL names no sentinels (redis+sentinel://)',
      'REDIS_TLS_CA is set, but REDIS_URL does not ask for TLS (rediss://)',
      'REDIS_TLS_CA must be certificates in PEM form ("BEGIN CERTIFICATE")'
    ]],
    [{
      ...GOOD,
      REDIS_URL: 'rediss+sentinel://redis/mymaster',
      REDIS_SENTINEL_PASSWORD: 'x',
      REDIS_TLS_CA: '-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----'
    }, ['REDIS_TLS_CA must be certificates in PEM form ("BEGIN CERTIFICATE")']],
    [
      { ...google, OIDC_AUDIENCE: 'x', OIDC_CLIENT_SECRET: 'y' },
      ['OAUTH_MODE must be broker for google: its access tokens are opaque, and redirect URIs are fixed']
    ],
    [{ ...google, OAUTH_MODE: 'broker' }, ['OIDC_CLIENT_SECRET is missing: google requires it']],
    [{ ...google, OAUTH_MODE: 'broker', OIDC_CLIENT_SECRET: 'y' }, []],
    [{ ...google, OAUTH_MODE: 'broker', OIDC_CLIENT_KEY: PEM }, []],
    [{ ...google, AUTH_REQUIRED: 'false' }, []],
    [{ ...GOOD, OIDC_ISSUER: 'https://acme.eu.auth0.com' }, ['OIDC_ISSUER must end with a slash for auth0']],
    [{ ...GOOD, OIDC_ISSUER: 'https://acme.eu.auth0.com/' }, []],
    [
      { OAUTH_MODE: 'broker', OIDC_PROVIDER: 'auth0' },
      [
        'OIDC_ISSUER is missing: set it to the issuer URL of your OpenID provider (or set AUTH_REQUIRED=false)',
        'OIDC_CLIENT_ID is missing: set it to the id of the client that you registered for Seed at the provider'
      ]
    ],
    ...['common', 'organizations', 'consumers'].flatMap((tenant) => [
      [
        { ...GOOD, OIDC_ISSUER: `https://login.microsoftonline.com/${tenant}/v2.0` },
        ['OIDC_TENANTS is missing: OIDC_ISSUER covers several tenants; list the ids of those that may sign in']
      ],
      [{ ...GOOD, OIDC_ISSUER: `https://login.microsoftonline.com/${tenant}/v2.0`, OIDC_TENANTS: 'a' }, []]
    ] as Array<[Record<string, string>, string[]]>),
    [{ ...GOOD, OIDC_ISSUER: 'https://login.microsoftonline.com/11111111-2222-3333-4444-555555555555/v2.0' }, []],
    [
      { ...GOOD, OIDC_CLIENT_KEY: PEM, OIDC_CLIENT_SECRET: 'y' },
      ['OIDC_CLIENT_KEY and OIDC_CLIENT_SECRET are both set: keep one of them']
    ],
    [
      { ...GOOD, OIDC_CLIENT_AUTH: 'private_key_jwt' },
      ['OIDC_CLIENT_KEY is missing: OIDC_CLIENT_AUTH=private_key_jwt needs it']
    ],
    [
      { ...GOOD, OIDC_CLIENT_AUTH: 'client_secret_basic' },
      ['OIDC_CLIENT_SECRET is missing: OIDC_CLIENT_AUTH=client_secret_basic needs it']
    ],
    [
      { ...GOOD, OIDC_CLIENT_AUTH: 'client_secret_post' },
      ['OIDC_CLIENT_SECRET is missing: OIDC_CLIENT_AUTH=client_secret_post needs it']
    ],
    [{ ...GOOD, OIDC_CLIENT_KEY: keyOf('RSA') }, []],
    [{ ...GOOD, OIDC_CLIENT_AUTH: 'none' }, []],
    [
      { ...GOOD, OIDC_CLIENT_AUTH: 'none', OIDC_CLIENT_SECRET: 'y' },
      ['OIDC_CLIENT_AUTH is none, but OIDC_CLIENT_SECRET is set: remove one of them']
    ],
    [
      { ...GOOD, OIDC_CLIENT_AUTH: 'none', OIDC_CLIENT_KEY: PEM },
      ['OIDC_CLIENT_AUTH is none, but OIDC_CLIENT_KEY is set: remove one of them']
    ]
  ] as Array<[Record<string, string>, string[]]>) {
    // A problem of PORT comes first, so that there is always one.
    t.same(await problemsOf(t, { ...env, PORT: 'x' }), [
      'PORT must be a whole number (it is "x")', ...problems
    ], JSON.stringify(env).slice(0, 120))
  }
})

t.test('Seed starts with every form of TRUST_PROXY that is accepted', async (t) => {
  for (const range of [
    '10.0.0.0/8', '10.0.0.1', '10.0.0.0/1', '10.0.0.0/32', '::1', '2001:db8::/1', '2001:db8::/128', 'fe80::1%eth0',
    '::ffff:10.0.0.0/104'
  ]) {
    const app = await buildApp({ AUTH_REQUIRED: 'false', TRUST_PROXY: range }, { logStream: captureLogs().stream })
    await app.close()
    t.pass(range)
  }
})
