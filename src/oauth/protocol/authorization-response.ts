import type { OAuthError } from '../../errors/oauth-error.ts'

/** Authorization responses (RFC 6749 sections 4.1.2 and 4.1.2.1), always with `iss` (RFC 9207). */
export interface ResponseTarget {
  /** Checked against the client's. */
  redirectUri: string
  state?: string | undefined
}

/** @param issuer BASE_URL */
export function codeRedirect (target: ResponseTarget, code: string, issuer: string): URL {
  return redirect(target, { code }, issuer)
}

/** Of the request only `state` comes back; the texts are ours. */
export function errorRedirect (target: ResponseTarget, { code, message }: Pick<OAuthError, 'code' | 'message'>, issuer: string): URL {
  return redirect(target, { error: code, error_description: message }, issuer)
}

function redirect ({ redirectUri, state }: ResponseTarget, parameters: Record<string, string>, issuer: string): URL {
  const url = new URL(redirectUri)
  for (const [name, value] of Object.entries(parameters)) url.searchParams.set(name, value)
  if (state !== undefined) url.searchParams.set('state', state)
  url.searchParams.set('iss', issuer)
  return url
}
