import type { TokenResponse } from '../../schemas/token.ts'
import type { Client } from '../clients/clients.ts'
import type { SignIn } from './sign-in.ts'

/** The part of the authorization server that OAUTH_MODE decides; everything else is the same for both. */
export interface Mode {
  signIn: SignIn
  tokenIssuer: TokenIssuer
  tokenRevoker: TokenRevoker
  /** Revokes what a person, or one of their sessions at the provider, has here. @returns how much, for the log */
  revokeFor (who: { subject: string } | { sid: string }): Promise<number>
}

/**
 * Issues tokens: one function per grant type (RFC 6749 section 4).
 *
 * They throw OAuthError, ProviderUnavailableError or StoreUnavailableError.
 */
export interface TokenIssuer {
  authorizationCode (request: CodeRequest, client: Client): Promise<TokenResponse>
  refreshToken (request: RefreshRequest, client: Client): Promise<TokenResponse>
}

export interface CodeRequest {
  code: string
  redirectUri: string | undefined
  codeVerifier: string
}

export interface RefreshRequest {
  refreshToken: string
  /** The scopes to narrow the new access token to. */
  scope: string | undefined
}

export interface TokenRevoker {
  /**
   * Revokes a token of this client and what it stands for. A token that is unknown, or another client's, is no error
   * (RFC 7009 section 2.2) and nothing happens.
   *
   * @throws OAuthError, StoreUnavailableError, ProviderUnavailableError when it could not be done now
   */
  revoke (token: string, hint: 'refresh_token' | 'access_token' | undefined, client: Client): Promise<void>
}
