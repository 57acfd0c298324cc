import { isLoopbackHost } from '../../net/addresses.ts'
import { OAuthError } from '../../errors/oauth-error.ts'

/** Parameters of an authorization response. A redirect URI that already has one could forge part of the response. */
const RESPONSE_PARAMETERS = [
  'code', 'state', 'iss', 'error', 'error_description', 'error_uri', 'id_token', 'access_token', 'token', 'response'
]

/**
 * Checks a redirect URI that a client registers (OAuth 2.1 section 2.3.1, RFC 8252): https anywhere, http on loopback,
 * and the private-use schemes that the operator lists. It must be written as a URL parser serializes it, so that no
 * two parsers disagree about the host.
 *
 * @param uri as the client sent it
 * @param schemes REDIRECT_URI_SCHEMES, without colon
 * @throws OAuthError invalid_redirect_uri
 */
export function checkRegistrableRedirectUri (uri: string, schemes: readonly string[]): void {
  const refusal = (why: string) => new OAuthError('invalid_redirect_uri', `A redirect URI ${why}`, {
    causeCode: 'redirect_uri_not_acceptable'
  })
  if (!URL.canParse(uri)) throw refusal('must be an absolute URI')
  const url = new URL(uri)
  const scheme = url.protocol.slice(0, -1)
  if (scheme === 'http') {
    if (!isLoopbackHost(url.hostname)) throw refusal('must use https, or http on localhost, 127.0.0.1 or [::1]')
  } else if (scheme !== 'https' && !schemes.includes(scheme)) {
    throw refusal('must use https, http on this machine, or a scheme that the server lists (REDIRECT_URI_SCHEMES)')
  }
  if (uri.includes('#')) throw refusal('must not contain a fragment')
  if (url.username !== '' || url.password !== '') throw refusal('must not contain a user name or password')
  if (uri.includes('*')) throw refusal('must not contain a wildcard')
  if (/%0[0-9a-f]|%1[0-9a-f]|%7f/i.test(uri)) throw refusal('must not contain control characters')
  if (url.href !== uri && url.href !== `${uri}/`) throw refusal('must be written in its normal form')
  if (uri.endsWith('?') || RESPONSE_PARAMETERS.some((name) => url.searchParams.has(name))) {
    throw refusal('must not contain a parameter of the authorization response')
  }
}

/**
 * Returns the redirect URIs of a registration or metadata document that Seed accepts. A client may list some for other
 * servers, or for platforms that this operator does not allow; the server says which it has registered (RFC 7591
 * section 3.2.1).
 *
 * @throws OAuthError invalid_redirect_uri, if none is acceptable
 */
export function registrableRedirectUris (uris: readonly string[], schemes: readonly string[]): string[] {
  const accepted = uris.filter((uri) => isRegistrable(uri, schemes))
  // Throws what is wrong with the first.
  if (accepted.length === 0) checkRegistrableRedirectUri(uris[0]!, schemes)
  return accepted
}

/** Removes the port of a loopback redirect URI, which a client chooses anew at each start (RFC 8252 section 7.3). */
export function withoutLoopbackPort (uri: string): string {
  if (!isLoopbackRedirectUri(uri)) return uri
  const url = new URL(uri)
  url.port = ''
  return url.href
}

/**
 * Returns true if `uri` is one of `registered`: the same string, except that an http loopback URI may have any port
 * (RFC 8252 section 7.3). Host, path and query are compared exactly: localhost is not 127.0.0.1.
 */
export function matchesRedirectUri (uri: string, registered: readonly string[]): boolean {
  return registered.some((candidate) => candidate === uri || differsInPortOnly(uri, candidate))
}

/** Returns true if `uri` is a well-formed http URI of this machine, in its normal form. */
export function isLoopbackRedirectUri (uri: string): boolean {
  return uri.startsWith('http:') && isRegistrable(uri, [])
}

function isRegistrable (uri: string, schemes: readonly string[]): boolean {
  try {
    checkRegistrableRedirectUri(uri, schemes)
    return true
  } catch {
    return false
  }
}

function differsInPortOnly (uri: string, registered: string): boolean {
  if (!isLoopbackRedirectUri(uri) || !isLoopbackRedirectUri(registered)) return false
  const [one, other] = [new URL(uri), new URL(registered)]
  return one.hostname === other.hostname && one.pathname === other.pathname && one.search === other.search
}
