import { SignJWT } from 'jose'
import { OAuthError } from '../errors/oauth-error.ts'
import { randomId } from '../crypto/keyring.ts'
import type { SigningKeys } from './signing-keys.ts'

/** What an access token says; the verifier reads it back as a principal (src/tokens/principal.ts). */
export interface AccessTokenContents {
  subject: string
  clientId: string
  scope: string
  grantId: string
  /** Claims about the person: name, email, groups. */
  identity: Readonly<Record<string, unknown>>
}

export interface AccessTokenOptions {
  signingKeys: SigningKeys
  /** BASE_URL */
  issuer: string
  /** BASE_URL/mcp, the one audience there is. */
  resource: string
  ttlSeconds: number
}

/** What /mcp takes at most (src/tokens/verifier.ts). */
const MAX_LENGTH = 8_192

/**
 * A JWT access token (RFC 9068 section 2): ES256, `at+jwt`, for this server's /mcp alone. The claim `grant` names the
 * grant it comes from, so that it can be ended with it.
 *
 * @throws OAuthError when the person's groups do not fit into a token
 */
export async function issueAccessToken ({ subject, clientId, scope, grantId, identity }: AccessTokenContents, { signingKeys, issuer, resource, ttlSeconds }: AccessTokenOptions): Promise<string> {
  const { kid, privateKey } = signingKeys.current()
  const now = Math.floor(Date.now() / 1_000)
  const token = await new SignJWT({ ...identity, iss: issuer, aud: resource, sub: subject, client_id: clientId, scope, grant: grantId, jti: randomId(16), iat: now, exp: now + ttlSeconds })
    .setProtectedHeader({ alg: 'ES256', typ: 'at+jwt', kid })
    .sign(privateKey)
  if (token.length <= MAX_LENGTH) return token
  throw new OAuthError('server_error', 'Your account is in more groups than fit into an access token; ask for the provider to send fewer', {
    statusCode: 403,
    detail: `the access token would have ${token.length} characters: let the provider send only the groups that matter (OIDC_GROUPS_CLAIM)`
  })
}
