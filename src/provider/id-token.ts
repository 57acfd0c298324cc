import { compactVerify, decodeJwt, decodeProtectedHeader } from 'jose'
import type { JWTVerifyGetKey } from 'jose'
import * as oauth from 'oauth4webapi'
import { expectedIssuer } from './issuer.ts'
import { ProviderUnavailableError } from './discovery.ts'

/**
 * Validation of ID tokens (OpenID Connect Core 1.0 sections 3.1.3.7 and 12.2): the signature against the provider's
 * keys, whatever TLS would permit, and the claims by oauth4webapi.
 */
export interface IdTokenOptions {
  issuer: string
  tenants: readonly string[]
  clientId: string
  algorithms: readonly string[]
  clockSkewSeconds: number
  getKey: JWTVerifyGetKey
}

/** The ID token is not one to believe. The message is for the log. */
export class IdTokenError extends Error {
  override readonly name = 'IdTokenError'
}

export type IdTokenClaims = Record<string, unknown> & { iss: string, sub: string }

interface ExpectedRequest {
  nonce: string
  maxAgeSeconds: number | undefined
}

/**
 * @param expected `nonce` and `max_age` of the authorization request; without them, the token comes from a refresh
 * @throws IdTokenError, ProviderUnavailableError (its keys cannot be had now)
 */
export async function verifyIdToken (token: string, options: IdTokenOptions, expected?: ExpectedRequest): Promise<IdTokenClaims> {
  const { alg } = refuseUnless(() => decodeProtectedHeader(token))
  if (alg === undefined || !options.algorithms.includes(alg)) throw new IdTokenError(`signed with alg ${JSON.stringify(alg)}, which OIDC_ALGORITHMS does not list`)
  const issuer = expectedIssuer(options, refuseUnless(() => decodeJwt(token)))
  if (issuer === undefined) throw new IdTokenError('its tid is not one of OIDC_TENANTS')
  await verifySignature(token, options.getKey)

  const server: oauth.AuthorizationServer = { issuer, id_token_signing_alg_values_supported: [...options.algorithms] }
  const client: oauth.Client = { client_id: options.clientId, [oauth.clockTolerance]: options.clockSkewSeconds }
  const response = Response.json({ access_token: 'not looked at', token_type: 'bearer', id_token: token })
  const claims = await readClaims(server, client, response, expected)
  if (claims.sub === '') throw new IdTokenError('its sub is empty')
  // Whoever asked for it is whom it was issued to (section 3.1.3.7); the library looks at azp only beside several audiences.
  if (claims['azp'] !== undefined && claims['azp'] !== options.clientId) throw new IdTokenError('its azp is another client')
  return claims
}

async function readClaims (server: oauth.AuthorizationServer, client: oauth.Client, response: Response, expected: ExpectedRequest | undefined): Promise<IdTokenClaims> {
  try {
    const result = expected === undefined
      ? await oauth.processRefreshTokenResponse(server, client, response)
      : await oauth.processAuthorizationCodeResponse(server, client, response, {
        expectedNonce: expected.nonce,
        requireIdToken: true,
        ...(expected.maxAgeSeconds !== undefined && { maxAge: expected.maxAgeSeconds })
      })
    return oauth.getValidatedIdTokenClaims(result)!
  } catch (err) {
    throw new IdTokenError((err as Error).message, { cause: err })
  }
}

/** What the provider cannot answer for now passes; everything else is the token's fault. */
async function verifySignature (token: string, getKey: JWTVerifyGetKey): Promise<void> {
  try {
    await compactVerify(token, getKey)
  } catch (err) {
    if (err instanceof ProviderUnavailableError) throw err
    throw new IdTokenError(`its signature is not valid (${(err as Error).message})`, { cause: err })
  }
}

function refuseUnless<T> (read: () => T): T {
  try {
    return read()
  } catch (err) {
    throw new IdTokenError('it is not a signed JWT', { cause: err })
  }
}
