import { importPKCS8 } from 'jose'
import type { CryptoKey } from 'jose'
import * as oauth from 'oauth4webapi'
import { OAuthError } from '../errors/oauth-error.ts'

/** Credentials of Seed's client at the provider. */
export interface ClientCredentials {
  clientSecret: string | undefined
  /** A private key in PEM form (PKCS #8), for private_key_jwt. */
  clientKey: string | undefined
  clientKeyId: string | undefined
  /** OIDC_CLIENT_AUTH; undefined leaves the choice to the discovery document. */
  clientAuth: 'client_secret_basic' | 'client_secret_post' | 'private_key_jwt' | 'none' | undefined
}

/**
 * Chooses how Seed authenticates to the provider (OpenID Connect Core 1.0 section 9): with a key `private_key_jwt`,
 * with a secret `client_secret_basic` unless the provider does not support it, with neither `none`.
 *
 * @param supported `token_endpoint_auth_methods_supported`
 */
export async function clientAuthentication (
  { clientAuth, clientSecret, clientKey, clientKeyId }: ClientCredentials, supported: string[] | undefined
): Promise<oauth.ClientAuth> {
  if (clientAuth === 'none' || (clientSecret === undefined && clientKey === undefined)) return oauth.None()
  if (clientKey !== undefined) {
    const key = await importPrivateKey(clientKey)
    return oauth.PrivateKeyJwt(clientKeyId === undefined ? key : { key, kid: clientKeyId })
  }
  const lacksBasic = clientAuth === undefined && supported?.includes('client_secret_basic') === false
  const usePost = clientAuth === 'client_secret_post' || lacksBasic
  return usePost ? oauth.ClientSecretPost(clientSecret!) : oauth.ClientSecretBasic(clientSecret!)
}

/** Tries both algorithms: the PEM does not say which one the key is for. */
async function importPrivateKey (pem: string): Promise<CryptoKey> {
  for (const algorithm of ['ES256', 'RS256']) {
    try {
      return await importPKCS8(pem, algorithm)
    } catch {}
  }
  throw new OAuthError('server_error', 'The server cannot authenticate to the identity provider', {
    detail: 'OIDC_CLIENT_KEY must be a P-256 or RSA private key'
  })
}
