import { AccessDeniedError, OtherBrowserError, SignInError, SignInExpiredError } from '../../../errors/sign-in-errors.ts'
import * as oauth from 'oauth4webapi'
import { ProviderUnavailableError } from '../../../provider/discovery.ts'
import type { ProviderMetadata } from '../../../provider/discovery.ts'
import { IdTokenError } from '../../../provider/id-token.ts'
import { keys } from '../../../store/keys.ts'
import type { Store } from '../../../store/store.ts'
import { checkAccess } from '../../../tokens/access-rules.ts'
import type { AccessRules } from '../../../tokens/access-rules.ts'
import type { AuthorizationRequest } from '../sign-in.ts'
import type { Clients } from '../../clients/clients.ts'
import { OAuthError } from '../../../errors/oauth-error.ts'
import type { OAuthErrorCode } from '../../../errors/oauth-error.ts'
import { throwawayChallenge } from '../../protocol/pkce.ts'
import { checkRegistrableRedirectUri } from '../../protocol/redirect-uri.ts'
import { codeRedirect, errorRedirect } from '../../protocol/authorization-response.ts'
import { digest, randomId, timingSafeEquals } from '../../../crypto/hash.ts'
import { SIGN_IN_COOKIE } from '../sign-in.ts'
import type { SignIn } from '../sign-in.ts'
import type { TokenClient } from '../../../provider/token-client.ts'
import type { AuthorizationCodes } from './authorization-codes.ts'
import { toStoredTokens } from './grants.ts'
import type { Grants } from './grants.ts'
import { identify } from './identity.ts'
import type { IdentityServices } from './identity.ts'

/**
 * Broker mode: Seed signs the person in at the provider with a redirect URI, state, nonce and PKCE of its own, and
 * gives the client a code of its own. The browser that comes back must be the one that consented (CVE-2026-27124).
 */
export interface BrokerSignIn extends SignIn {
  /**
   * The provider's answer at /oauth/callback (OpenID Connect Core 1.0 section 3.1.2.5).
   * @param cookie the value of the cookie of that name, as the browser sent it
   * @returns where the browser goes: to the client, with a code or with the error that the provider told
   * @throws SignInOverError, OtherBrowserError for what belongs to no sign-in of this browser; SignInError for one that failed here;
   *   StoreUnavailableError
   */
  complete (response: CallbackParameters, cookie: (name: string) => string | undefined): Promise<SignInResult>
}

/** Where the browser goes, the cookie that has served, and what the log should know. */
export interface SignInResult {
  location: URL
  cookieName: string
  client: string
  signedIn?: { subject: string, grant: string }
  error?: OAuthError
}

export interface CallbackParameters {
  state?: string
  code?: string
  iss?: string
  error?: string
}

export interface BrokerSignInServices extends IdentityServices {
  store: Store
  clients: Pick<Clients, 'keepAlive'>
  codes: AuthorizationCodes
  grants: Grants
  upstream: Pick<TokenClient, 'authorizationUrl' | 'requestTokens' | 'userinfo'>
  provider: () => ProviderMetadata
  upstreamClientId: string
  baseUrl: string
  /** OIDC_SCOPES */
  scopes: readonly string[]
  access: AccessRules
  /** REDIRECT_URI_SCHEMES */
  redirectUriSchemes: readonly string[]
}

interface SignInRecord {
  request: AuthorizationRequest
  codeVerifier: string
  nonce: string
  browserHash: string
}

const TTL_SECONDS = 600

export function createBrokerSignIn (services: BrokerSignInServices): BrokerSignIn {
  const { store, clients, codes, grants, upstream, baseUrl, redirectUriSchemes } = services
  const callback = `${baseUrl}/oauth/callback`
  const common = { response_type: 'code', client_id: services.upstreamClientId, redirect_uri: callback, code_challenge_method: 'S256' }

  /** The sign-in that this answer ends; only for the browser that began it, and only once. */
  async function takeRecord (state: string | undefined, cookie: (name: string) => string | undefined): Promise<SignInRecord> {
    if (state === undefined) throw over('the callback came without state')
    const key = keys.signIn(digest(state))
    const waiting = await store.get(key)
    if (waiting === undefined) throw over('unknown, expired or used state')
    const record = JSON.parse(waiting) as SignInRecord
    const browser = cookie(cookieName(state))
    if (browser === undefined || !timingSafeEquals(digest(browser), record.browserHash)) {
      throw new OtherBrowserError('This sign-in was started in another browser', 'the cookie of the consent is missing or another one (CVE-2026-27124)')
    }
    if (await store.take(key) === undefined) throw over('the state was used at the same moment')
    return record
  }

  /** The authorization code of the provider, after oauth4webapi has judged the answer (RFC 9207 `iss` and all). */
  function readResponse (parameters: CallbackParameters): URLSearchParams {
    const { issuer, sendsIss } = services.provider()
    return oauth.validateAuthResponse(
      { issuer, authorization_response_iss_parameter_supported: sendsIss },
      { client_id: services.upstreamClientId },
      new URLSearchParams(Object.entries(parameters)),
      parameters.state
    )
  }

  async function exchange (parameters: CallbackParameters, { request, codeVerifier, nonce }: SignInRecord): Promise<{ code: string, subject: string, grant: string }> {
    const response = readResponse(parameters)
    const tokens = await upstream.requestTokens('authorization_code', { code: response.get('code') ?? '', redirect_uri: callback, code_verifier: codeVerifier })
    const { subject, claims, sid } = await identify(tokens, { nonce, maxAgeSeconds: request.maxAge === undefined ? undefined : Number(request.maxAge) }, services)
    checkAccess(claims, services.access)
    const grant = await grants.create({
      clientId: request.client.id,
      subject,
      scope: request.scopes.join(' '),
      claims,
      sid,
      refreshes: request.client.refreshes,
      upstream: toStoredTokens(tokens, Date.now())
    })
    const code = await codes.issue({ grant, redirectUri: request.redirectUri, codeChallenge: request.codeChallenge })
    return { code, subject, grant: grant.id }
  }

  return {
    async start (request) {
      const [state, codeVerifier, nonce, browser] = [oauth.generateRandomState(), oauth.generateRandomCodeVerifier(), oauth.generateRandomNonce(), randomId(32)]
      const location = upstream.authorizationUrl({
        ...common,
        state,
        code_challenge: await oauth.calculatePKCECodeChallenge(codeVerifier),
        nonce,
        prompt: request.prompt,
        max_age: request.maxAge,
        login_hint: request.loginHint
      }, services.scopes)
      const record: SignInRecord = { request, codeVerifier, nonce, browserHash: digest(browser) }
      await store.set(keys.signIn(digest(state)), JSON.stringify(record), TTL_SECONDS)
      return { location, cookie: { name: cookieName(state), value: browser, maxAgeSeconds: TTL_SECONDS } }
    },

    probeUrl: (scopes) => upstream.authorizationUrl({
      ...common, state: oauth.generateRandomState(), code_challenge: throwawayChallenge(), nonce: oauth.generateRandomNonce()
    }, scopes),

    async complete (parameters, cookie) {
      const record = await takeRecord(parameters.state, cookie)
      const { request } = record
      const known = { cookieName: cookieName(parameters.state!), client: request.client.id }
      checkRegistrableRedirectUri(request.redirectUri, redirectUriSchemes)
      try {
        const { code, ...signedIn } = await exchange(parameters, record)
        await clients.keepAlive(request.client)
        return { ...known, location: codeRedirect(request, code, baseUrl), signedIn }
      } catch (err) {
        if (err instanceof oauth.AuthorizationResponseError) {
          const error = refusalOf(err.error)
          return { ...known, location: errorRedirect(request, error, baseUrl), error }
        }
        throw toSignInError(err, request, baseUrl)
      }
    }
  }
}

/** One cookie for each sign-in, so that two tabs do not get in each other's way. */
function cookieName (state: string): string {
  return `${SIGN_IN_COOKIE}${digest(state).slice(0, 12)}`
}

function over (detail: string): SignInExpiredError {
  return new SignInExpiredError('This sign-in has expired, or was finished before', detail)
}

/** What the client is told of the provider's error; its words stay in the log. */
function refusalOf (error: string): OAuthError {
  const detail = `the provider answered the authorization request with ${JSON.stringify(error.slice(0, 100))}`
  if (error === 'access_denied') return new OAuthError('access_denied', 'The sign-in was refused or cancelled at the identity provider', { detail })
  if (error === 'temporarily_unavailable') {
    return new OAuthError('temporarily_unavailable', 'The identity provider cannot answer now; try again shortly', {
      detail, page: { sentence: 'The identity provider cannot answer now.' }
    })
  }
  if (['login_required', 'interaction_required', 'consent_required', 'account_selection_required'].includes(error)) {
    return new OAuthError('interaction_required', 'The identity provider needs the person to act', { detail })
  }
  return new OAuthError('server_error', 'The identity provider refused the request; the operator of this server must check its settings', { detail })
}

/** A page for the person, with a way back to the client that tells it what happened. */
function toSignInError (err: unknown, target: { redirectUri: string, state: string | undefined }, issuer: string): unknown {
  const back = (code: OAuthErrorCode, message: string): URL => errorRedirect(target, { code, message }, issuer)
  if (err instanceof AccessDeniedError) return new SignInError(err, back('access_denied', err.message))
  if (err instanceof ProviderUnavailableError) return new SignInError(err, back('temporarily_unavailable', 'The identity provider cannot be reached'))
  if (err instanceof OAuthError) return new SignInError(err, back(err.code === 'temporarily_unavailable' ? err.code : 'server_error', err.message))
  if (err instanceof IdTokenError || err instanceof oauth.OperationProcessingError) {
    const cause = new OAuthError('server_error', 'The identity provider answered with something that this server cannot believe', { statusCode: 502, detail: err.message, cause: err })
    return new SignInError(cause, back('server_error', cause.message))
  }
  return err
}
