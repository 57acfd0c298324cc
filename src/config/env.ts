import { existsSync, readFileSync } from 'node:fs'
import { isIP } from 'node:net'
import { parseEnv } from 'node:util'
import { envSchema } from 'env-schema'
import { Type } from 'typebox'
import type { Static } from 'typebox'

/**
 * Configuration: environment in, one frozen object out.
 *
 * `EnvSchema` is the only list of settings; .env.example follows its order. A setting whose name is in
 * SECRET_SETTINGS may also be given as NAME_FILE, a path to a file that holds the value (container secrets).
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
  SHUTDOWN_GRACE_SECONDS: Type.Integer({ minimum: 0, maximum: 600, default: 5 }),
  // Authentication
  AUTH_REQUIRED: Type.Boolean({ default: true }),
  OAUTH_MODE: Type.Enum(['proxy'], { default: 'proxy' }),
  OIDC_ISSUER: Type.Optional(Type.String()),
  OIDC_AUDIENCE: Type.Optional(Type.String({ maxLength: 512 })),
  OIDC_DISCOVERY_URL: Type.Optional(Type.String()),
  OAUTH_AUTHORIZATION_URL: Type.Optional(Type.String()),
  OAUTH_TOKEN_URL: Type.Optional(Type.String()),
  OIDC_CLIENT_ID: Type.Optional(Type.String({ maxLength: 512 })),
  OIDC_CLIENT_SECRET: Type.Optional(Type.String()),
  OIDC_SCOPES: Type.String({ default: 'openid profile email offline_access' }),
  OIDC_ALGORITHMS: Type.String({ default: 'RS256,PS256,ES256,EdDSA' }),
  OIDC_GROUPS_CLAIM: Type.String({ minLength: 1, default: 'groups' }),
  TOKEN_CLOCK_SKEW_SECONDS: Type.Integer({ minimum: 0, maximum: 300, default: 30 }),
  TOKEN_MAX_LIFETIME_SECONDS: Type.Integer({ minimum: 60, default: 86400 }),
  // Store
  REDIS_URL: Type.Optional(Type.String()),
  REDIS_KEY_PREFIX: Type.String({ default: 'seed:' }),
  // Client registration
  DCR_CLIENT_TTL: Type.Integer({ minimum: 60, default: 2592000 }),
  DCR_LIMIT_PER_ADDRESS: Type.Integer({ minimum: 1, default: 10 }),
  DCR_LIMIT_TOTAL: Type.Integer({ minimum: 1, default: 1000 }),
  REDIRECT_URI_SCHEMES: Type.String({ default: 'cursor,vscode,vscode-insiders' })
})
type Env = Static<typeof EnvSchema>

export const SECRET_SETTINGS = ['OIDC_CLIENT_SECRET', 'REDIS_URL'] as const

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

/** Whether `hostname` (as URL.hostname gives it) can only mean this machine. */
export function isLoopbackHost (hostname: string): boolean {
  return hostname === 'localhost' || hostname === '127.0.0.1' || hostname === '[::1]' || hostname === '::1'
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
  if (authRequired) {
    if (env.OIDC_ISSUER === undefined) problems.push('OIDC_ISSUER is missing: set it to the issuer URL of your OpenID provider (or AUTH_REQUIRED=false to serve without sign-in on this machine)')
    if (env.OIDC_AUDIENCE === undefined && !problems.some((problem) => problem.startsWith('OIDC_AUDIENCE '))) problems.push("OIDC_AUDIENCE is missing: set it to the audience of your provider's access tokens, usually the client id")
  }
  if (env.OIDC_ISSUER !== undefined) checkHttpsUrl('OIDC_ISSUER', env.OIDC_ISSUER, problems)
  if (env.OIDC_ISSUER?.match(/[?#]/)) problems.push('OIDC_ISSUER must have no query and no fragment')
  for (const name of ['OIDC_DISCOVERY_URL', 'OAUTH_AUTHORIZATION_URL', 'OAUTH_TOKEN_URL'] as const) {
    const value = env[name]
    if (value !== undefined) checkHttpsUrl(name, value, problems)
    if (value?.includes('#')) problems.push(`${name} must have no fragment`)
  }
  if (env.REDIS_URL !== undefined) checkRedisUrl(env.REDIS_URL, problems)

  const trustProxy = list(env.TRUST_PROXY)
  for (const range of trustProxy) {
    if (!isAddressRange(range)) problems.push(`TRUST_PROXY must list addresses or CIDR ranges of your proxies, such as 10.0.0.0/8 (it has "${range}")`)
  }
  const corsExtraOrigins = list(env.CORS_EXTRA_ORIGINS)
  for (const origin of corsExtraOrigins) {
    if (!isOrigin(origin)) problems.push(`CORS_EXTRA_ORIGINS must list origins such as https://claude.ai, without a path (it has ${quoted(origin)})`)
  }
  const algorithms = list(env.OIDC_ALGORITHMS)
  for (const algorithm of algorithms) {
    if (!ALGORITHMS.includes(algorithm)) problems.push(`OIDC_ALGORITHMS must list asymmetric algorithms (${ALGORITHMS.join(', ')}); it has "${algorithm}"`)
  }
  const scopes = env.OIDC_SCOPES.split(' ').filter((scope) => scope !== '')
  if (!scopes.includes('openid')) problems.push('OIDC_SCOPES must include openid')
  const redirectUriSchemes = list(env.REDIRECT_URI_SCHEMES)
  for (const scheme of redirectUriSchemes) {
    if (!/^[a-z][a-z0-9+.-]*$/.test(scheme) || UNSAFE_SCHEMES.includes(scheme)) {
      problems.push(`REDIRECT_URI_SCHEMES must list private-use schemes of desktop clients, such as cursor (it has "${scheme}")`)
    }
  }

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
    shutdownGraceSeconds: env.SHUTDOWN_GRACE_SECONDS,
    authRequired,
    oauthMode: env.OAUTH_MODE,
    oidc: {
      issuer: env.OIDC_ISSUER ?? '',
      audience: env.OIDC_AUDIENCE ?? '',
      discoveryUrl: env.OIDC_DISCOVERY_URL ?? `${(env.OIDC_ISSUER ?? '').replace(/\/$/, '')}/.well-known/openid-configuration`,
      authorizationUrl: env.OAUTH_AUTHORIZATION_URL,
      tokenUrl: env.OAUTH_TOKEN_URL,
      clientId: env.OIDC_CLIENT_ID ?? env.OIDC_AUDIENCE ?? '',
      clientSecret: env.OIDC_CLIENT_SECRET,
      scopes,
      algorithms,
      groupsClaim: env.OIDC_GROUPS_CLAIM
    },
    token: {
      clockSkewSeconds: env.TOKEN_CLOCK_SKEW_SECONDS,
      maxLifetimeSeconds: env.TOKEN_MAX_LIFETIME_SECONDS
    },
    redisUrl: env.REDIS_URL,
    redisKeyPrefix: env.REDIS_KEY_PREFIX,
    registration: {
      clientTtlSeconds: env.DCR_CLIENT_TTL,
      limitPerAddress: env.DCR_LIMIT_PER_ADDRESS,
      limitTotal: env.DCR_LIMIT_TOTAL,
      redirectUriSchemes
    }
  }
}

/** Schemes that a browser would run or open itself; never a redirect target, whatever is configured. */
const UNSAFE_SCHEMES = ['http', 'https', 'javascript', 'data', 'vbscript', 'file', 'blob', 'about', 'mailto', 'view-source', 'intent', 'ws', 'wss', 'ftp']

function checkBaseUrl (value: string, problems: string[]): string {
  const origin = value.replace(/\/$/, '')
  const before = problems.length
  checkHttpsUrl('BASE_URL', value, problems)
  if (problems.length > before) return 'http://localhost:3000'
  if (new URL(value).origin !== origin) {
    problems.push(`BASE_URL must be an origin such as https://seed.example.com, in lower case, without default port, path, query or user (it is "${value}")`)
    return 'http://localhost:3000'
  }
  return origin
}

function checkHttpsUrl (name: string, value: string, problems: string[]): void {
  const url = parseUrl(value)
  if (url === null || (url.protocol !== 'https:' && url.protocol !== 'http:')) {
    problems.push(`${name} must be a URL beginning with https:// (it is ${quoted(value)})`)
  } else if (url.username !== '' || url.password !== '') {
    problems.push(`${name} must hold no user name or password`)
  } else if (url.protocol === 'http:' && !isLoopbackHost(url.hostname)) {
    problems.push(`${name} must use https; plain http is for this machine (localhost) only (it is "${value}")`)
  }
}

function checkRedisUrl (value: string, problems: string[]): void {
  const url = parseUrl(value)
  if (url === null || (url.protocol !== 'redis:' && url.protocol !== 'rediss:')) {
    problems.push('REDIS_URL must be a URL such as redis://:password@redis:6379 (or rediss:// for TLS)')
  }
}

/** What was set, for a problem's text; a URL that may hold a password is not shown. */
function quoted (value: string): string {
  return value.includes('@') ? 'not shown, as it has an @' : `"${value}"`
}

function parseUrl (value: string): URL | null {
  return URL.canParse(value) ? new URL(value) : null
}

function list (value: string): string[] {
  return value.split(',').map((item) => item.trim()).filter((item) => item !== '')
}

function isOrigin (value: string): boolean {
  const url = parseUrl(value)
  return url !== null && (url.protocol === 'https:' || url.protocol === 'http:') && url.origin === value && !value.includes('*')
}

function isAddressRange (value: string): boolean {
  const [address = '', prefix, ...rest] = value.split('/')
  const family = isIP(address)
  if (family === 0 || rest.length > 0) return false
  return prefix === undefined || (/^\d{1,3}$/.test(prefix) && Number(prefix) >= 1 && Number(prefix) <= (family === 4 ? 32 : 128))
}

function deepFreeze<T extends object> (value: T): T {
  for (const inner of Object.values(value)) {
    if (typeof inner === 'object' && inner !== null) deepFreeze(inner)
  }
  return Object.freeze(value)
}
