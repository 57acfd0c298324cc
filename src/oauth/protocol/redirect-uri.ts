import { isLoopbackHost } from '../../net/addresses.ts'
import { OAuthError } from '../../errors/oauth-error.ts'

/** Query parameters of an authorization response: a redirect URI that already holds one could be made to speak for us. */
const RESPONSE_PARAMETERS = ['code', 'state', 'iss', 'error', 'error_description', 'error_uri', 'id_token', 'access_token', 'token', 'response']

/**
 * What may be registered (OAuth 2.1 section 2.3.1, RFC 8252): https anywhere, http on loopback, and private-use
 * schemes that the operator lists. The string must be what a URL parser writes back, so that no two readers of it
 * disagree about the host.
 *
 * @param uri as the client sent it
 * @param schemes REDIRECT_URI_SCHEMES, without colon
 * @throws OAuthError invalid_redirect_uri with what is wrong
 */
export function checkRegistrableRedirectUri (uri: string, schemes: readonly string[]): void {
  const refuse = (why: string) => new OAuthError('invalid_redirect_uri', `A redirect URI ${why}`)
  if (!URL.canParse(uri)) throw refuse('must be an absolute URI')
  const url = new URL(uri)
  const scheme = url.protocol.slice(0, -1)
  if (scheme === 'http') {
    if (!isLoopbackHost(url.hostname)) throw refuse('must use https, or http on localhost, 127.0.0.1 or [::1]')
  } else if (scheme !== 'https' && !schemes.includes(scheme)) {
    throw refuse('must use https, http on this machine, or a scheme that the server lists (REDIRECT_URI_SCHEMES)')
  }
  if (uri.includes('#')) throw refuse('must have no fragment')
  if (url.username !== '' || url.password !== '') throw refuse('must hold no user name or password')
  if (uri.includes('*')) throw refuse('must hold no wildcard')
  if (/%0[0-9a-f]|%1[0-9a-f]|%7f/i.test(uri)) throw refuse('must hold no control characters')
  if (url.href !== uri && url.href !== `${uri}/`) throw refuse('must be written in its normal form')
  if (uri.endsWith('?') || RESPONSE_PARAMETERS.some((name) => url.searchParams.has(name))) {
    throw refuse('must hold no parameter of the authorization response')
  }
}

/**
 * Whether `uri` is one of `registered`: the same string, except that the port of an http loopback URI is free
 * (RFC 8252 section 7.3). Host, path and query stay exact: localhost is not 127.0.0.1.
 */
export function matchesRedirectUri (uri: string, registered: readonly string[]): boolean {
  return registered.some((candidate) => candidate === uri || sameLoopback(uri, candidate))
}

/** Whether `uri` is a well-formed http URI of this machine, in its normal form. */
export function isLoopbackRedirectUri (uri: string): boolean {
  try {
    checkRegistrableRedirectUri(uri, [])
    return uri.startsWith('http:')
  } catch {
    return false
  }
}

function sameLoopback (uri: string, candidate: string): boolean {
  if (!isLoopbackRedirectUri(uri) || !isLoopbackRedirectUri(candidate)) return false
  const [given, known] = [new URL(uri), new URL(candidate)]
  return given.hostname === known.hostname && given.pathname === known.pathname && given.search === known.search
}
