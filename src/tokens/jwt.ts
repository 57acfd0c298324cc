import { isUtf8 } from 'node:buffer'
import type { JWSHeaderParameters, JWTPayload } from 'jose'
import { TokenError } from './token-error.ts'

/**
 * The longest access token that is accepted, in characters; no longer one is issued (src/tokens/issue-access-
 * token.ts).
 */
export const MAX_TOKEN_LENGTH = 8_192

const MAX_KID_LENGTH = 256

export interface ParsedJwt {
  header: JWSHeaderParameters & { alg: string }
  /** Not verified yet. */
  claims: JWTPayload
}

/**
 * Parses a signed JWT in compact serialization (RFC 7515 section 7.1). Encrypted tokens, which have five parts, are
 * refused before anything is decoded.
 *
 * @throws TokenError
 */
export function parseJwt (token: string, algorithms: readonly string[]): ParsedJwt {
  if (token.length > MAX_TOKEN_LENGTH) {
    throw new TokenError('invalid_format', `The access token is longer than ${MAX_TOKEN_LENGTH} characters`)
  }
  if (!/^[\w-]+\.[\w-]+\.[\w-]*$/.test(token)) {
    throw notSigned('not three base64url parts: does the provider issue opaque or encrypted access tokens? ' +
      '(an API or audience must be configured there; some want OIDC_RESOURCE; or OAUTH_MODE=broker accepts them)')
  }
  const dot = token.indexOf('.')
  const header = parseJson<ParsedJwt['header']>('header', token.slice(0, dot))
  const claims = parseJson<JWTPayload>('payload', token.slice(dot + 1, token.lastIndexOf('.')))
  checkHeader(header, algorithms)
  return { header, claims }
}

/** A JSON object in UTF-8, base64url-encoded (RFC 7515 section 5.2, steps 2 and 3). */
function parseJson<T extends object> (part: string, encoded: string): T {
  const bytes = Buffer.from(encoded, 'base64url')
  let value: unknown
  try {
    // One character beyond whole groups of four encodes nothing (RFC 4648 section 4); Node ignores it.
    if (encoded.length % 4 !== 1 && isUtf8(bytes)) value = JSON.parse(bytes.toString())
  } catch {}
  if (typeof value === 'object' && value !== null && !Array.isArray(value)) return value as T
  throw notSigned(`its ${part} is not a JSON object`)
}

/** The algorithm comes from configuration, and keys inside the header are ignored (RFC 8725 section 3.1). */
function checkHeader ({ alg, kid, crit, typ }: JWSHeaderParameters, algorithms: readonly string[]): void {
  if (typeof alg !== 'string' || !algorithms.includes(alg)) {
    throw new TokenError('invalid_token', 'The access token is signed with an algorithm that is not accepted',
      `alg ${JSON.stringify(alg)} is not in OIDC_ALGORITHMS`)
  }
  if (crit !== undefined) {
    throw new TokenError('invalid_token', 'The access token has critical header parameters that are not understood')
  }
  if (kid !== undefined && (typeof kid !== 'string' || kid.length > MAX_KID_LENGTH)) {
    throw new TokenError('invalid_token', 'The access token names no usable key')
  }
  if (typ !== undefined && !(typeof typ === 'string' && /^(application\/)?(at\+jwt|jwt)$/i.test(typ))) {
    throw new TokenError('invalid_claim', 'The token is not an access token', `header typ is ${JSON.stringify(typ)}`)
  }
}

function notSigned (detail: string): TokenError {
  return new TokenError('invalid_format', 'The access token is not a signed JWT', detail)
}
