import type { IncomingMessage } from 'node:http'
import { BearerError } from '../errors/bearer-error.ts'
import { singleHeader } from './single-header.ts'

const SCHEME = 'bearer '

/**
 * Returns the bearer token of a request (RFC 6750 section 2.1). It is accepted in the Authorization header only. A
 * second header, or a token in the query, is refused, so that no proxy in front of Seed can read another token than
 * Seed does. The verifier checks the token's characters.
 *
 * @throws BearerError
 */
export function readBearerToken ({ rawHeaders, url }: Pick<IncomingMessage, 'rawHeaders' | 'url'>): string {
  const value = singleHeader({ rawHeaders }, 'authorization')
  if (value === null) throw new BearerError('invalid_request', 'Send one Authorization header')
  if (value === undefined) {
    throw new BearerError('missing_token', 'Sign in: this server needs an access token in the Authorization header')
  }
  if (hasQueryToken(url)) {
    throw new BearerError('invalid_request', 'Send the access token once, in the Authorization header')
  }
  const token = tokenOf(value)
  if (value.slice(0, SCHEME.length).toLowerCase() !== SCHEME || token === '' || token.includes(' ')) {
    throw new BearerError('invalid_format', 'The Authorization header must be "Bearer" and one access token')
  }
  return token
}

/** RFC 9110 section 11.4: one or more spaces, and no other white space, stand before the credential. */
function tokenOf (value: string): string {
  let start = SCHEME.length
  while (value[start] === ' ') start++
  return value.slice(start)
}

/** Decodes the query as other readers do: `access%5Ftoken` is the same parameter. */
function hasQueryToken (url = ''): boolean {
  const start = url.indexOf('?')
  return start !== -1 && new URLSearchParams(url.slice(start)).has('access_token')
}
