import { X509Certificate } from 'node:crypto'
import { isIP } from 'node:net'
import { parseRedisUrl } from './redis-url.ts'

/** What a setting's value must look like. Each check adds to `problems` a sentence that names the setting and what to set. */

/** Whether `hostname` (as URL.hostname gives it) can only mean this machine. */
export function isLoopbackHost (hostname: string): boolean {
  return hostname === 'localhost' || hostname === '127.0.0.1' || hostname === '[::1]' || hostname === '::1'
}

/** Schemes that a browser would run or open itself; never a redirect target, whatever is configured. */
const UNSAFE_SCHEMES = ['http', 'https', 'javascript', 'data', 'vbscript', 'file', 'blob', 'about', 'mailto', 'view-source', 'intent', 'ws', 'wss', 'ftp']

/** @returns the origin, or a stand-in when it is none, so that the other settings are checked too */
export function checkBaseUrl (value: string, problems: string[]): string {
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

/** https, or http on this machine; no user, no fragment. */
export function checkHttpsUrl (name: string, value: string, problems: string[]): void {
  const url = URL.canParse(value) ? new URL(value) : null
  if (url === null || (url.protocol !== 'https:' && url.protocol !== 'http:')) {
    problems.push(`${name} must be a URL beginning with https:// (it is ${quoted(value)})`)
  } else if (url.username !== '' || url.password !== '') {
    problems.push(`${name} must hold no user name or password`)
  } else if (url.protocol === 'http:' && !isLoopbackHost(url.hostname)) {
    problems.push(`${name} must use https; plain http is for this machine (localhost) only (it is "${value}")`)
  } else if (value.includes('#')) {
    problems.push(`${name} must have no fragment`)
  }
}

export function checkRedisUrl (value: string, problems: string[]): void {
  try {
    parseRedisUrl(value)
  } catch (err) {
    problems.push(`REDIS_URL ${(err as Error).message}`)
  }
}

/** Settings of Redis that mean nothing, or something else than meant, with this REDIS_URL. */
export function checkRedisSettings (url: string | undefined, sentinelPassword: string | undefined, tlsCa: string | undefined, problems: string[]): void {
  if (sentinelPassword !== undefined && !/^rediss?\+sentinel:/i.test(url ?? '')) problems.push('REDIS_SENTINEL_PASSWORD is set, but REDIS_URL names no sentinels (redis+sentinel://)')
  if (tlsCa === undefined) return
  if (!/^rediss/i.test(url ?? '')) problems.push('REDIS_TLS_CA is set, but REDIS_URL does not ask for TLS (rediss://)')
  if (!isCertificates(tlsCa)) problems.push('REDIS_TLS_CA must be certificates in PEM form ("BEGIN CERTIFICATE")')
}

function isCertificates (pem: string): boolean {
  const certificates = pem.match(/-----BEGIN CERTIFICATE-----.+?-----END CERTIFICATE-----/gs) ?? []
  try {
    return certificates.map((certificate) => new X509Certificate(certificate)).length > 0
  } catch {
    return false
  }
}

/** Addresses or CIDR ranges, for TRUST_PROXY. */
export function checkAddressRange (value: string, problems: string[]): void {
  const [address = '', prefix, ...rest] = value.split('/')
  const family = isIP(address)
  const isRange = prefix === undefined || (/^\d{1,3}$/.test(prefix) && Number(prefix) >= 1 && Number(prefix) <= (family === 4 ? 32 : 128))
  if (family === 0 || rest.length > 0 || !isRange) {
    problems.push(`TRUST_PROXY must list addresses or CIDR ranges of your proxies, such as 10.0.0.0/8 (it has "${value}")`)
  }
}

/** An origin as browsers send it, for CORS_EXTRA_ORIGINS. */
export function checkOrigin (value: string, problems: string[]): void {
  const url = URL.canParse(value) ? new URL(value) : null
  if (url === null || !['https:', 'http:'].includes(url.protocol) || url.origin !== value || value.includes('*')) {
    problems.push(`CORS_EXTRA_ORIGINS must list origins such as https://claude.ai, without a path (it has ${quoted(value)})`)
  }
}

export function checkRedirectUriScheme (value: string, problems: string[]): void {
  if (!/^[a-z][a-z0-9+.-]*$/.test(value) || UNSAFE_SCHEMES.includes(value)) {
    problems.push(`REDIRECT_URI_SCHEMES must list private-use schemes of desktop clients, such as cursor (it has "${value}")`)
  }
}

/** A secret that keys are derived from: short ones can be guessed. */
export function checkSecret (name: string, value: string | undefined, problems: string[]): void {
  if (value !== undefined && value.length < 32) problems.push(`${name} must have at least 32 characters: make one with \`openssl rand -base64 32\``)
}

/** `name=value` pairs, comma-separated, for ACCESS_CLAIMS. */
export function readClaimPairs (value: string, problems: string[]): Array<{ claim: string, value: string }> {
  return list(value).map((pair) => {
    const [claim = '', ...rest] = pair.split('=')
    if (claim === '' || rest.length === 0) problems.push(`ACCESS_CLAIMS must list claims and their values, such as department=Engineering,active=true (it has "${pair}")`)
    return { claim: claim.trim(), value: rest.join('=').trim() }
  })
}

/** `wider>narrower` pairs, comma-separated, for SCOPE_HIERARCHY. */
export function readScopeHierarchy (value: string, problems: string[]): Array<[wider: string, narrower: string]> {
  return list(value).map((pair) => {
    const scopes = pair.split('>').map((scope) => scope.trim())
    const [wider = '', narrower = ''] = scopes
    // RFC 6749 section 3.3: what a scope may be made of.
    if (scopes.length !== 2 || !scopes.every((scope) => /^[\x21\x23-\x3b\x3d\x3f-\x5b\x5d-\x7e]+$/.test(scope))) problems.push(`SCOPE_HIERARCHY must list pairs of scopes, the wider one first, such as tickets:admin>tickets:write (it has "${pair}")`)
    return [wider, narrower]
  })
}

export function list (value: string): string[] {
  return value.split(',').map((item) => item.trim()).filter((item) => item !== '')
}

/** What was set, for a problem's text; a URL that may hold a password is not shown. */
function quoted (value: string): string {
  return value.includes('@') ? 'not shown, as it has an @' : `"${value}"`
}
