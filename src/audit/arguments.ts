import { createHmac } from 'node:crypto'
import { canonicalJson } from '../json/canonical-json.ts'

export interface ArgumentsOptions {
  /** AUDIT_ARGUMENTS */
  form: 'off' | 'digest' | 'full'
  /** AUDIT_REDACT: names of members whose values are left out, besides those of every secret. */
  redact: readonly string[]
  /** Key of the digest: without it, short arguments could be guessed from their digest. */
  key: Buffer
}

export type DescribeArguments = ReturnType<typeof createArgumentsDescription>

const SECRET_NAMES = [
  'password', 'passwd', 'passphrase', 'pin', 'secret', 'clientSecret', 'token', 'accessToken', 'refreshToken',
  'idToken', 'authToken', 'bearer', 'apiKey', 'privateKey', 'authorization', 'cookie', 'code', 'codeVerifier',
  'credential', 'credentials'
]
/**
 * A JWT, or the value of an Authorization header. A JWT begins where no other character of its alphabet precedes: with
 * `\b` a long run of `eyJ-` would have as many beginnings, each of which reads the rest.
 */
const TOKEN = /(?<![\w-])eyJ[\w-]{8,}\.[\w-]+\.[\w-]*|\b(bearer|basic)\s+[\w+/=.~-]{8,}/gi
const REDACTED = '[redacted]'
/** Characters of arguments that a line may hold; of longer ones it has the digest alone. */
const MAX_LENGTH = 8_192

/** Replaces what looks like a token in text from outside. */
export function redactTokens (text: string): string {
  return text.replace(TOKEN, REDACTED)
}

/** Describes the arguments of calls as AUDIT_ARGUMENTS says. */
export function createArgumentsDescription ({ form, redact, key }: ArgumentsOptions) {
  const names = new Set([...SECRET_NAMES, ...redact].map(normalize))

  function redacted (name: string, value: unknown): unknown {
    if (name !== '' && names.has(normalize(name))) return REDACTED
    return typeof value === 'string' ? redactTokens(value) : value
  }

  return function describeArguments (given: unknown): { argumentsDigest?: string, arguments?: unknown } {
    if (form === 'off' || given === undefined) return {}
    if (form === 'full') {
      const text = JSON.stringify(given, redacted)
      if (text.length <= MAX_LENGTH) return { arguments: JSON.parse(text) }
    }
    return { argumentsDigest: createHmac('sha256', key).update(canonicalJson(given)).digest('base64url') }
  }
}

/** `api_key`, `apiKey` and `API-Key` are one name. */
function normalize (name: string): string {
  return name.toLowerCase().replace(/[^a-z0-9]/g, '')
}
