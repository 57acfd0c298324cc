import t from 'tap'
import { findPreset } from '../../src/provider-presets/find-preset.ts'
import { VERSION } from '../../src/config/version.ts'
import { GOOD, PEM, SECRET, loadConfig, problemsOf } from '../support/config.ts'
import { selfSigned } from '../support/tls.ts'

const CERTIFICATE = selfSigned(t, ['redis.example']).cert.trim()

t.test('the smallest configuration gets safe defaults', async (t) => {
  t.same(await loadConfig(GOOD), {
    port: 3000,
    host: 'localhost',
    baseUrl: 'http://localhost:3000',
    basePath: '',
    resource: 'http://localhost:3000/mcp',
    endpoints: [{
      name: undefined,
      path: '/mcp',
      resource: 'http://localhost:3000/mcp',
      scopes: ['openid', 'profile', 'email', 'offline_access'],
      access: { groups: [], emailDomains: [], hostedDomains: [], claims: [] },
      server: { name: 'seed', title: undefined, description: undefined, instructions: undefined },
      selection: { mounts: { deny: [] }, tools: true, prompts: true, resources: true }
    }],
    server: {
      name: 'seed',
      title: undefined,
      description: undefined,
      instructions: undefined,
      icon: undefined,
      website: undefined,
      policyUrl: undefined,
      termsUrl: undefined,
      operator: undefined,
      contact: undefined,
      showHomePage: true,
      wellKnownFiles: []
    },
    audit: { target: 'off', arguments: 'digest', redact: [], chainKey: undefined },
    maxConnections: 10_000,
    trustProxy: [],
    allowedHosts: [],
    corsExtraOrigins: [],
    inheritedVariables: {},
    logLevel: 'info',
    metrics: { port: undefined, host: '127.0.0.1', otlpEndpoint: undefined },
    tracing: { endpoint: undefined, sampler: 'parentbased_always_on', ratio: 1 },
    shutdown: { delaySeconds: 0, graceSeconds: 5 },
    authRequired: true,
    proxy: { https: undefined, http: undefined, none: undefined },
    secrets: { current: undefined, previous: undefined },
    oidc: {
      preset: findPreset('authentik', ''),
      issuer: 'https://auth.example.com/application/o/seed/',
      tenants: [],
      audience: 'seed-client',
      resource: undefined,
      discoveryUrl: 'https://auth.example.com/application/o/seed/.well-known/openid-configuration',
      authorizationUrl: undefined,
      tokenUrl: undefined,
      revocationUrl: undefined,
      allowInsecureHttp: false,
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
      trustedIssuers: [],
      accessTokenIssuers: [],
      enterpriseAuthorization: 'off',
      metadataDocuments: {
        enabled: true,
        allowedHosts: [],
        probeUrl: 'https://claude.ai/oauth/claude-code-client-metadata'
      },
      registration: { clientTtlSeconds: 2_592_000, limitPerAddress: 10, limitTotal: 1_000 },
      redirectUriSchemes: [
        'cursor', 'vscode', 'vscode-insiders', 'vscodium', 'windsurf', 'kiro', 'trae', 'zed', 'warp', 'goose'
      ],
      showConnectionsPage: true,
      grant: {
        accessTokenTtlSeconds: 900,
        refreshTokenTtlSeconds: 1_209_600,
        maxAgeSeconds: 7_776_000,
        maxAgeUncheckedSeconds: 86_400
      },
      limits: { perAddress: 120, perClient: 600 },
      maxTraces: 10_000
    },
    access: { groups: [], emailDomains: [], unverifiedEmail: true, hostedDomains: [], claims: [], contact: undefined },
    redis: { url: undefined, keyPrefix: 'seed:', sentinelPassword: undefined, tlsCa: undefined },
    scopeHierarchy: [],
    extensions: [],
    mcp: {
      pageSize: 1_000,
      session: { idleTtlSeconds: 86_400, maxAgeSeconds: 2_592_000, maxPerPrincipal: 100, maxTotal: 50_000 },
      tool: { timeoutSeconds: 60, inputTimeoutSeconds: 600, maxResultBytes: 10_485_760 },
      limits: {
        requestsPerAddress: 3_000,
        requestsPerPrincipal: 600,
        refusedPerAddress: 60,
        callsPerPrincipal: 32,
        streamsPerPrincipal: 64
      }
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
    SERVER_NAME: 'acme',
    SERVER_TITLE: 'Acme tools',
    SERVER_DESCRIPTION: 'Tickets',
    SERVER_INSTRUCTIONS: 'Ask first',
    SERVER_ICON: 'icon.png',
    SERVER_WEBSITE: 'https://acme.example',
    SERVER_POLICY_URL: 'https://acme.example/privacy',
    SERVER_TERMS_URL: 'https://acme.example/terms',
    SERVER_OPERATOR: 'Acme IT',
    SERVER_CONTACT: 'it@acme.example',
    HOME_PAGE: 'false',
    CONNECTIONS_PAGE: 'false',
    WELL_KNOWN_FILES: 'openai-apps-challenge = a=b, x.txt=y',
    AUDIT_LOG: './audit.log',
    AUDIT_ARGUMENTS: 'full',
    AUDIT_REDACT: 'iban, birthDate',
    AUDIT_CHAIN_KEY: SECRET,
    AUTH_REQUIRED: 'true',
    OAUTH_MODE: 'broker',
    SEED_SECRET: SECRET,
    SEED_SECRET_PREVIOUS: `${SECRET} of last year`,
    OIDC_PROVIDER: 'keycloak',
    OIDC_ISSUER: 'http://127.0.0.1:9000',
    OIDC_AUDIENCE: 'api://seed',
    OIDC_RESOURCE: 'api://seed',
    OIDC_DISCOVERY_URL: 'https://internal.example/discovery?x',
    OAUTH_AUTHORIZATION_URL: 'https://auth.example.com/authorize?p=1',
    OAUTH_TOKEN_URL: 'http://[::1]:9000/token',
    OAUTH_REVOCATION_URL: 'https://auth.example.com/revoke',
    OIDC_ALLOW_INSECURE_HTTP: 'true',
    OIDC_CLIENT_ID: 'seed-client',
    OIDC_CLIENT_SECRET: 's3cret',
    OIDC_CLIENT_KEY_ID: 'key-1',
    OIDC_CLIENT_AUTH: 'client_secret_post',
    OIDC_ASSERTION_AUDIENCE: 'token_endpoint',
    OIDC_PAR: 'true',
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
    ACCESS_EMAIL_DOMAINS: '@Example.com,example.org',
    ACCESS_EMAIL_UNVERIFIED: 'true',
    ACCESS_HOSTED_DOMAINS: '@Example.com',
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
    MCP_MAX_RESULT_BYTES: '9999',
    MCP_LIMIT_PER_ADDRESS: '9',
    MCP_LIMIT_PER_PRINCIPAL: '10',
    MCP_LIMIT_REFUSED: '11',
    CALLS_PER_PRINCIPAL: '12',
    STREAMS_PER_PRINCIPAL: '13',
    CONNECTIONS_TOTAL: '15',
    SCOPE_HIERARCHY: 'tickets:admin > tickets:write, tickets:write>tickets:read',
    SEED_EXTENSIONS: '/extensions, @acme/seed-tools',
    LIST_PAGE_SIZE: '14'
  })
  t.match(config, {
    port: 8_080,
    host: '10.0.0.1',
    baseUrl: 'https://seed.example.com',
    basePath: '',
    resource: 'https://seed.example.com/mcp',
    trustProxy: ['10.0.0.0/8', '2001:db8::/32', '192.0.2.1'],
    allowedHosts: ['seed.internal:8080', 'seed'],
    maxConnections: 15,
    corsExtraOrigins: ['https://claude.ai', 'http://localhost:6274'],
    logLevel: 'debug',
    shutdown: { delaySeconds: 15, graceSeconds: 0 },
    server: {
      name: 'acme',
      title: 'Acme tools',
      description: 'Tickets',
      instructions: 'Ask first',
      icon: 'icon.png',
      website: 'https://acme.example',
      policyUrl: 'https://acme.example/privacy',
      termsUrl: 'https://acme.example/terms',
      operator: 'Acme IT',
      contact: 'it@acme.example',
      showHomePage: false,
      wellKnownFiles: [{ name: 'openai-apps-challenge', text: 'a=b' }, { name: 'x.txt', text: 'y' }]
    },
    audit: { target: './audit.log', arguments: 'full', redact: ['iban', 'birthDate'], chainKey: SECRET },
    secrets: { current: SECRET, previous: `${SECRET} of last year` },
    oidc: {
      preset: findPreset('keycloak', ''),
      issuer: 'http://127.0.0.1:9000',
      tenants: ['tenant-a', 'tenant-b'],
      audience: 'api://seed',
      resource: 'api://seed',
      discoveryUrl: 'https://internal.example/discovery?x',
      authorizationUrl: 'https://auth.example.com/authorize?p=1',
      tokenUrl: 'http://[::1]:9000/token',
      revocationUrl: 'https://auth.example.com/revoke',
      clientId: 'seed-client',
      clientSecret: 's3cret',
      clientKey: undefined,
      clientKeyId: 'key-1',
      clientAuth: 'client_secret_post',
      assertionAudience: 'token_endpoint',
      pushesRequests: true,
      scopes: ['openid', 'groups'],
      algorithms: ['ES256', 'Ed25519'],
      groupsClaim: 'realm_access.roles'
    },
    token: { clockSkewSeconds: 0, maxLifetimeSeconds: 60 },
    oauth: {
      mode: 'broker',
      configuredClients: [{ id: 'ci', redirectUris: ['https://ci.example.com/cb'] }],
      metadataDocuments: {
        enabled: false,
        allowedHosts: ['claude.ai', 'localhost:8443'],
        probeUrl: 'https://client.example/metadata.json'
      },
      registration: { clientTtlSeconds: 60, limitPerAddress: 1, limitTotal: 2 },
      redirectUriSchemes: ['cursor', 'com.example.app'],
      showConnectionsPage: false,
      grant: {
        accessTokenTtlSeconds: 60,
        refreshTokenTtlSeconds: 300,
        maxAgeSeconds: 301,
        maxAgeUncheckedSeconds: 302
      },
      limits: { perAddress: 3, perClient: 4 }
    },
    access: {
      groups: ['Engineering', 'mcp users'],
      emailDomains: ['example.com', 'example.org'],
      unverifiedEmail: true,
      hostedDomains: ['example.com'],
      claims: [{ claim: 'department', values: ['R=D'] }, { claim: 'active', values: ['true'] }],
      contact: 'it@example.com'
    },
    redis: {
      url: 'rediss+sentinel://:pw@redis.example:6380/mymaster/1',
      keyPrefix: 'other:',
      sentinelPassword: 'sentinel-pw',
      tlsCa: CERTIFICATE
    },
    scopeHierarchy: [['tickets:admin', 'tickets:write'], ['tickets:write', 'tickets:read']],
    extensions: ['/extensions', '@acme/seed-tools'],
    mcp: {
      pageSize: 14,
      session: { idleTtlSeconds: 61, maxAgeSeconds: 62, maxPerPrincipal: 5, maxTotal: 6 },
      tool: { timeoutSeconds: 7, inputTimeoutSeconds: 8, maxResultBytes: 9_999 },
      limits: {
        requestsPerAddress: 9,
        requestsPerPrincipal: 10,
        refusedPerAddress: 11,
        callsPerPrincipal: 12,
        streamsPerPrincipal: 13
      }
    }
  })
  t.match(
    (await loadConfig({ ...GOOD, OIDC_CLIENT_KEY: PEM, OIDC_CLIENT_AUTH: 'private_key_jwt' })).oidc,
    { clientKey: PEM, clientAuth: 'private_key_jwt' }
  )
})

t.test('the preset of the provider has the defaults of ACCESS_EMAIL_UNVERIFIED and OIDC_GROUPS_CLAIM', async (t) => {
  t.equal((await loadConfig(GOOD)).access.unverifiedEmail, true, 'authentik')
  t.equal((await loadConfig({ ...GOOD, ACCESS_EMAIL_UNVERIFIED: 'false' })).access.unverifiedEmail, false)
  t.equal((await loadConfig({ ...GOOD, OIDC_PROVIDER: 'generic' })).access.unverifiedEmail, false)
  t.equal((await loadConfig({ ...GOOD, OIDC_PROVIDER: 'generic' })).oidc.groupsClaim, 'groups')
  t.equal((await loadConfig({ ...GOOD, OIDC_GROUPS_CLAIM: 'roles' })).oidc.groupsClaim, 'roles')
})

t.test('Seed listens on loopback unless it is meant to be reached from elsewhere', async (t) => {
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

t.test('metrics are for this machine only unless METRICS_HOST says otherwise', async (t) => {
  for (const [env, host] of [
    [{ HOST: '0.0.0.0' }, '127.0.0.1'],
    [{ HOST: '::' }, '::1'],
    [{ BASE_URL: 'https://seed.example.com' }, '127.0.0.1'],
    [{ HOST: '::', METRICS_HOST: '0.0.0.0' }, '0.0.0.0']
  ] as const) t.equal((await loadConfig({ ...GOOD, ...env })).metrics.host, host, JSON.stringify(env))
})

t.test('BASE_URL follows PORT when it is not set', async (t) => {
  t.equal((await loadConfig({ ...GOOD, PORT: '8080' })).baseUrl, 'http://localhost:8080')
  for (const [given, baseUrl] of [
    ['https://seed.example.com', 'https://seed.example.com'],
    ['https://seed.example.com/', 'https://seed.example.com'],
    ['https://example.com/seed', 'https://example.com/seed'],
    ['https://example.com/Tools/seed-2/', 'https://example.com/Tools/seed-2'],
    ['https://seed.example.com:8443', 'https://seed.example.com:8443'],
    ['http://localhost:3000/', 'http://localhost:3000'],
    ['http://[::1]:3000', 'http://[::1]:3000']
  ] as const) {
    t.equal((await loadConfig({ ...GOOD, BASE_URL: given })).baseUrl, baseUrl)
    t.equal((await loadConfig({ ...GOOD, BASE_URL: given })).resource, `${baseUrl}/mcp`)
  }
})

t.test('the discovery document is below the issuer, with or without a trailing slash', async (t) => {
  for (const issuer of ['https://auth.example.com', 'https://auth.example.com/']) {
    const { oidc } = await loadConfig({ ...GOOD, OIDC_ISSUER: issuer })
    t.equal(oidc.issuer, issuer, 'unchanged, byte for byte')
    t.equal(oidc.discoveryUrl, 'https://auth.example.com/.well-known/openid-configuration')
  }
})

t.test('AUTH_REQUIRED=false needs neither a provider nor Redis', async (t) => {
  const config = await loadConfig({ AUTH_REQUIRED: 'false' })
  t.match(config, {
    authRequired: false,
    host: 'localhost',
    redis: { url: undefined },
    oidc: { issuer: '', audience: '', clientId: '' }
  })
  t.same(
    (await problemsOf(t, { AUTH_REQUIRED: 'false', OIDC_ISSUER: 'nonsense' })).length,
    1,
    'a setting is checked although nothing needs it'
  )
})

t.test('the configuration cannot be changed', async (t) => {
  const config = await loadConfig(GOOD)
  const frozen = (value: object): boolean => Object.isFrozen(
    value
  ) && Object.values(value).every((inner) => typeof inner !== 'object' || inner === null || frozen(inner as object))
  t.ok(frozen(config))
  t.throws(() => { (config.oidc.scopes as string[]).push('admin') }, TypeError)
})

t.test('the version is the one in package.json', async (t) => {
  t.match(VERSION, /^\d+\.\d+\.\d+/)
})

t.test('ID-JAGs are accepted by default where the provider issues them and a client for them is named', async (t) => {
  const client = { client_id: 'company-app', client_secret: SECRET, grant_types: ['client_credentials'] }
  const named = { ...client, grant_types: ['urn:ietf:params:oauth:grant-type:jwt-bearer'] }
  const okta = { ...GOOD, OAUTH_MODE: 'broker', OIDC_ISSUER: 'https://acme.okta.com' }
  const valueWith = async (env: Record<string, string>) => (await loadConfig(env)).oauth.enterpriseAuthorization
  t.equal(await valueWith({ ...okta, OAUTH_CLIENTS: JSON.stringify([named]) }), 'also')
  t.equal(await valueWith({ ...okta, OAUTH_CLIENTS: JSON.stringify([client]) }), 'off', 'no client is named for it')
  t.equal(await valueWith({ ...okta, OAUTH_CLIENTS: JSON.stringify([named]), ENTERPRISE_AUTHORIZATION: 'off' }), 'off')
  t.equal(await valueWith({ ...GOOD, OAUTH_MODE: 'broker', OAUTH_CLIENTS: JSON.stringify([named]) }), 'off', 'no Okta')
  t.equal(await valueWith({ ...okta, OAUTH_MODE: 'proxy' }), 'off', 'proxy mode')
})

t.test('ENTERPRISE_AUTHORIZATION needs the mode in which Seed issues tokens', async (t) => {
  t.match(await problemsOf(t, { ...GOOD, ENTERPRISE_AUTHORIZATION: 'only' }), [/^ENTERPRISE_AUTHORIZATION needs OAUTH_MODE=broker/])
  t.equal((await loadConfig({ ...GOOD, ENTERPRISE_AUTHORIZATION: 'off' })).oauth.enterpriseAuthorization, 'off')
})
