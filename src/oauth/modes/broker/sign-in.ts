import * as oauth from 'oauth4webapi'
import type { OAuthError } from '../../../errors/oauth-error.ts'
import { unacceptableResponse } from '../../../provider/callback.ts'
import type { CallbackParameters } from '../../../provider/callback.ts'
import { IdTokenError } from '../../../provider/id-token.ts'
import type { TokenClient } from '../../../provider/token-client.ts'
import type { UpstreamTokens } from '../../../provider/token-response.ts'
import type { Keyring } from '../../../crypto/keyring.ts'
import type { Store } from '../../../store/store.ts'
import type { TraceStep } from '../../../trace/step.ts'
import type { Clients } from '../../clients/clients.ts'
import { codeRedirect, errorRedirect } from '../../protocol/authorization-response.ts'
import { throwawayChallenge } from '../../protocol/pkce.ts'
import { checkRegistrableRedirectUri } from '../../protocol/redirect-uri.ts'
import type { AuthorizationRequest, BrowserCookie, SignIn } from '../sign-in.ts'
import { toSignInError } from '../sign-in-error.ts'
import { uncountUnfinished } from '../unfinished-sign-ins.ts'
import type { AuthorizationCodes } from './authorization-codes.ts'
import type { ReadCookie } from './browser-bound-sign-ins.ts'
import { toStoredTokens } from './grant.ts'
import type { Grant } from './grant.ts'
import type { Grants } from './grants.ts'
import type { AuthenticationDemands } from './authentication-demands.ts'
import type { Identity, IdentityReader } from './identity.ts'
import { createPendingSignIns } from './pending-sign-ins.ts'
import type { PendingRequest, PendingSignIn } from './pending-sign-ins.ts'
import { authenticationParameters, createSignInAuthentication } from './sign-in-authentication.ts'

export interface BrokerSignInOptions {
  store: Store
  keyring: Keyring
  upstream: Pick<TokenClient, 'authorizationUrl' | 'signInUrl' | 'readCallback' | 'requestTokens'>
  identity: Pick<IdentityReader, 'identify'>
  grants: Pick<Grants, 'create'>
  codes: Pick<AuthorizationCodes, 'issue'>
  clients: Pick<Clients, 'keepAlive'>
  demands: Pick<AuthenticationDemands, 'find' | 'delete'>
  baseUrl: string
  /** OIDC_SCOPES */
  scopes: readonly string[]
  /** REDIRECT_URI_SCHEMES */
  redirectUriSchemes: readonly string[]
  /** TOKEN_CLOCK_SKEW_SECONDS */
  clockSkewSeconds: number
}

export interface BrokerSignIn extends SignIn {
  /**
   * Completes a sign-in when the provider sends the browser back to /oauth/callback.
   *
   * @throws SignInExpiredError or OtherBrowserError for a callback that belongs to no sign-in of this browser;
   * SignInError for a sign-in that failed here; StoreUnavailableError
   */
  complete (parameters: CallbackParameters, readCookie: ReadCookie, step: TraceStep): Promise<SignInResult>
}

export interface SignInResult {
  /**
   * The client's redirect URI, with a code or with the provider's error; or the provider once more, where a tool
   * demands a more recent or stronger sign-in.
   */
  location: URL
  /** The cookie that the browser must bring back if it is sent to the provider once more. */
  cookie?: BrowserCookie
  /** The cookie that is no longer needed. */
  cookieName: string
  /** Client id, for the log. */
  client: string
  signedIn?: { subject: string, grant: string }
  error?: OAuthError
}

/**
 * Signs people in at the provider in broker mode, with a redirect URI, state, nonce and PKCE of Seed's own, and gives
 * the client a code of Seed's own.
 */
export function createBrokerSignIn (options: BrokerSignInOptions): BrokerSignIn {
  const { upstream, identity, grants, codes, clients, baseUrl, scopes, redirectUriSchemes } = options
  const pendingSignIns = createPendingSignIns(options.store, options.keyring)
  const callbackUri = `${baseUrl}/oauth/callback`
  const checkAuthentication = createSignInAuthentication(options)

  async function sendToProvider (
    request: PendingRequest, parameters: Partial<Pick<AuthorizationRequest, 'prompt' | 'loginHint'>> = {}
  ): Promise<{ location: URL, cookie: BrowserCookie }> {
    const state = oauth.generateRandomState()
    const nonce = oauth.generateRandomNonce()
    const codeVerifier = oauth.generateRandomCodeVerifier()
    const location = await upstream.signInUrl({
      redirect_uri: callbackUri,
      state,
      nonce,
      code_challenge: await oauth.calculatePKCECodeChallenge(codeVerifier),
      prompt: parameters.prompt,
      ...authenticationParameters(request),
      login_hint: parameters.loginHint
    }, scopes)
    return { location, cookie: await pendingSignIns.save(state, { request, codeVerifier, nonce }) }
  }

  async function identifyPerson (
    upstreamCode: string, { request, codeVerifier, nonce }: PendingSignIn, step: TraceStep
  ): Promise<{ tokens: UpstreamTokens, person: Identity }> {
    const tokens = await step.timeProvider('The token endpoint', async () =>
      await upstream.requestTokens('authorization_code', {
        code: upstreamCode, redirect_uri: callbackUri, code_verifier: codeVerifier
      }))
    const person = await step.timeProvider('ID token and userinfo', async () =>
      await identity.identify(tokens, { nonce }, request))
    return { tokens, person }
  }

  async function createGrant (
    { tokens, person }: { tokens: UpstreamTokens, person: Identity }, request: PendingRequest
  ): Promise<Grant> {
    return await grants.create({
      clientId: request.client.id,
      clientKind: request.client.kind,
      clientAuthMethod: request.client.authMethod,
      clientName: request.client.name,
      ...person,
      endpoint: request.endpoint,
      scope: request.scopes.join(' '),
      reference: request.reference,
      refreshes: request.client.refreshes,
      upstream: toStoredTokens(tokens, Date.now())
    })
  }

  return {
    async start (request) {
      const mustLogIn = request.prompt?.split(' ').includes('login') === true
      return await sendToProvider({ ...request, mustLogIn, startedAt: now() }, request)
    },

    effectiveScopes: (requested) => requested,

    probeUrl: (probed) => upstream.authorizationUrl({
      redirect_uri: callbackUri,
      state: oauth.generateRandomState(),
      nonce: oauth.generateRandomNonce(),
      code_challenge: throwawayChallenge()
    }, probed),

    async complete (parameters, readCookie, step) {
      const { cookieName, ...signIn } = await pendingSignIns.take(parameters.state, readCookie, step)
      const { request } = signIn
      const client = request.client.id
      checkRegistrableRedirectUri(request.redirectUri, redirectUriSchemes)
      try {
        const callback = upstream.readCallback(parameters)
        if ('error' in callback) {
          const { error } = callback
          step.error = error
          return { cookieName, client, location: errorRedirect(request, error, baseUrl), error }
        }
        const identified = await identifyPerson(callback.code, signIn, step)
        const demanded = await checkAuthentication(request, identified.person, client)
        if (demanded !== undefined) {
          step.outcome = 'A tool demands a more recent or stronger sign-in: the browser was sent to the provider again'
          return { cookieName, client, ...await sendToProvider({ ...request, demanded, startedAt: now() }) }
        }
        const grant = await createGrant(identified, request)
        const { redirectUri, codeChallenge } = request
        const code = await codes.issue({ grant, redirectUri, codeChallenge })
        await clients.keepAlive(request.client)
        await uncountUnfinished(options.store, request.unfinished)
        step.note({ grant: grant.id })
        step.outcome = 'The provider signed the person in, and the application got a code'
        const signedIn = { subject: grant.subject, grant: grant.id }
        return { cookieName, client, location: codeRedirect(request, code, baseUrl), signedIn }
      } catch (err) {
        throw toSignInError(err instanceof IdTokenError ? unacceptableResponse(err) : err, request, baseUrl)
      }
    }
  }
}

/** Seconds since the epoch. */
function now (): number {
  return Math.floor(Date.now() / 1_000)
}
