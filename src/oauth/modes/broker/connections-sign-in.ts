import * as oauth from 'oauth4webapi'
import { Type } from 'typebox'
import type { Keyring } from '../../../crypto/keyring.ts'
import { digest, randomId, timingSafeEquals } from '../../../crypto/hash.ts'
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
import { firstString } from '../../../tokens/principal.ts'
import type { TraceStep } from '../../../trace/step.ts'
import { SIGN_IN_COOKIE } from '../sign-in.ts'
import type { BrowserCookie } from '../sign-in.ts'
import { UnfinishedSignInSchema, countUnfinished, uncountUnfinished } from '../unfinished-sign-ins.ts'
import { REAUTHENTICATE_AFTER_SECONDS, SESSION_COOKIE } from './connections-session.ts'
import type { ConnectionsPerson, ConnectionsSessions } from './connections-session.ts'
import type { IdentityReader } from './identity.ts'
import type { ReadCookie } from './pending-sign-ins.ts'

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

const pendingRecord = defineRecord('pending sign-in to the page /connections', Type.Object({
  /** Code verifier and nonce, sealed for this key. */
  sealed: Type.String(),
  /** SHA-256 of the cookie. */
  browserHash: Type.String(),
  reauthenticates: Type.Boolean(),
  reference: Type.String(),
  unfinished: UnfinishedSignInSchema
}))

interface Secrets {
  codeVerifier: string
  nonce: string
}

const TTL_SECONDS = 600

/** Begins the `state` of each sign-in to the page. The `state` of an application's sign-in has no dot. */
const STATE_PREFIX = 'connections.'

/** Scopes that say who signs in. The page needs no others, whatever applications ask for. */
const SCOPES = ['openid', 'profile', 'email']

export type ConnectionsSignIn = ReturnType<typeof createConnectionsSignIn>

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
  const { baseUrl, scopes, clockSkewSeconds, maxPerAddress } = options.config
  const callbackUri = `${baseUrl}/oauth/callback`
  const page = new URL(`${baseUrl}/connections`)

  /** Takes the sign-in with this `state`: only for the browser that began it, and only once. */
  async function take (state: string, readCookie: ReadCookie, step: TraceStep) {
    const key = keys.connectionsSignIn(digest(state))
    const stored = await pendingRecord.find(store, key)
    if (stored === undefined) throw expired('unknown, expired or used state')
    const { sealed, browserHash, ...pending } = stored.value
    step.belongsTo(pending.reference)
    const cookie = readCookie(cookieName(state))
    if (cookie === undefined || !timingSafeEquals(digest(cookie), browserHash)) throw otherBrowser()
    if (await store.take(key) === undefined) throw expired('the state was used at the same moment')
    const opened = keyring.open(sealed, key)
    if (opened === undefined) throw expired('its secrets are sealed with another SEED_SECRET')
    return { ...pending, ...JSON.parse(opened) as Secrets }
  }

  async function identifyPerson (
    code: string, { codeVerifier, nonce, reauthenticates }: Secrets & { reauthenticates: boolean }, step: TraceStep
  ): Promise<ConnectionsPerson> {
    const tokens = await step.timeProvider('The token endpoint', async () =>
      await upstream.requestTokens('authorization_code', {
        code, redirect_uri: callbackUri, code_verifier: codeVerifier
      }))
    const { idToken, claims } = await step.timeProvider('ID token and userinfo', async () =>
      await identity.authenticate(tokens, { nonce, maxAgeSeconds: undefined }))
    const { sub: subject, sid, auth_time: authTime } = idToken
    const authenticatedAt = typeof authTime === 'number' ? Math.min(authTime * 1_000, Date.now()) : Date.now()
    const maxAgeMs = (REAUTHENTICATE_AFTER_SECONDS + clockSkewSeconds) * 1_000
    if (reauthenticates && Date.now() - authenticatedAt > maxAgeMs) throw notSignedInAgain()
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
    const { state } = parameters
    const pending = await take(state, readCookie, step)
    const callback = upstream.readCallback(parameters)
    if ('error' in callback) throw callback.error
    const person = await identifyPerson(callback.code, pending, step)
    const cookie = await sessions.begin(person, readCookie(SESSION_COOKIE))
    await uncountUnfinished(store, pending.unfinished)
    return { location: page, cookieName: cookieName(state), cookie, subject: person.subject }
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
      const location = await upstream.signInUrl({
        redirect_uri: callbackUri,
        state,
        nonce,
        code_challenge: await oauth.calculatePKCECodeChallenge(codeVerifier),
        ...(reauthenticates && { prompt: 'login', max_age: String(REAUTHENTICATE_AFTER_SECONDS) })
      }, SCOPES.filter((scope) => scope === 'openid' || scopes.includes(scope)))
      const unfinished = await countUnfinished(store, digest(state), { ip, maxPerAddress })
      const key = keys.connectionsSignIn(digest(state))
      const value = randomId(32)
      const sealed = keyring.seal(JSON.stringify({ codeVerifier, nonce } satisfies Secrets), key)
      const record = { sealed, browserHash: digest(value), reauthenticates, reference, unfinished }
      await store.set(key, pendingRecord.serialize(record), TTL_SECONDS)
      return { location, cookie: { name: cookieName(state), value, maxAgeSeconds: TTL_SECONDS } }
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

function cookieName (state: string): string {
  return `${SIGN_IN_COOKIE}${digest(state).slice(0, 12)}`
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

function notSignedInAgain (): OAuthError {
  return new OAuthError('interaction_required', 'Your organisation did not ask you to sign in again', {
    detail: 'auth_time of the ID token is old although the request had prompt=login',
    causeCode: 'connections_not_signed_in_again',
    page: {
      title: 'You were not signed in again',
      advice: 'Sign out at your organisation, then open the page again. Nothing was cut off.'
    }
  })
}
