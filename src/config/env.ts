import { existsSync, readFileSync } from 'node:fs'
import { parseEnv } from 'node:util'
import { envSchema } from 'env-schema'
import { Type } from 'typebox'
import type { Static } from 'typebox'
import { checkAddressRange, checkBaseUrl, checkHttpsUrl, checkOrigin, checkRedirectUriScheme, checkRedisSettings, checkRedisUrl, checkSecret, isLoopbackHost, list, readClaimPairs, readScopeHierarchy } from './checks.ts'
import { readConfiguredClients } from './clients.ts'
import { PRESET_NAMES, findPreset } from './presets.ts'
import type { PresetName } from './presets.ts'
import { deepFreeze } from '../json/deep-freeze.ts'

/**
 * Configuration: environment in, one frozen object out.
 *
 * `EnvSchema` is the only list of settings; .env.example follows its order. A setting whose name is in
 * SECRET_SETTINGS may also be given as NAME_FILE, a path to a file that holds the value (container secrets, certificates).
 */
export const EnvSchema = Type.Object({
  // Server
  PORT: Type.Integer({ minimum: 0, maximum: 65535, default: 3000 }),
  HOST: Type.Optional(Type.String()),
  BASE_URL: Type.Optional(Type.String()),
  TRUST_PROXY: Type.String({ default: '' }),
  ALLOWED_HOSTS: Type.String({ default: '' }),
  CORS_EXTRA_ORIGINS: Type.String({ default: '' }),
  LOG_LEVEL: Type.Enum(['fatal', 'error', 'warn', 'info', 'debug', 'trace', 'silent'], { default: 'info' }),
  SHUTDOWN_DELAY_SECONDS: Type.Integer({ minimum: 0, maximum: 600, default: 0 }),
  SHUTDOWN_GRACE_SECONDS: Type.Integer({ minimum: 0, maximum: 600, default: 5 }),
  // Authentication
  AUTH_REQUIRED: Type.Boolean({ default: true }),
  OAUTH_MODE: Type.Enum(['proxy', 'broker'], { default: 'proxy' }),
  SEED_SECRET: Type.Optional(Type.String()),
  SEED_SECRET_PREVIOUS: Type.Optional(Type.String()),
  OIDC_PROVIDER: Type.Optional(Type.Enum([...PRESET_NAMES])),
  OIDC_ISSUER: Type.Optional(Type.String()),
  OIDC_AUDIENCE: Type.Optional(Type.String({ maxLength: 512 })),
  OIDC_DISCOVERY_URL: Type.Optional(Type.String()),
  OAUTH_AUTHORIZATION_URL: Type.Optional(Type.String()),
  OAUTH_TOKEN_URL: Type.Optional(Type.String()),
  OIDC_CLIENT_ID: Type.Optional(Type.String({ maxLength: 512 })),
  OIDC_CLIENT_SECRET: Type.Optional(Type.String()),
  OIDC_CLIENT_KEY: Type.Optional(Type.String()),
  OIDC_CLIENT_KEY_ID: Type.Optional(Type.String({ maxLength: 256 })),
  OIDC_CLIENT_AUTH: Type.Optional(Type.Enum(['client_secret_basic', 'client_secret_post', 'private_key_jwt', 'none'])),
  OIDC_TENANTS: Type.String({ default: '' }),
  OIDC_SCOPES: Type.String({ default: 'openid profile email offline_access' }),
  SCOPE_HIERARCHY: Type.String({ default: '' }),
  OIDC_ALGORITHMS: Type.String({ default: 'RS256,PS256,ES256,EdDSA' }),
  OIDC_GROUPS_CLAIM: Type.Optional(Type.String({ minLength: 1 })),
  TOKEN_CLOCK_SKEW_SECONDS: Type.Integer({ minimum: 0, maximum: 300, default: 30 }),
  TOKEN_MAX_LIFETIME_SECONDS: Type.Integer({ minimum: 60, default: 86400 }),
  ACCESS_TOKEN_TTL: Type.Integer({ minimum: 60, maximum: 86400, default: 900 }),
  REFRESH_TOKEN_TTL: Type.Integer({ minimum: 300, default: 1209600 }),
  GRANT_MAX_AGE: Type.Integer({ minimum: 300, default: 7776000 }),
  GRANT_MAX_AGE_UNCHECKED: Type.Integer({ minimum: 300, default: 86400 }),
  // Access
  ACCESS_GROUPS: Type.String({ default: '' }),
  ACCESS_EMAIL_DOMAINS: Type.String({ default: '' }),
  ACCESS_EMAIL_UNVERIFIED: Type.Optional(Type.Boolean()),
  ACCESS_HOSTED_DOMAINS: Type.String({ default: '' }),
  ACCESS_CLAIMS: Type.String({ default: '' }),
  ACCESS_CONTACT: Type.Optional(Type.String({ maxLength: 200 })),
  // Store
  REDIS_URL: Type.Optional(Type.String()),
  REDIS_KEY_PREFIX: Type.String({ default: 'seed:' }),
  REDIS_SENTINEL_PASSWORD: Type.Optional(Type.String()),
  REDIS_TLS_CA: Type.Optional(Type.String()),
  // What is offered
  SEED_EXTENSIONS: Type.String({ default: '' }),
  LIST_PAGE_SIZE: Type.Integer({ minimum: 1, default: 1000 }),
  // Sessions and tools
  SESSION_IDLE_TTL: Type.Integer({ minimum: 60, default: 86400 }),
  SESSION_MAX_AGE: Type.Integer({ minimum: 60, default: 2592000 }),
  SESSIONS_PER_PRINCIPAL: Type.Integer({ minimum: 1, default: 100 }),
  SESSIONS_TOTAL: Type.Integer({ minimum: 1, default: 50000 }),
  TOOL_TIMEOUT_SECONDS: Type.Integer({ minimum: 1, maximum: 3600, default: 60 }),
  INPUT_TIMEOUT_SECONDS: Type.Integer({ minimum: 1, maximum: 3600, default: 600 }),
  // Clients
  OAUTH_CLIENTS: Type.Optional(Type.String()),
  CIMD_ENABLED: Type.Boolean({ default: true }),
  CIMD_HOSTS: Type.String({ default: '' }),
  CIMD_PROBE_URL: Type.String({ default: 'https://claude.ai/oauth/claude-code-client-metadata' }),
  DCR_CLIENT_TTL: Type.Integer({ minimum: 60, default: 2592000 }),
  DCR_LIMIT_PER_ADDRESS: Type.Integer({ minimum: 1, default: 10 }),
  DCR_LIMIT_TOTAL: Type.Integer({ minimum: 1, default: 1000 }),
  REDIRECT_URI_SCHEMES: Type.String({ default: 'cursor,vscode,vscode-insiders' }),
  // Limits
  OAUTH_LIMIT_PER_ADDRESS: Type.Integer({ minimum: 1, default: 120 }),
  OAUTH_LIMIT_PER_CLIENT: Type.Integer({ minimum: 1, default: 600 }),
  MCP_LIMIT_PER_ADDRESS: Type.Integer({ minimum: 1, default: 3000 }),
  MCP_LIMIT_PER_PRINCIPAL: Type.Integer({ minimum: 1, default: 600 }),
  MCP_LIMIT_REFUSED: Type.Integer({ minimum: 1, default: 60 }),
  CALLS_PER_PRINCIPAL: Type.Integer({ minimum: 1, default: 32 }),
  STREAMS_PER_PRINCIPAL: Type.Integer({ minimum: 1, default: 64 })
})
type Env = Static<typeof EnvSchema>

export const SECRET_SETTINGS = ['SEED_SECRET', 'SEED_SECRET_PREVIOUS', 'OIDC_CLIENT_SECRET', 'OIDC_CLIENT_KEY', 'REDIS_URL', 'REDIS_SENTINEL_PASSWORD', 'REDIS_TLS_CA', 'OAUTH_CLIENTS'] as const

/** Signature algorithms Seed can be told to accept: asymmetric only (RFC 8725 section 3.1). */
const ALGORITHMS = ['RS256', 'RS384', 'RS512', 'PS256', 'PS384', 'PS512', 'ES256', 'ES384', 'ES512', 'EdDSA', 'Ed25519']

/** What is wrong with the configuration: every problem at once, each naming the variable to set. */
export class ConfigError extends Error {
  override readonly name = 'ConfigError'
  readonly problems: string[]

  constructor (problems: string[]) {
    super(`Seed cannot start: ${problems.length === 1 ? 'one setting needs' : `${problems.length} settings need`} attention (see .env.example)\n` +
      problems.map((problem) => `  - ${problem}`).join('\n'))
    this.problems = problems
  }
}

export type Config = ReturnType<typeof toConfig>

/**
 * Reads the configuration.
 *
 * @param environment variables as in `process.env`; an empty value counts as absent, and they win over the file
 * @param dotenvPath the `.env` file to read first; false reads none, a missing file is no error
 * @throws ConfigError listing every problem
 */
export function loadConfig (environment: Record<string, string | undefined>, dotenvPath: string | false = false): Config {
  const problems: string[] = []
  const given = withSecretFiles(readEnvironment(environment, dotenvPath), problems)
  const env = validate(given, problems)
  const config = toConfig(env, problems)
  if (problems.length > 0) throw new ConfigError(problems)
  return deepFreeze(config)
}

function readEnvironment (environment: Record<string, string | undefined>, dotenvPath: string | false): Record<string, string> {
  return definedOnly({ ...readDotenv(dotenvPath), ...definedOnly(environment) })
}

function readDotenv (path: string | false): Record<string, string | undefined> {
  return path !== false && existsSync(path) ? parseEnv(readFileSync(path, 'utf8')) : {}
}

function definedOnly (values: Record<string, string | undefined>): Record<string, string> {
  const defined: Record<string, string> = {}
  for (const [name, value] of Object.entries(values)) {
    if (value !== undefined && value.trim() !== '') defined[name] = value.trim()
  }
  return defined
}

function withSecretFiles (given: Record<string, string>, problems: string[]): Record<string, string> {
  for (const name of SECRET_SETTINGS) {
    const path = given[`${name}_FILE`]
    if (path === undefined) continue
    if (given[name] !== undefined) {
      problems.push(`${name} and ${name}_FILE are both set: keep one of them`)
      continue
    }
    try {
      given[name] = readFileSync(path, 'utf8').trim()
      if (given[name] === '') problems.push(`${name}_FILE names an empty file: put the value into it`)
    } catch (err) {
      problems.push(`${name}_FILE cannot be read (${(err as NodeJS.ErrnoException).code}): set it to a file that Seed may read`)
    }
  }
  return given
}

/** Coerces and checks each variable by itself; a variable that fails is reported and falls back to its default, so that the rest is checked too. */
function validate (given: Record<string, string>, problems: string[]): Env {
  try {
    return coerce(given)
  } catch (err) {
    const values = { ...given }
    for (const { instancePath, keyword, message, params } of (err as { errors: SchemaError[] }).errors) {
      const name = instancePath.slice(1)
      problems.push(`${name} ${explain(keyword, message, params)} (it is "${given[name]}")`)
      delete values[name]
    }
    return coerce(values)
  }
}

interface SchemaError {
  instancePath: string
  keyword: string
  message: string
  params: { allowedValues?: string[], type?: string }
}

/** All that is wrong at once, as `errors` of what is thrown. */
function coerce (data: Record<string, string>): Env {
  return envSchema<Env>({ schema: structuredClone(EnvSchema), env: false, data: { ...data } })
}

function explain (keyword: string, message: string, params: SchemaError['params']): string {
  if (keyword === 'enum') return `must be one of ${params.allowedValues!.join(', ')}`
  if (params.type === 'integer') return 'must be a whole number'
  if (params.type === 'boolean') return 'must be true or false'
  return message
}

function toConfig (env: Env, problems: string[]) {
  const baseUrl = checkBaseUrl(env.BASE_URL ?? `http://localhost:${env.PORT}`, problems)
  const authRequired = env.AUTH_REQUIRED
  const issuer = env.OIDC_ISSUER ?? ''
  const preset = findPreset(env.OIDC_PROVIDER as PresetName | undefined, issuer)
  if (authRequired) checkProvider(env, problems)
  if (authRequired && env.OAUTH_MODE === 'broker') checkBroker(env, problems)
  if (authRequired && env.OAUTH_MODE === 'proxy' && preset.brokerOnly !== undefined) {
    problems.push(`OAUTH_MODE must be broker for ${preset.name}: ${preset.brokerOnly}`)
  }
  if (authRequired && preset.needsCredential && env.OIDC_CLIENT_SECRET === undefined && env.OIDC_CLIENT_KEY === undefined) {
    problems.push(`OIDC_CLIENT_SECRET is missing: ${preset.name} demands it`)
  }
  if (preset.name === 'auth0' && issuer !== '' && !issuer.endsWith('/')) problems.push('OIDC_ISSUER must end with a slash for auth0')
  for (const name of ['OIDC_ISSUER', 'OIDC_DISCOVERY_URL', 'OAUTH_AUTHORIZATION_URL', 'OAUTH_TOKEN_URL', 'CIMD_PROBE_URL'] as const) {
    if (env[name] !== undefined) checkHttpsUrl(name, env[name], problems)
  }
  if (issuer.includes('?')) problems.push('OIDC_ISSUER must have no query')
  if (env.REDIS_URL !== undefined) checkRedisUrl(env.REDIS_URL, problems)
  checkRedisSettings(env.REDIS_URL, env.REDIS_SENTINEL_PASSWORD, env.REDIS_TLS_CA, problems)
  checkSecret('SEED_SECRET', env.SEED_SECRET, problems)
  checkSecret('SEED_SECRET_PREVIOUS', env.SEED_SECRET_PREVIOUS, problems)
  checkClientCredential(env, problems)

  const trustProxy = list(env.TRUST_PROXY)
  for (const range of trustProxy) checkAddressRange(range, problems)
  const corsExtraOrigins = list(env.CORS_EXTRA_ORIGINS)
  for (const origin of corsExtraOrigins) checkOrigin(origin, problems)
  const algorithms = list(env.OIDC_ALGORITHMS)
  for (const algorithm of algorithms) {
    if (!ALGORITHMS.includes(algorithm)) problems.push(`OIDC_ALGORITHMS must list asymmetric algorithms (${ALGORITHMS.join(', ')}); it has "${algorithm}"`)
  }
  const scopes = env.OIDC_SCOPES.split(' ').filter((scope) => scope !== '')
  if (!scopes.includes('openid')) problems.push('OIDC_SCOPES must include openid')
  const redirectUriSchemes = list(env.REDIRECT_URI_SCHEMES)
  for (const scheme of redirectUriSchemes) checkRedirectUriScheme(scheme, problems)

  const loopback = isLoopbackHost(new URL(baseUrl).hostname)
  return {
    port: env.PORT,
    /** Loopback unless Seed is meant to be reached from elsewhere; `localhost` listens on both address families. */
    host: env.HOST ?? (loopback || !authRequired ? 'localhost' : '0.0.0.0'),
    /** The public origin, without a trailing slash: also the authorization server's issuer. */
    baseUrl,
    /** The resource identifier of the MCP endpoint (RFC 8707), the `resource` of every document and challenge. */
    resource: `${baseUrl}/mcp`,
    trustProxy,
    allowedHosts: list(env.ALLOWED_HOSTS).map((host) => host.toLowerCase()),
    corsExtraOrigins,
    logLevel: env.LOG_LEVEL,
    shutdownDelaySeconds: env.SHUTDOWN_DELAY_SECONDS,
    shutdownGraceSeconds: env.SHUTDOWN_GRACE_SECONDS,
    authRequired,
    oauthMode: env.OAUTH_MODE as 'proxy' | 'broker',
    /** Both generations; undefined where none is set. */
    seedSecret: env.SEED_SECRET,
    seedSecretPrevious: env.SEED_SECRET_PREVIOUS,
    oidc: {
      preset,
      issuer,
      tenants: list(env.OIDC_TENANTS),
      audience: env.OIDC_AUDIENCE ?? '',
      discoveryUrl: env.OIDC_DISCOVERY_URL ?? `${issuer.replace(/\/$/, '')}/.well-known/openid-configuration`,
      authorizationUrl: env.OAUTH_AUTHORIZATION_URL,
      tokenUrl: env.OAUTH_TOKEN_URL,
      clientId: env.OIDC_CLIENT_ID ?? env.OIDC_AUDIENCE ?? '',
      clientSecret: env.OIDC_CLIENT_SECRET,
      clientKey: env.OIDC_CLIENT_KEY,
      clientKeyId: env.OIDC_CLIENT_KEY_ID,
      /** How Seed authenticates at the provider; undefined leaves it to the discovery document. */
      clientAuth: env.OIDC_CLIENT_AUTH as 'client_secret_basic' | 'client_secret_post' | 'private_key_jwt' | 'none' | undefined,
      scopes,
      algorithms,
      groupsClaim: env.OIDC_GROUPS_CLAIM ?? preset.groupsClaim
    },
    token: {
      clockSkewSeconds: env.TOKEN_CLOCK_SKEW_SECONDS,
      maxLifetimeSeconds: env.TOKEN_MAX_LIFETIME_SECONDS
    },
    /** Of the tokens and grants that Seed issues in broker mode, in seconds. */
    grant: {
      accessTokenTtlSeconds: env.ACCESS_TOKEN_TTL,
      refreshTokenTtlSeconds: env.REFRESH_TOKEN_TTL,
      maxAgeSeconds: env.GRANT_MAX_AGE,
      maxAgeUncheckedSeconds: env.GRANT_MAX_AGE_UNCHECKED
    },
    /** Scopes and those that they include, as pairs. */
    scopeHierarchy: readScopeHierarchy(env.SCOPE_HIERARCHY, problems),
    /** Who may sign in; an empty list or no rule admits everybody whom the provider does. */
    access: {
      groups: list(env.ACCESS_GROUPS),
      emailDomains: list(env.ACCESS_EMAIL_DOMAINS).map((domain) => domain.toLowerCase()),
      unverifiedEmail: env.ACCESS_EMAIL_UNVERIFIED ?? preset.trustsEmail,
      hostedDomains: list(env.ACCESS_HOSTED_DOMAINS).map((domain) => domain.toLowerCase()),
      claims: readClaimPairs(env.ACCESS_CLAIMS, problems),
      contact: env.ACCESS_CONTACT
    },
    redisUrl: env.REDIS_URL,
    redisKeyPrefix: env.REDIS_KEY_PREFIX,
    redisSentinelPassword: env.REDIS_SENTINEL_PASSWORD,
    redisTlsCa: env.REDIS_TLS_CA,
    /** Folders, files and packages with tools, prompts and resources, besides those in src. */
    extensions: list(env.SEED_EXTENSIONS),
    /** How many tools, prompts or resources one page of a list has. */
    listPageSize: env.LIST_PAGE_SIZE,
    /** Of the 2025 revisions, in seconds and numbers. */
    session: {
      idleTtlSeconds: env.SESSION_IDLE_TTL,
      maxAgeSeconds: env.SESSION_MAX_AGE,
      mostPerPrincipal: env.SESSIONS_PER_PRINCIPAL,
      mostInAll: env.SESSIONS_TOTAL
    },
    /** How long a tool may run, and how long it may wait for a person or another answer of the client. */
    tool: {
      timeoutSeconds: env.TOOL_TIMEOUT_SECONDS,
      inputTimeoutSeconds: env.INPUT_TIMEOUT_SECONDS
    },
    configuredClients: readConfiguredClients(env.OAUTH_CLIENTS, problems),
    clientDocuments: {
      enabled: env.CIMD_ENABLED,
      allowedHosts: list(env.CIMD_HOSTS).map((host) => host.toLowerCase()),
      probeUrl: env.CIMD_PROBE_URL
    },
    registration: {
      clientTtlSeconds: env.DCR_CLIENT_TTL,
      limitPerAddress: env.DCR_LIMIT_PER_ADDRESS,
      limitTotal: env.DCR_LIMIT_TOTAL,
      redirectUriSchemes
    },
    /** Requests a minute to each OAuth endpoint. */
    limits: {
      perAddress: env.OAUTH_LIMIT_PER_ADDRESS,
      perClient: env.OAUTH_LIMIT_PER_CLIENT
    },
    /** Of /mcp: requests a minute, and what may go on at once. */
    mcpLimits: {
      requestsPerAddress: env.MCP_LIMIT_PER_ADDRESS,
      requestsPerPrincipal: env.MCP_LIMIT_PER_PRINCIPAL,
      refusedPerAddress: env.MCP_LIMIT_REFUSED,
      callsPerPrincipal: env.CALLS_PER_PRINCIPAL,
      streamsPerPrincipal: env.STREAMS_PER_PRINCIPAL
    }
  }
}

function checkProvider (env: Env, problems: string[]): void {
  if (env.OIDC_ISSUER === undefined) problems.push('OIDC_ISSUER is missing: set it to the issuer URL of your OpenID provider (or AUTH_REQUIRED=false to serve without sign-in on this machine)')
  if (env.OAUTH_MODE === 'proxy' && env.OIDC_AUDIENCE === undefined && !problems.some((problem) => problem.startsWith('OIDC_AUDIENCE '))) {
    problems.push("OIDC_AUDIENCE is missing: set it to the audience of your provider's access tokens, usually the client id")
  }
  if (/^https:\/\/login\.microsoftonline\.com\/(common|organizations|consumers)\//.test(env.OIDC_ISSUER ?? '') && env.OIDC_TENANTS === '') {
    problems.push('OIDC_TENANTS is missing: with an OIDC_ISSUER of several tenants, list the ids of those that may sign in')
  }
}

function checkBroker (env: Env, problems: string[]): void {
  if (env.OIDC_CLIENT_ID === undefined && env.OIDC_AUDIENCE === undefined) {
    problems.push('OIDC_CLIENT_ID is missing: set it to the id of the client that you registered at the provider for Seed')
  }
  if (env.REDIS_URL !== undefined && env.SEED_SECRET === undefined) {
    problems.push('SEED_SECRET is missing: OAUTH_MODE=broker with REDIS_URL needs one secret for all replicas; make it with `openssl rand -base64 32`')
  }
}

function checkClientCredential (env: Env, problems: string[]): void {
  const { OIDC_CLIENT_AUTH: method, OIDC_CLIENT_KEY: key, OIDC_CLIENT_SECRET: secret } = env
  if (key !== undefined && !/^-----BEGIN PRIVATE KEY-----[\s\S]+-----END PRIVATE KEY-----$/.test(key)) {
    problems.push('OIDC_CLIENT_KEY must be a private key in PEM form (PKCS #8, "BEGIN PRIVATE KEY")')
  }
  if (key !== undefined && secret !== undefined) problems.push('OIDC_CLIENT_KEY and OIDC_CLIENT_SECRET are both set: keep one of them')
  if (method === 'private_key_jwt' && key === undefined) problems.push('OIDC_CLIENT_KEY is missing: OIDC_CLIENT_AUTH=private_key_jwt needs it')
  if (method?.startsWith('client_secret') && secret === undefined) problems.push(`OIDC_CLIENT_SECRET is missing: OIDC_CLIENT_AUTH=${method} needs it`)
}
