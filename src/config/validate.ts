import { X509Certificate, createPrivateKey } from 'node:crypto'
import { isLoopbackHost } from '../net/addresses.ts'
import { checkConfiguredClients, readConfiguredClients } from './clients.ts'
import { findPreset } from '../provider-presets/find-preset.ts'
import { problem, quote } from './problem.ts'
import type { Problem, Problems, Setting } from './problem.ts'
import { parseRedisUrl } from './redis-url.ts'
import type { Env } from './schema.ts'
import { checkTrustedIssuers } from './trusted-issuers.ts'
import { checkItems, checkLists } from './validate-lists.ts'
import { parseList } from './values.ts'

/** Issuers of Entra ID that serve several tenants. */
const MULTI_TENANT_ISSUER = /^https:\/\/login\.microsoftonline\.com\/(common|organizations|consumers)\//

const URL_SETTINGS = [
  'OIDC_ISSUER', 'OIDC_DISCOVERY_URL', 'OAUTH_AUTHORIZATION_URL', 'OAUTH_TOKEN_URL', 'OAUTH_REVOCATION_URL',
  'CIMD_PROBE_URL'
] as const

/** A path of BASE_URL, without a slash at its end. Segments that begin with a dot would be resolved or hidden. */
const BASE_PATH = /^(\/[A-Za-z0-9_~-][A-Za-z0-9._~-]*)*$/

/** The first segments of Seed's routes: below such a path, a URL could mean two things (src/http/base-path.ts). */
const OWN_PATHS = ['mcp', 'oauth', 'connections', 'health', 'icon', 'authorize', 'token', 'register', 'revoke']

/** Returns every problem of settings that the schema accepts. */
export function validate (env: Env): Problem[] {
  return [
    ...checkBaseUrl(env),
    ...(env.AUTH_REQUIRED ? checkSignIn(env) : []),
    ...checkUrls(env),
    ...checkResource(env),
    ...checkProxies(env),
    ...checkTelemetry(env),
    ...checkRedis(env),
    ...checkServer(env),
    ...checkAudit(env),
    ...checkSecret('SEED_SECRET', env.SEED_SECRET),
    ...checkSecret('SEED_SECRET_PREVIOUS', env.SEED_SECRET_PREVIOUS),
    ...checkClientCredential(env),
    ...checkLists(env),
    ...checkSessionLimits(env),
    ...checkConfiguredClients(env.OAUTH_CLIENTS, env.OAUTH_MODE).map((text) => problem('OAUTH_CLIENTS', text)),
    ...checkIssuers(env)
  ]
}

function checkIssuers (env: Env): Problem[] {
  return checkTrustedIssuers(env.TRUSTED_ISSUERS, {
    mode: env.OAUTH_MODE,
    baseUrl: (env.BASE_URL ?? '').replace(/\/$/, ''),
    provider: env.OIDC_ISSUER,
    tenants: parseList(env.OIDC_TENANTS),
    providerClientId: env.OIDC_CLIENT_ID,
    clientIds: readConfiguredClients(env.OAUTH_CLIENTS).map(({ id }) => id)
  }).map((text) => problem('TRUSTED_ISSUERS', text))
}

function missing (setting: Setting, text: string): Problem {
  return problem(setting, `is missing: ${text}`)
}

function * checkBaseUrl ({ BASE_URL: value }: Env): Problems {
  if (value === undefined) return
  const problems = [...checkHttpsUrl('BASE_URL', value)]
  yield * problems
  if (problems.length > 0) return
  const { origin } = new URL(value)
  const path = value.slice(origin.length).replace(/\/$/, '')
  if (!value.startsWith(origin) || !BASE_PATH.test(path)) {
    const form = 'https://seed.example.com or https://example.com/seed'
    const rules = 'the host in lower case, without default port or query, and a path only of letters, digits, ".", ' +
      '"-", "_" and "~"'
    yield problem('BASE_URL', `must be like ${form}: ${rules} (it is "${value}")`)
  } else if (path.endsWith('/mcp')) {
    yield problem('BASE_URL', `must not end with /mcp: the endpoint is BASE_URL with /mcp behind it (it is "${value}")`)
  } else if (OWN_PATHS.includes(path.split('/')[1] ?? '')) {
    yield problem('BASE_URL', `must have a path that does not begin with a path of Seed's own (it is "${value}")`)
  }
}

/** Settings that sign-in needs, on its own or in a mode or with a preset. */
function * checkSignIn (env: Env): Problems {
  const broker = env.OAUTH_MODE === 'broker'
  const issuer = env.OIDC_ISSUER ?? ''
  const preset = findPreset(env.OIDC_PROVIDER, issuer)
  if (issuer === '') {
    yield missing(
      'OIDC_ISSUER',
      'set it to the issuer URL of your OpenID provider (or set AUTH_REQUIRED=false)'
    )
  }
  if (!broker && env.OIDC_AUDIENCE === undefined) {
    yield missing('OIDC_AUDIENCE', "set it to the audience of your provider's access tokens, usually the client id")
  }
  if (MULTI_TENANT_ISSUER.test(issuer) && env.OIDC_TENANTS === '') {
    yield missing('OIDC_TENANTS', 'OIDC_ISSUER covers several tenants; list the ids of those that may sign in')
  }
  if (broker && env.OIDC_CLIENT_ID === undefined && env.OIDC_AUDIENCE === undefined) {
    yield missing('OIDC_CLIENT_ID', 'set it to the id of the client that you registered for Seed at the provider')
  }
  if (broker && env.REDIS_URL !== undefined && env.SEED_SECRET === undefined) {
    const reason = 'OAUTH_MODE=broker with REDIS_URL needs one for all replicas'
    yield missing('SEED_SECRET', `${reason}; make it with \`openssl rand -base64 32\``)
  }
  if (!broker && (env.ENTERPRISE_AUTHORIZATION ?? 'off') !== 'off') {
    yield problem('ENTERPRISE_AUTHORIZATION', 'needs OAUTH_MODE=broker: with OAUTH_MODE=proxy the provider issues ' +
      'the access tokens, so it must be the one that takes ID-JAGs for them')
  }
  if (!broker && preset.brokerOnly !== undefined) {
    yield problem('OAUTH_MODE', `must be broker for ${preset.name}: ${preset.brokerOnly}`)
  }
  if (preset.needsCredential && env.OIDC_CLIENT_SECRET === undefined && env.OIDC_CLIENT_KEY === undefined) {
    yield missing('OIDC_CLIENT_SECRET', `${preset.name} requires it`)
  }
}

function * checkUrls (env: Env): Problems {
  const issuer = env.OIDC_ISSUER ?? ''
  if (issuer !== '' && findPreset(env.OIDC_PROVIDER, issuer).name === 'auth0' && !issuer.endsWith('/')) {
    yield problem('OIDC_ISSUER', 'must end with a slash for auth0')
  }
  for (const setting of URL_SETTINGS) {
    const allowsHttp = env.OIDC_ALLOW_INSECURE_HTTP && setting !== 'CIMD_PROBE_URL'
    if (env[setting] !== undefined) yield * checkHttpsUrl(setting, env[setting], allowsHttp)
  }
  const [discoveryUrl, base] = /^(.*?)\/?\/\.well-known\/[^/]+\/?$/.exec(issuer) ?? []
  if (discoveryUrl !== undefined) {
    yield problem('OIDC_ISSUER', `is the URL of a discovery document: set OIDC_ISSUER=${base}, or what the document ` +
      'names as "issuer" (the slash at its end counts)')
  }
  if (issuer.includes('?')) yield problem('OIDC_ISSUER', 'must not contain a query')
}

function * checkProxies (env: Env): Problems {
  for (const setting of ['HTTPS_PROXY', 'HTTP_PROXY'] as const) {
    const value = env[setting]
    if (value === undefined || (URL.canParse(value) && /^https?:$/.test(new URL(value).protocol))) continue
    yield problem(setting,
      `must be the URL of an HTTP proxy, such as http://proxy.example.com:3128 (it is ${quote(value)})`)
  }
}

function * checkTelemetry (env: Env): Problems {
  const { METRICS_PORT: port, PORT } = env
  if (port !== undefined && port !== 0 && port === PORT) {
    yield problem('METRICS_PORT', 'must be another port than PORT: metrics are not for the public')
  }
  yield * checkOtlpEndpoint('OTEL_EXPORTER_OTLP_ENDPOINT', env, 'http://localhost:4318')
  yield * checkOtlpEndpoint('OTEL_EXPORTER_OTLP_TRACES_ENDPOINT', env, 'http://localhost:4318/v1/traces')
}

function * checkOtlpEndpoint (
  setting: 'OTEL_EXPORTER_OTLP_ENDPOINT' | 'OTEL_EXPORTER_OTLP_TRACES_ENDPOINT', env: Env, example: string
): Problems {
  const endpoint = env[setting]
  if (endpoint === undefined) return
  const url = URL.canParse(endpoint) ? new URL(endpoint) : undefined
  if (url?.username || url?.password) {
    yield problem(setting,
      'must have no user and password, as it is logged: OTEL_EXPORTER_OTLP_HEADERS is for credentials')
  } else if (!/^https?:$/.test(url?.protocol ?? '')) {
    yield problem(setting, `must be a URL such as ${example} (it is ${quote(endpoint)})`)
  }
}

/** A resource identifier is an absolute URI without a fragment (RFC 8707 section 2). */
function * checkResource ({ OIDC_RESOURCE: value }: Env): Problems {
  if (value === undefined || (URL.canParse(value) && !value.includes('#'))) return
  yield problem('OIDC_RESOURCE', `must be an absolute URI without a fragment (it is ${quote(value)})`)
}

/** Accepts https, and http on this machine, without user and fragment. */
function * checkHttpsUrl (setting: Setting, value: string, allowsHttp = false): Problems {
  const url = URL.canParse(value) ? new URL(value) : null
  if (url === null || (url.protocol !== 'https:' && url.protocol !== 'http:')) {
    yield problem(setting, `must be a URL beginning with https:// (it is ${quote(value)})`)
  } else if (url.username !== '' || url.password !== '') {
    yield problem(setting, 'must not contain a user name or password')
  } else if (url.protocol === 'http:' && !isLoopbackHost(url.hostname) && !allowsHttp) {
    const exception = setting.startsWith('O') ? ', or with OIDC_ALLOW_INSECURE_HTTP=true in a cluster' : ''
    yield problem(setting, `must use https; plain http is accepted for localhost only${exception} (it is "${value}")`)
  } else if (value.includes('#')) {
    yield problem(setting, 'must not contain a fragment')
  }
}

function * checkRedis (env: Env): Problems {
  const { REDIS_URL: url, REDIS_SENTINEL_PASSWORD: sentinelPassword, REDIS_TLS_CA: tlsCa } = env
  try {
    if (url !== undefined) parseRedisUrl(url)
  } catch (err) {
    yield problem('REDIS_URL', (err as Error).message)
  }
  if (sentinelPassword !== undefined && !/^rediss?\+sentinel:/i.test(url ?? '')) {
    yield problem('REDIS_SENTINEL_PASSWORD', 'is set, but REDIS_URL names no sentinels (redis+sentinel://)')
  }
  if (tlsCa !== undefined && !/^rediss/i.test(url ?? '')) {
    yield problem('REDIS_TLS_CA', 'is set, but REDIS_URL does not ask for TLS (rediss://)')
  }
  if (tlsCa !== undefined && !isCertificates(tlsCa)) {
    yield problem('REDIS_TLS_CA', 'must be certificates in PEM form ("BEGIN CERTIFICATE")')
  }
}

function isCertificates (pem: string): boolean {
  const certificates = pem.match(/-----BEGIN CERTIFICATE-----.+?-----END CERTIFICATE-----/gs) ?? []
  try {
    return certificates.map((certificate) => new X509Certificate(certificate)).length > 0
  } catch {
    return false
  }
}

/** Names under /.well-known that Seed itself answers. */
const OWN_WELL_KNOWN_FILES = [
  'oauth-protected-resource', 'oauth-authorization-server', 'openid-configuration', 'jwks.json'
]
const MAX_WELL_KNOWN_FILES = 16

function * checkServer (env: Env): Problems {
  if (!/^[A-Za-z0-9][A-Za-z0-9._-]*$/.test(env.SERVER_NAME)) {
    yield problem('SERVER_NAME', `must have letters, digits, ".", "_" and "-" only (it is ${quote(env.SERVER_NAME)})`)
  }
  for (const setting of ['SERVER_WEBSITE', 'SERVER_POLICY_URL', 'SERVER_TERMS_URL'] as const) {
    if (env[setting] !== undefined) yield * checkHttpsUrl(setting, env[setting])
  }
  const files = parseList(env.WELL_KNOWN_FILES)
  if (files.length > MAX_WELL_KNOWN_FILES) {
    yield problem('WELL_KNOWN_FILES', `must have at most ${MAX_WELL_KNOWN_FILES} files`)
  }
  const names = files.map((pair) => pair.split('=')[0]!.trim())
  const repeated = names.find((name, index) => names.indexOf(name) < index)
  if (repeated !== undefined) yield problem('WELL_KNOWN_FILES', `has ${quote(repeated)} more than once`)
  yield * checkItems('WELL_KNOWN_FILES', files, isWellKnownFile,
    'must list names under /.well-known, other than those of Seed itself, and their texts, such as ' +
    'openai-apps-challenge=token')
}

/** A name of lower-case letters, digits, ".", "_" and "-", and up to 1,024 visible ASCII characters of text. */
function isWellKnownFile (pair: string): boolean {
  const name = /^([a-z0-9][a-z0-9._-]{0,63}) *= *[\x20-\x7e]{1,1024}$/.exec(pair)?.[1]
  return name !== undefined && !OWN_WELL_KNOWN_FILES.includes(name)
}

function * checkAudit ({ AUDIT_LOG: target, AUDIT_CHAIN_KEY: key }: Env): Problems {
  if (target !== 'off' && target !== 'stdout' && !/[/\\]./.test(target)) {
    const form = 'must be off, stdout, or the path of a file such as /var/log/seed/audit.log'
    yield problem('AUDIT_LOG', `${form} (it is ${quote(target)})`)
  }
  yield * checkSecret('AUDIT_CHAIN_KEY', key)
}

/** Keys are derived from these secrets, so short ones could be guessed. */
function * checkSecret (setting: Setting, value: string | undefined): Problems {
  if (value === undefined || value.length >= 32) return
  yield problem(setting, 'must have at least 32 characters: make one with `openssl rand -base64 32`')
}

/** A limit of a person that is no smaller than the one of all lets one person use up what is everybody's. */
function * checkSessionLimits ({ SESSIONS_PER_PRINCIPAL: perPrincipal, SESSIONS_TOTAL: total }: Env): Problems {
  if (perPrincipal < total) return
  yield problem('SESSIONS_PER_PRINCIPAL', 'must be less than SESSIONS_TOTAL, or one person can use up the sessions ' +
    `of everybody (they are ${perPrincipal} and ${total})`)
}

function * checkClientCredential (env: Env): Problems {
  const { OIDC_CLIENT_AUTH: method, OIDC_CLIENT_KEY: key, OIDC_CLIENT_SECRET: secret } = env
  if (key !== undefined && !/^-----BEGIN PRIVATE KEY-----[\s\S]+-----END PRIVATE KEY-----$/.test(key)) {
    yield problem('OIDC_CLIENT_KEY', 'must be a private key in PEM form (PKCS #8, "BEGIN PRIVATE KEY")')
  } else if (key !== undefined && !isP256OrRsa(key)) {
    yield problem('OIDC_CLIENT_KEY', 'must be a P-256 or RSA key: providers verify ES256 or RS256')
  }
  if (method === 'none' && (key !== undefined || secret !== undefined)) {
    const credential = key === undefined ? 'OIDC_CLIENT_SECRET' : 'OIDC_CLIENT_KEY'
    yield problem('OIDC_CLIENT_AUTH', `is none, but ${credential} is set: remove one of them`)
  }
  if (key !== undefined && secret !== undefined) {
    yield problem('OIDC_CLIENT_KEY', 'and OIDC_CLIENT_SECRET are both set: keep one of them')
  }
  if (method === 'private_key_jwt' && key === undefined) {
    yield missing('OIDC_CLIENT_KEY', 'OIDC_CLIENT_AUTH=private_key_jwt needs it')
  }
  if (method?.startsWith('client_secret') === true && secret === undefined) {
    yield missing('OIDC_CLIENT_SECRET', `OIDC_CLIENT_AUTH=${method} needs it`)
  }
}

/** The keys that importPrivateKey of src/provider accepts. */
function isP256OrRsa (pem: string): boolean {
  try {
    const { asymmetricKeyType: type, asymmetricKeyDetails: details } = createPrivateKey(pem)
    return type === 'rsa' || (type === 'ec' && details?.namedCurve === 'prime256v1')
  } catch {
    return false
  }
}
