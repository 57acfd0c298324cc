import { isIP } from 'node:net'
import { problem, quote } from './problem.ts'
import type { Problems, Setting } from './problem.ts'
import type { Env } from './schema.ts'
import { parseJsonList, parseList } from './values.ts'

/** Signature algorithms that may be accepted: asymmetric ones only (RFC 8725 section 3.1). */
export const ALGORITHMS = [
  'RS256', 'RS384', 'RS512', 'PS256', 'PS384', 'PS512', 'ES256', 'ES384', 'ES512', 'EdDSA', 'Ed25519'
]

/** Schemes that a browser would run or open itself. They are never redirect targets, whatever is configured. */
const UNSAFE_SCHEMES = [
  'http', 'https', 'javascript', 'data', 'vbscript', 'file', 'blob', 'about', 'mailto', 'view-source', 'intent', 'ws',
  'wss', 'ftp'
]

/** Every setting that is a list; OIDC_SCOPES is separated by spaces, the others by commas. */
const LIST_SETTINGS = [
  'TRUST_PROXY', 'ALLOWED_HOSTS', 'CORS_EXTRA_ORIGINS', 'WELL_KNOWN_FILES', 'AUDIT_REDACT', 'OIDC_TENANTS',
  'OIDC_SCOPES', 'SCOPE_HIERARCHY', 'OIDC_ALGORITHMS', 'ACCESS_GROUPS', 'ACCESS_EMAIL_DOMAINS',
  'ACCESS_HOSTED_DOMAINS', 'ACCESS_CLAIMS', 'SEED_EXTENSIONS', 'CIMD_HOSTS', 'REDIRECT_URI_SCHEMES'
] as const

/** Begins like a JSON array, and not like an IPv6 address in brackets. */
const JSON_LIKE = /^\[(?![0-9a-f.]*:[0-9a-f:.]*\])/i

/** An attribute of a distinguished name (RFC 4514 section 3). */
const LDAP_ATTRIBUTE = /^(cn|ou|dc|o|uid|l|st|street|c)\s*=/i

/** Checks the settings that are lists: their form, and each item. */
export function * checkLists (env: Env): Problems {
  const malformed = LIST_SETTINGS.filter((setting) => {
    return JSON_LIKE.test(env[setting]) && parseJsonList(env[setting]) === undefined
  })
  for (const setting of malformed) {
    yield problem(setting, 'begins with "[" but is not a JSON array of strings, such as ["one","two"]')
  }
  for (const found of checkListItems(env)) if (!malformed.some((name) => name === found.setting)) yield found
}

/** A name such as cn=eng,ou=groups,dc=example would be three items of a comma-separated list, each good by itself. */
function * checkLdapNames (setting: 'ACCESS_GROUPS' | 'ACCESS_CLAIMS', { [setting]: value }: Env): Problems {
  const items = parseList(value)
  if (items.length < 2 || parseJsonList(value) !== undefined) return
  const isPart = setting === 'ACCESS_GROUPS'
    ? (item: string) => LDAP_ATTRIBUTE.test(item)
    : (item: string) => LDAP_ATTRIBUTE.test(item.slice(item.indexOf('=') + 1).trimStart())
  const part = items.find(isPart)
  if (part === undefined) return
  const example = setting === 'ACCESS_GROUPS' ? 'cn=eng,ou=groups,dc=example' : 'memberOf=cn=eng,ou=groups,dc=example'
  yield problem(setting, `has ${quote(part)}, which looks like a part of an LDAP name: names with commas need the ` +
    `form of a JSON array, such as ["${example}"]`)
}

function * checkListItems (env: Env): Problems {
  yield * checkLdapNames('ACCESS_GROUPS', env)
  yield * checkLdapNames('ACCESS_CLAIMS', env)
  yield * checkItems('TRUST_PROXY', parseList(env.TRUST_PROXY), isAddressRange,
    'must list IP addresses or CIDR ranges of your proxies, such as 10.0.0.0/8')
  yield * checkItems('CORS_EXTRA_ORIGINS', parseList(env.CORS_EXTRA_ORIGINS), isOrigin,
    'must list origins such as https://claude.ai, without a path')
  yield * checkItems('OIDC_ALGORITHMS', parseList(env.OIDC_ALGORITHMS), (name) => ALGORITHMS.includes(name),
    `must list asymmetric algorithms (${ALGORITHMS.join(', ')})`)
  yield * checkItems('REDIRECT_URI_SCHEMES', parseList(env.REDIRECT_URI_SCHEMES), isPrivateUseScheme,
    'must list private-use schemes of desktop clients, such as cursor')
  yield * checkItems('ACCESS_CLAIMS', parseList(env.ACCESS_CLAIMS), isClaimPair,
    'must list claims and their values, such as department=Engineering,active=true')
  for (const setting of ['ACCESS_EMAIL_DOMAINS', 'ACCESS_HOSTED_DOMAINS'] as const) {
    yield * checkItems(setting, parseList(env[setting]), (item) => /^@?[^@\s]+$/.test(item),
      'must list domains such as example.com, not addresses')
  }
  yield * checkItems('SCOPE_HIERARCHY', parseList(env.SCOPE_HIERARCHY), isScopePair,
    'must list pairs of scopes, the wider one first, such as tickets:admin>tickets:write')
  if (!parseList(env.OIDC_SCOPES, ' ').includes('openid')) yield problem('OIDC_SCOPES', 'must include openid')
}

/** Checks each item of a list. @param text says what the list must have */
export function * checkItems (
  setting: Setting, items: string[], isValid: (item: string) => boolean, text: string
): Problems {
  for (const item of items) if (!isValid(item)) yield problem(setting, `${text} (it has ${quote(item)})`)
}

function isAddressRange (range: string): boolean {
  const [address = '', prefix, ...rest] = range.split('/')
  const family = isIP(address)
  if (family === 0 || rest.length > 0) return false
  if (prefix === undefined) return true
  return /^\d{1,3}$/.test(prefix) && Number(prefix) >= 1 && Number(prefix) <= (family === 4 ? 32 : 128)
}

/** Schemes whose pages have no host that says where they come from, or that have no pages. */
const FORBIDDEN_ORIGIN_SCHEMES = ['blob:', 'data:', 'file:', 'javascript:', 'ws:', 'wss:', 'ftp:']

/** Accepts origins as browsers send them. */
function isOrigin (value: string): boolean {
  const url = URL.canParse(value) ? new URL(value) : null
  if (url === null || value.includes('*')) return false
  if (['https:', 'http:'].includes(url.protocol)) return url.origin === value
  // Browser extensions and desktop applications: `chrome-extension://<id>`. URL knows no origin of theirs.
  return /^[a-z][a-z0-9+.-]*:\/\/[a-z0-9._-]+$/.test(value) && !FORBIDDEN_ORIGIN_SCHEMES.includes(url.protocol)
}

function isPrivateUseScheme (scheme: string): boolean {
  return /^[a-z][a-z0-9+.-]*$/.test(scheme) && !UNSAFE_SCHEMES.includes(scheme)
}

function isClaimPair (pair: string): boolean {
  return /^[^\s=][^=]*=/.test(pair)
}

/** Accepts two scopes of the characters that RFC 6749 section 3.3 allows. */
function isScopePair (pair: string): boolean {
  const scopes = pair.split('>').map((scope) => scope.trim())
  return scopes.length === 2 && scopes.every((scope) => /^[\x21\x23-\x3b\x3d\x3f-\x5b\x5d-\x7e]+$/.test(scope))
}
