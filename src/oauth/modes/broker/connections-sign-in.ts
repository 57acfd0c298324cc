import * as oauth from 'oauth4webapi'
import { Type } from 'typebox'
import type { Static } from 'typebox'
import type { Keyring } from '../../../crypto/keyring.ts'
import { digest } from '../../../crypto/hash.ts'
import { HttpError } from '../../../errors/http-error.ts'
import { OAuthError } from '../../../errors/oauth-error.ts'
import { SignInError } from '../../../errors/sign-in-errors.ts'
import { unacceptableResponse } from '../../../provider/callback.ts'
import type { CallbackParameters } from '../../../provider/callback.ts'
import { IdTokenError } from '../../../provider/id-token.ts'
import type { TokenClient } from '../../../provider/token-client.ts'
import { keys } from '../../../store/keys.ts'
import { defineRecord } from '../../../store/record.ts'
import type { Store } from '../../../store/store.ts'
import {
  describeUnmetAuthentication, missingAuthenticationClaims, readAuthentication
} from '../../../tokens/authentication.ts'
import type { Authentication } from '../../../tokens/authentication.ts'
import { firstString } from '../../../tokens/principal.ts'
import type { TraceStep } from '../../../trace/step.ts'
import type { BrowserCookie } from '../sign-in.ts'
import { UnfinishedSignInSchema, countUnfinished, uncountUnfinished } from '../unfinished-sign-ins.ts'
import { BINDING_MEMBERS, createBrowserBoundSignIns } from './browser-bound-sign-ins.ts'
import type { ReadCookie, SignInKind, SignInSecrets } from './browser-bound-sign-ins.ts'
import { REAUTHENTICATE_AFTER_SECONDS, SESSION_COOKIE } from './connections-session.ts'
import type { ConnectionsPerson, ConnectionsSessions } from './connections-session.ts'
import type { IdentityReader } from './identity.ts'

export interface ConnectionsSignInOptions {
  store: Store
  keyring: Keyring
  upstream: Pick<TokenClient, 'signInUrl' | 'readCallback' | 'requestTokens'>
  identity: Pick<IdentityReader, 'authenticate'>
  sessions: Pick<ConnectionsSessions, 'begin'>
  config: {
    baseUrl: string
    /** OIDC_SCOPES */
    scopes: readonly string[]
    clockSkewSeconds: number
    /** OAUTH_LIMIT_PER_ADDRESS */
    maxPerAddress: number
  }
}

export interface ConnectionsSignInRequest {
  ip: string
  /** Leads to the steps of this sign-in (src/trace). */
  reference: string
  /** Whether the person must prove anew who they are, as the session is old. */
  reauthenticates: boolean
}

export interface ConnectionsSignInResult {
  /** The page. */
  location: URL
  /** The cookie that is no longer needed. */
  cookieName: string
  /** The cookie of the session. */
  cookie: BrowserCookie
  subject: string
}

const ContentSchema = Type.Object({
  reauthenticates: Type.Boolean(),
  reference: Type.String(),
  unfinished: UnfinishedSignInSchema
})

const pendingRecord = defineRecord('pending sign-in to the page /connections', Type.Object({
  ...ContentSchema.properties, ...BINDING_MEMBERS
}))

const KIND: SignInKind<Static<typeof ContentSchema>> = {
  record: pendingRecord,
  keyOf: keys.connectionsSignIn,
  referenceOf: ({ reference }) => reference,
  expired,
  otherBrowser
}

/** Begins the `state` of each sign-in to the page. The `state` of an application's sign-in has no dot. */
const STATE_PREFIX = 'connections.'

/** Scopes that say who signs in. The page needs no others, whatever applications ask for. */
const SCOPES = ['openid', 'profile', 'email']

/** Whether a callback is for the page /connections. Otherwise it is for an application. */
export function isConnectionsState (state: string | undefined): state is string {
  return state?.startsWith(STATE_PREFIX) === true
}

/**
 * Signs a person in to the page /connections, with Seed itself as the client. It shares the redirect URI with the
 * sign-ins of applications, and nothing else: its records have keys and seals of their own, so that no callback of one
 * kind completes a sign-in of the other. No grant is made, and the provider's tokens are dropped.
 */
export function createConnectionsSignIn (options: ConnectionsSignInOptions) {
  const { store, keyring, upstream, identity, sessions } = options
  const pendingSignIns = createBrowserBoundSignIns(store, keyring, KIND)
  const { baseUrl, scopes, clockSkewSeconds, maxPerAddress } = options.config
  const callbackUri = `${baseUrl}/oauth/callback`
  const page = new URL(`${baseUrl}/connections`)

  async function identifyPerson (
    code: string, { codeVerifier, nonce }: SignInSecrets, reauthenticates: boolean, step: TraceStep
  ): Promise<ConnectionsPerson> {
    const tokens = await step.timeProvider('The token endpoint', async () =>
      await upstream.requestTokens('authorization_code', {
        code, redirect_uri: callbackUri, code_verifier: codeVerifier
      }))
    const { idToken, claims } = await step.timeProvider('ID token and userinfo', async () =>
      await identity.authenticate(tokens, { nonce }))
    const { sub: subject, sid, auth_time: authTime } = idToken
    const authenticatedAt = typeof authTime === 'number' ? Math.min(authTime * 1_000, Date.now()) : Date.now()
    if (reauthenticates) checkSignedInAgain(readAuthentication(idToken), clockSkewSeconds)
    const name = firstString(claims, ['name', 'preferred_username', 'email'])
    return {
      subject,
      name,
      sid: typeof sid === 'string' ? sid : undefined,
      // A provider whose clock is late must not make the person sign in again and again.
      authenticatedAt: reauthenticates ? Date.now() : Math.floor(authenticatedAt)
    }
  }

  async function completeSignIn (
    parameters: CallbackParameters & { state: string }, readCookie: ReadCookie, step: TraceStep
  ): Promise<ConnectionsSignInResult> {
    const { content, secrets, cookieName } = await pendingSignIns.take(parameters.state, readCookie, step)
    const { reauthenticates, unfinished } = content
    const callback = upstream.readCallback(parameters)
    if ('error' in callback) throw callback.error
    const person = await identifyPerson(callback.code, secrets, reauthenticates, step)
    const cookie = await sessions.begin(person, readCookie(SESSION_COOKIE))
    await uncountUnfinished(store, unfinished)
    return { location: page, cookieName, cookie, subject: person.subject }
  }

  return {
    /**
     * @returns the provider's URL for the browser, and the cookie that it must bring back
     * @throws ProviderUnavailableError, OAuthError, LimitError, StoreUnavailableError
     */
    async start (request: ConnectionsSignInRequest): Promise<{ location: URL, cookie: BrowserCookie }> {
      const { ip, reference, reauthenticates } = request
      const state = `${STATE_PREFIX}${oauth.generateRandomState()}`
      const nonce = oauth.generateRandomNonce()
      const codeVerifier = oauth.generateRandomCodeVerifier()
      // First, as the provider may have to be asked (RFC 9126): beyond the limit nobody causes that.
      const unfinished = await countUnfinished(store, digest(state), { ip, maxPerAddress })
      const location = await upstream.signInUrl({
        redirect_uri: callbackUri,
        state,
        nonce,
        code_challenge: await oauth.calculatePKCECodeChallenge(codeVerifier),
        ...(reauthenticates && { prompt: 'login', max_age: String(REAUTHENTICATE_AFTER_SECONDS) })
      }, SCOPES.filter((scope) => scope === 'openid' || scopes.includes(scope)))
      const cookie = await pendingSignIns.save(
        state, { reauthenticates, reference, unfinished }, { codeVerifier, nonce })
      return { location, cookie }
    },

    /**
     * Completes a sign-in when the provider sends the browser back to /oauth/callback.
     *
     * @throws SignInError, with the page to return to
     */
    async complete (
      parameters: CallbackParameters & { state: string }, readCookie: ReadCookie, step: TraceStep
    ): Promise<ConnectionsSignInResult> {
      try {
        return await completeSignIn(parameters, readCookie, step)
      } catch (err) {
        const failure = err instanceof IdTokenError ? unacceptableResponse(err) : err
        throw failure instanceof HttpError ? new SignInError(failure, page, 'connections') : failure
      }
    }
  }
}

function expired (detail: string): OAuthError {
  return new OAuthError('invalid_request', 'This sign-in has expired or was already completed', {
    detail,
    causeCode: 'connections_sign_in_unknown',
    page: { title: 'This sign-in has expired', advice: 'Open the page again and sign in once more.' }
  })
}

function otherBrowser (): OAuthError {
  return new OAuthError('access_denied', 'This sign-in was started in another browser', {
    statusCode: 403,
    detail: 'the cookie of the sign-in is missing or another one',
    causeCode: 'connections_other_browser',
    page: {
      title: 'You were not signed in',
      advice: 'If you started it yourself, open the page again and stay in one browser. ' +
        'If somebody sent you here, close this page.'
    }
  })
}

/** OpenID Connect Core 1.0 section 3.1.2.1: the request had `prompt=login`, and `max_age`. */
function checkSignedInAgain (authentication: Authentication, clockSkewSeconds: number): void {
  const requirement = { maxAge: REAUTHENTICATE_AFTER_SECONDS }
  const reasons = describeUnmetAuthentication(requirement, authentication, {
    now: Math.floor(Date.now() / 1_000), clockSkewSeconds
  })
  if (reasons.length === 0) return
  const [missing] = missingAuthenticationClaims(requirement, authentication)
  const message = missing === undefined
    ? 'Your organisation did not ask you to sign in again'
    : `Your organisation does not tell this server when you signed in: there is no ${missing} in its ID token`
  throw new OAuthError('interaction_required', message, {
    detail: `the request had prompt=login and max_age: ${reasons.join('; ')}`,
    causeCode: 'connections_not_signed_in_again',
    page: {
      title: 'You were not signed in again',
      advice: missing === undefined
        ? 'Sign out at your organisation, then open the page again. Nothing was cut off.'
        : 'Open the page again, sign out there, sign in once more, and cut off what you want to within five minutes. ' +
          'Nothing was cut off. Tell whoever runs this server, whose identity provider should send it.'
    }
  })
}
