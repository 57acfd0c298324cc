import { SignJWT } from 'jose'
import { OAuthError } from '../errors/oauth-error.ts'
import { randomId } from '../crypto/hash.ts'
import { MAX_TOKEN_LENGTH } from './jwt.ts'
import type { Authentication } from './authentication.ts'
import { GRANT_TYPE_CLAIM, KIND_CLAIM } from './principal.ts'
import type { PrincipalGrantType, PrincipalKind } from './principal.ts'
import type { SigningKeys } from './signing-keys.ts'

/** The contents of an access token; the verifier reads them back as a principal (principal.ts). */
export interface AccessTokenContents {
  /** The URL of the MCP endpoint: the only audience. */
  resource: string
  subject: string
  clientId: string
  scope: string
  /** The grant that the token comes from; the id of no grant for a token that has none. */
  grantId: string
  kind: PrincipalKind
  grantType: PrincipalGrantType
  /** The person's authentication at the provider; undefined where none is known. */
  authentication: Partial<Authentication> | undefined
  /** Claims about the caller: name, email, groups. */
  identity: Readonly<Record<string, unknown>>
}

export interface AccessTokenOptions {
  signingKeys: SigningKeys
  /** BASE_URL */
  issuer: string
  ttlSeconds: number
}

/**
 * Issues a JWT access token (RFC 9068 section 2): ES256, `at+jwt`, for one MCP endpoint alone. The claim `grant`
 * names the grant that it comes from: revoking the grant revokes the token.
 *
 * Kind and grant type are in it unless they are those of a person who signed in: most tokens stay short.
 *
 * @throws OAuthError when the person's groups do not fit into a token
 */
export async function issueAccessToken (contents: AccessTokenContents, options: AccessTokenOptions): Promise<string> {
  const { kid, privateKey } = options.signingKeys.current()
  const now = Math.floor(Date.now() / 1_000)
  const claims = {
    ...contents.identity,
    iss: options.issuer,
    aud: contents.resource,
    sub: contents.subject,
    client_id: contents.clientId,
    scope: contents.scope,
    grant: contents.grantId,
    jti: randomId(16),
    iat: now,
    exp: now + options.ttlSeconds,
    // RFC 9068 section 2.2.1
    auth_time: contents.authentication?.authenticatedAt,
    acr: contents.authentication?.acr,
    amr: contents.authentication?.amr,
    // Undefined members are omitted, and replace a claim of the provider that has this name.
    [KIND_CLAIM]: contents.kind === 'person' ? undefined : contents.kind,
    [GRANT_TYPE_CLAIM]: contents.grantType === 'authorization_code' ? undefined : contents.grantType
  }
  const token = await new SignJWT(claims).setProtectedHeader({ alg: 'ES256', typ: 'at+jwt', kid }).sign(privateKey)
  if (token.length <= MAX_TOKEN_LENGTH) return token
  const message = 'Your account is in more groups than fit into an access token; ask for the provider to send fewer'
  throw new OAuthError('server_error', message, {
    statusCode: 403,
    detail: `the access token would have ${token.length} characters: ` +
      'let the provider send only the groups that matter (OIDC_GROUPS_CLAIM)'
  })
}
