import type { Endpoint } from '../../config/endpoints.ts'
import type { TokenResponse } from '../../schemas/token.ts'
import type { TraceStep } from '../../trace/step.ts'
import type { Client } from '../clients/clients.ts'
import type { SignIn } from './sign-in.ts'

/** A person, a session at the provider, or both (OpenID Connect Back-Channel Logout 1.0, section 2.4). */
export type LogoutOwner = { subject: string, sid?: undefined } | { sid: string, subject?: string | undefined }

/** The part of the authorization server that OAUTH_MODE decides; everything else is the same for both. */
export interface Mode {
  signIn: SignIn
  tokenIssuer: TokenIssuer
  tokenRevoker: TokenRevoker
  /**
   * Revokes what a person, or one of their sessions at the provider, has here. With both, what belongs to the session,
   * and what of the person belongs to no session.
   *
   * @returns how many grants ended; undefined where the provider keeps them, and only its access tokens are refused
   */
  revokeFor (who: LogoutOwner): Promise<number | undefined>
}

/**
 * Issues tokens: one function per grant type (RFC 6749 section 4). A grant type without function is not supported:
 * the mode or the configuration has none.
 *
 * `step` learns which sign-in a request belongs to. They throw OAuthError, ProviderUnavailableError or
 * StoreUnavailableError.
 */
export interface TokenIssuer {
  authorizationCode?: ((request: CodeRequest, client: Client, step?: TraceStep) => Promise<TokenResponse>) | undefined
  refreshToken (request: RefreshRequest, client: Client, step?: TraceStep): Promise<TokenResponse>
  clientCredentials?: ((request: ClientCredentialsRequest, client: Client) => Promise<TokenResponse>) | undefined
  /** RFC 7523 section 2.1, with an ID-JAG */
  jwtBearer?: ((request: AssertionRequest, client: Client) => Promise<TokenResponse>) | undefined
  /** RFC 7523 section 2.1, with the token of a workload and without client authentication */
  workloadToken?: WorkloadTokenIssuer | undefined
}

/** Verifies the token of a workload. Nothing is issued before `issue` is called. */
export type WorkloadTokenIssuer = (assertion: string) => Promise<IdentifiedWorkload>

export interface IdentifiedWorkload {
  /** The name of the service, which is its client id too. */
  service: string
  /**
   * Refuses a token that is spent or revoked, without spending it: such a one is no credential any more.
   *
   * @throws OAuthError, StoreUnavailableError
   */
  checkUsable (): Promise<void>
  /** @param scope space-separated; all scopes of the service without it */
  issue (request: ClientCredentialsRequest): Promise<TokenResponse>
}

export interface AssertionRequest extends TargetedRequest {
  assertion: string
  /** Space-separated; all that the assertion stands for without it. */
  scope: string | undefined
}

export interface ClientCredentialsRequest {
  /** Space-separated; all scopes of the service without it. */
  scope: string | undefined
  /** The MCP endpoint that the token is for. */
  endpoint: Endpoint
}

interface TargetedRequest {
  /** The MCP endpoint that the request names as its resource (RFC 8707 section 2.2); undefined if it names none. */
  target?: Endpoint | undefined
}

export interface CodeRequest extends TargetedRequest {
  code: string
  redirectUri: string | undefined
  codeVerifier: string
}

export interface RefreshRequest extends TargetedRequest {
  refreshToken: string
  /** The scopes to narrow the new access token to. */
  scope: string | undefined
}

/** The grant or tokens that ended with a token, for the audit log. */
export interface RevokedToken {
  issuer?: string
  subject?: string
  /** The grant of broker mode, or the family of refresh tokens of proxy mode. */
  grant?: string
}

export interface TokenRevoker {
  /**
   * Revokes a token of this client and what it stands for. A token that is unknown, or another client's, is no error
   * (RFC 7009 section 2.2) and nothing happens.
   *
   * @returns what ended; undefined if nothing did
   * @throws OAuthError, StoreUnavailableError, ProviderUnavailableError when it could not be done now
   */
  revoke (
    token: string, hint: 'refresh_token' | 'access_token' | undefined, client: Client
  ): Promise<RevokedToken | undefined>
}
