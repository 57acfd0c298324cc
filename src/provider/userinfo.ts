import { OAuthError } from '../errors/oauth-error.ts'
import { parseJsonObject } from '../net/fetch.ts'
import { IdTokenError } from './id-token.ts'

/**
 * Reads a userinfo response: a JSON object, or a JWT where the provider signs it (OpenID Connect Core 1.0 section
 * 5.3.2).
 *
 * @throws OAuthError, ProviderUnavailableError
 */
export async function readUserinfo (
  response: Response, subject: string, verify: (token: string) => Promise<Record<string, unknown>>
): Promise<Record<string, unknown>> {
  const text = await response.text()
  const isJwt = response.headers.get('content-type')?.startsWith('application/jwt') === true
  const claims = isJwt && response.status === 200 ? await verifySigned(text.trim(), verify) : parseJsonObject(text)
  // Claims of another subject must not be used.
  if (response.status === 200 && claims?.['sub'] === subject) return claims
  throw unusable(`${response.status} ${claims === undefined
    ? 'without a JSON object'
    : 'and not for the subject that signed in'}`)
}

async function verifySigned (
  token: string, verify: (token: string) => Promise<Record<string, unknown>>
): Promise<Record<string, unknown>> {
  try {
    return await verify(token)
  } catch (err) {
    if (!(err instanceof IdTokenError)) throw err
    throw unusable(`with a JWT (application/jwt) that is not valid: ${err.message}. ` +
      'The provider can send plain JSON instead, if signing or encryption of userinfo is switched off for this client')
  }
}

function unusable (answer: string): OAuthError {
  return new OAuthError('server_error', 'The identity provider returned no usable response', {
    detail: `the provider's userinfo endpoint answered ${answer}`
  })
}
