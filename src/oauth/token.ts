import { ProviderUnavailableError } from '../oidc/provider.ts'
import { TokenError } from '../oidc/verifier.ts'
import type { TokenBody, TokenResponse } from '../schemas/token.ts'
import { upstreamScope } from './authorization.ts'
import { checkRedirectUri } from './clients.ts'
import type { Client, Clients } from './clients.ts'
import { OAuthError } from './errors.ts'
import { checkCodeVerifier } from './pkce.ts'
import { checkResource } from './resource.ts'
import type { Upstream } from './upstream.ts'

/** The token endpoint in proxy mode (RFC 6749 section 3.2): checks, then the provider's own tokens under Seed's roof. */
export interface TokenServices {
  clients: Clients
  upstream: Upstream
  /** Judges an access token as /mcp would. @throws TokenError, ProviderUnavailableError */
  verifyAccessToken: (token: string) => Promise<unknown>
  resource: string
  scopes: readonly string[]
  redirectUriSchemes: readonly string[]
}

/**
 * @param authorization the Authorization header, if any
 * @throws OAuthError, ProviderUnavailableError, StoreUnavailableError
 */
export async function issueTokens (body: TokenBody, authorization: string | undefined, services: TokenServices): Promise<TokenResponse> {
  checkGrantType(body)
  const client = await authenticateClient(body, authorization, services.clients)
  checkResource(body.resource, services.resource)
  const tokens = body.grant_type === 'authorization_code'
    ? await redeemCode(body, client, services)
    : await refresh(body, services)
  await checkUsable(tokens, services)
  return tokens
}

function checkGrantType ({ grant_type: type }: TokenBody): void {
  if (type !== 'authorization_code' && type !== 'refresh_token') {
    throw new OAuthError('unsupported_grant_type', 'grant_type must be authorization_code or refresh_token')
  }
}

/** Every client is public (RFC 6749 section 2.1): it names itself, and a credential it was never given is refused. */
async function authenticateClient (body: TokenBody, authorization: string | undefined, clients: Clients): Promise<Client> {
  if (authorization !== undefined || body.client_secret !== undefined || body.client_assertion !== undefined) {
    throw new OAuthError('invalid_client', 'Clients of this server are public: send client_id in the body and no secret')
  }
  if (body.client_id === undefined) throw new OAuthError('invalid_client', 'client_id is required')
  return await clients.find(body.client_id)
}

/** RFC 6749 section 4.1.3. The provider made the code and binds it to redirect URI and challenge; the forms are checked here. */
async function redeemCode (body: TokenBody, client: Client, { upstream, redirectUriSchemes }: TokenServices): Promise<TokenResponse> {
  if (body.code === undefined) throw new OAuthError('invalid_request', 'code is required')
  checkCodeVerifier(body.code_verifier)
  const redirectUri = redirectUriOf(client, body.redirect_uri, redirectUriSchemes)
  return await upstream.requestTokens('authorization_code', {
    code: body.code, redirect_uri: redirectUri, code_verifier: body.code_verifier
  })
}

/** One that no code of this client can have been sent to is `invalid_grant` here (RFC 6749 section 5.2). */
function redirectUriOf (client: Client, given: string | undefined, schemes: readonly string[]): string {
  try {
    const redirectUri = checkRedirectUri(client, given, schemes)
    if (redirectUri === undefined) throw new OAuthError('invalid_request', 'redirect_uri is required')
    return redirectUri
  } catch (err) {
    const { code, message } = err as OAuthError
    throw new OAuthError(given === undefined && code === 'invalid_request' ? code : 'invalid_grant', message)
  }
}

/**
 * RFC 6749 section 6. Whether the scopes asked for are within the grant is the provider's to say; scopes that nobody can
 * have been granted are refused. A provider that does not rotate sends no new refresh token: the client keeps its own.
 */
async function refresh (body: TokenBody, { upstream, scopes }: TokenServices): Promise<TokenResponse> {
  if (body.refresh_token === undefined) throw new OAuthError('invalid_request', 'refresh_token is required')
  if (body.scope !== undefined && !body.scope.split(' ').some((scope) => scopes.includes(scope))) {
    throw new OAuthError('invalid_scope', 'scope names nothing that was granted')
  }
  return await upstream.requestTokens('refresh_token', {
    refresh_token: body.refresh_token,
    ...(body.scope !== undefined && { scope: upstreamScope(body.scope, scopes) })
  })
}

/**
 * A token that /mcp would refuse is refused here, with the reason in the log: otherwise sign-in "succeeds", the next
 * call answers 401, and client and person go round in circles. When it cannot be judged now, it passes.
 */
async function checkUsable (tokens: TokenResponse, { verifyAccessToken }: TokenServices): Promise<void> {
  try {
    await verifyAccessToken(tokens.access_token)
  } catch (err) {
    if (err instanceof ProviderUnavailableError) return
    if (!(err instanceof TokenError)) throw err
    throw new OAuthError('server_error', 'The identity provider issued an access token that this server cannot accept; its operator must check the provider settings', {
      detail: `${err.message}: ${err.detail}`
    })
  }
}
