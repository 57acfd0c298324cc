import { isJsonObject } from './description.ts'
import type { ApiDescription, Json } from './description.ts'
import type { Operation } from './operations.ts'

/** The header of a secret, and what stands in front of the secret. */
export interface SecretHeader {
  name: string
  prefix: string
  /** Whether the secret is a user's name and password (RFC 7617). */
  isBasic: boolean
}

const BEARER: SecretHeader = { name: 'authorization', prefix: 'Bearer ', isBasic: false }
const SECRET_HEADER = /^(x-[\w-]+|[\w-]*(key|secret|token)|authorization)$/i
/** Security schemes that are read: no description needs more. */
const MAX_SCHEMES = 50
/** Names of parameters that are secrets, whether or not a description has a security scheme for them. */
const CREDENTIALS = new Map<unknown, RegExp>([
  ['header', new RegExp('^(secret|token)$|^([a-z\\d]+[-_])*' +
    '(access|api|app|application|auth|client|service|session|subscription|user)[-_]?(key|secret|token)$')],
  ['query', /^(access|api|auth|oauth)[-_]?(key|token)$/]
])

/** Returns the security schemes of a description. */
function schemesOf ({ document, resolve }: ApiDescription): Json[] {
  const components = isJsonObject(document['components']) ? document['components'] : {}
  const schemes = isJsonObject(components['securitySchemes']) ? Object.values(components['securitySchemes']) : []
  return schemes.slice(0, MAX_SCHEMES).map(resolve)
}

/**
 * Returns the header of the first security scheme that has one; without, that of the first parameter that is a secret,
 * and that of bearer tokens otherwise.
 */
export function secretHeaderOf (api: ApiDescription, operations: readonly Operation[]): SecretHeader {
  const ofScheme = schemesOf(api).map(toSecretHeader).find((header) => header !== undefined)
  if (ofScheme !== undefined) return ofScheme
  const name = credentialsOf(api, operations, 'header').find((name) => SECRET_HEADER.test(name))
  // A header "token" beside the standard one is a way of some descriptions to say "a bearer token".
  return name === undefined || name === 'token' ? BEARER : { name, prefix: '', isBasic: false }
}

function toSecretHeader ({ type, scheme, in: location, name }: Json): SecretHeader | undefined {
  if (type === 'oauth2' || type === 'openIdConnect') return BEARER
  if (type === 'http') {
    return /^basic$/i.test(String(scheme)) ? { name: 'authorization', prefix: 'Basic ', isBasic: true } : BEARER
  }
  return type === 'apiKey' && location === 'header' && SECRET_HEADER.test(String(name))
    ? { name: String(name).toLowerCase(), prefix: '', isBasic: false }
    : undefined
}

/** Tells whether a parameter is a secret: no argument of a tool, as models must not know it. */
export function isCredential (api: ApiDescription, { in: location, name }: Json): boolean {
  const pattern = CREDENTIALS.get(location)
  const lower = String(name).toLowerCase()
  return pattern !== undefined && (pattern.test(lower) || schemesOf(api).some((scheme) =>
    scheme['type'] === 'apiKey' && scheme['in'] === location && String(scheme['name']).toLowerCase() === lower))
}

/** Returns the secrets among the parameters of operations: their names, in lower case, each once. */
export function credentialsOf (
  api: ApiDescription, operations: readonly Operation[], location: 'header' | 'query'
): string[] {
  const names = operations.flatMap(({ operation, pathItem }) => [pathItem['parameters'], operation['parameters']])
    .flatMap((list) => Array.isArray(list) ? list.map(api.resolve) : [])
    .filter((parameter) => parameter['in'] === location && isCredential(api, parameter))
    .map(({ name }) => String(name).toLowerCase())
  return [...new Set(names)]
}
