import type { OAuthError } from '../../errors/oauth-error.ts'
import { toDescription } from './error-description.ts'

/** The part of an authorization request that its response depends on. */
export interface ResponseTarget {
  /** One of the client's, already checked. */
  redirectUri: string
  state?: string | undefined
  /** Leads the operator to the sign-in. Requests of earlier versions have none. */
  reference?: string | undefined
}

/**
 * Returns the redirect of a successful authorization response (RFC 6749 section 4.1.2), with `iss` (RFC 9207).
 * @param issuer BASE_URL
 */
export function codeRedirect (target: ResponseTarget, code: string, issuer: string): URL {
  return responseRedirect(target, { code }, issuer)
}

/**
 * Returns the redirect of an authorization error (RFC 6749 section 4.1.2.1). `state` is the only value taken from the
 * request; all texts are Seed's own.
 * @param issuer BASE_URL, sent as `iss` (RFC 9207); undefined where the metadata does not advertise it, as clients must
 * not rely on it then (section 2.4)
 */
export function errorRedirect (
  target: ResponseTarget,
  { code, message }: Pick<OAuthError, 'code' | 'message'>,
  issuer: string | undefined
): URL {
  const description = target.reference === undefined ? message : withReference(message, target.reference)
  return responseRedirect(target, { error: code, error_description: toDescription(description) }, issuer)
}

/**
 * Adds the reference to a description of an error. Clients show the description to people, and OAuth has no other place
 * for it: they ignore parameters that they do not know (RFC 6749 section 4.1.2.1).
 */
export function withReference (description: string, reference: string): string {
  return `${description} (reference ${reference})`
}

function responseRedirect (
  target: ResponseTarget, parameters: Record<string, string>, issuer: string | undefined
): URL {
  const { redirectUri, state } = target
  const url = new URL(redirectUri)
  for (const [name, value] of Object.entries(parameters)) url.searchParams.set(name, value)
  if (state !== undefined) url.searchParams.set('state', state)
  if (issuer !== undefined) url.searchParams.set('iss', issuer)
  return url
}
