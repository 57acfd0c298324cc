import { createHash, randomBytes } from 'node:crypto'
import type { Test } from 'tap'
import { startDevProvider } from '../../dev/provider.ts'
import type { DevProviderOptions } from '../../dev/provider.ts'
import type { AppOptions } from '../../src/app.ts'
import type { Definition } from '../../src/define/definition.ts'
import type { Grant } from '../../src/oauth/modes/broker/grant.ts'
import { keys } from '../../src/store/keys.ts'
import { createBrowser } from './browser.ts'
import type { Browser } from './browser.ts'
import { ready, startSeed } from './seed.ts'
import type { TestSeed } from './seed.ts'

/** Seed in broker mode, and a client that goes through sign-in and tokens step by step over HTTP. */

export const SEED_SECRET = 'the SEED_SECRET of these tests, 44 bytes long'

/** Redirect URI of the registered clients. Nothing listens there: the scripted browser stops before it. */
export const REDIRECT_URI = 'http://localhost:53217/callback'

/** Starts Seed next to a provider that knows BASE_URL/oauth/callback and no other redirect URI. */
export async function startBroker (
  t: Test,
  {
    env = {},
    provider: options = {},
    definitions,
    timings = {}
  }: {
    env?: Record<string, string>
    provider?: DevProviderOptions
    definitions?: readonly Definition[]
    timings?: NonNullable<AppOptions['timings']>
  } = {}
): Promise<TestSeed> {
  const redirectUris: string[] = []
  const provider = await startDevProvider({ algorithm: 'ES256', fixedRedirectUris: redirectUris, ...options })
  t.teardown(async () => { await provider.close() })
  const seed = await startSeed(t, {
    sharedProvider: provider,
    env: { OAUTH_MODE: 'broker', SEED_SECRET, ...env },
    timings,
    ...(definitions !== undefined && { definitions })
  })
  redirectUris.push(`${seed.url}/oauth/callback`)
  await ready(seed)
  return seed
}

/**
 * Starts a replica of `first` with the same BASE_URL and provider, and with `env` (REDIS_URL) the same store. Its `url`
 * leads to this replica only.
 */
export async function startReplica (t: Test, first: TestSeed, env: Record<string, string> = {}): Promise<TestSeed> {
  const seed = await startSeed(t, {
    sharedProvider: first.provider,
    env: { OAUTH_MODE: 'broker', SEED_SECRET, BASE_URL: first.url, ...env }
  })
  await ready(seed)
  return seed
}

/** A response, in the shape that `isError` reads too. */
export interface Answer {
  statusCode: number
  headers: Record<string, string>
  body: string
  json: Record<string, unknown>
}

export async function post (
  url: string,
  form: Record<string, string>,
  headers: Record<string, string> = {}
): Promise<Answer> {
  const response = await fetch(url, { method: 'POST', body: new URLSearchParams(form), headers, redirect: 'manual' })
  const body = await response.text()
  return {
    statusCode: response.status,
    headers: Object.fromEntries(response.headers),
    body,
    json: body.startsWith('{') ? (JSON.parse(body) as Record<string, unknown>) : {}
  }
}

/** @returns the client id */
export async function register (url: string, metadata: Record<string, unknown> = {}): Promise<string> {
  const response = await fetch(`${url}/oauth/register`, {
    method: 'POST',
    headers: { 'content-type': 'application/json' },
    body: JSON.stringify({
      client_name: `Test client ${randomBytes(6).toString('hex')}`,
      redirect_uris: [REDIRECT_URI],
      ...metadata
    })
  })
  const { client_id: clientId } = await response.json() as { client_id: string }
  return clientId
}

/** An authorization request, with the values that the client keeps for the redemption. */
export interface ClientRequest {
  clientId: string
  state: string
  verifier: string
  url: string
}

export function newRequest (
  seed: Pick<TestSeed, 'url'>, clientId: string, parameters: Record<string, string> = {}
): ClientRequest {
  const [state, verifier] = [randomBytes(16).toString('base64url'), randomBytes(32).toString('base64url')]
  const query = new URLSearchParams({
    response_type: 'code',
    client_id: clientId,
    redirect_uri: REDIRECT_URI,
    state,
    code_challenge: createHash('sha256').update(verifier).digest('base64url'),
    code_challenge_method: 'S256',
    resource: `${seed.url}/mcp`,
    ...parameters
  })
  return { clientId, state, verifier, url: `${seed.url}/oauth/authorize?${query.toString()}` }
}

export interface SignInOptions {
  clientId?: string
  login?: string
  parameters?: Record<string, string>
  browser?: Browser
}

export type AtCallback = ClientRequest & { browser: Browser, callback: URL }

/** Consents, signs in at the provider, and holds the browser back from the callback it is sent to. */
export async function toCallback (
  seed: Pick<TestSeed, 'url'>,
  { clientId, login = 'ada', parameters = {}, browser = createBrowser() }: SignInOptions = {}
): Promise<AtCallback> {
  const request = newRequest(seed, clientId ?? await register(seed.url), parameters)
  const callback = await browser.signIn(
    request.url,
    { login, password: login },
    ({ pathname }) => pathname === '/oauth/callback'
  )
  return { ...request, browser, callback }
}

export interface ByHand {
  request: ClientRequest
  callback: URL
  /** The cookie of the sign-in: `name=value`. */
  cookie: string
  /** The cookie of the consent page. */
  pageCookie: string
  /** The hidden field of the consent page. */
  consent: string
}

/** Runs a sign-in up to the callback with all cookies at hand: consent by plain HTTP, the provider in a browser. */
export async function byHand (
  seed: TestSeed,
  { consentAt = seed.url, request }: { consentAt?: string, request?: ClientRequest } = {}
): Promise<ByHand> {
  request ??= newRequest(seed, await register(seed.url))
  const pair = (response: Response): string => response.headers.getSetCookie()[0]!.split(';')[0]!
  const page = await fetch(request.url)
  const pageCookie = pair(page)
  const consent = /name="consent" value="([^"]+)"/.exec(await page.text())![1]!
  const answered = await fetch(`${consentAt}/oauth/consent`, {
    method: 'POST',
    redirect: 'manual',
    headers: { cookie: pageCookie },
    body: new URLSearchParams({ consent, decision: 'approve' })
  })
  const callback = await createBrowser().signIn(
    answered.headers.get('location')!,
    { login: 'ada', password: 'ada' },
    ({ pathname }) => pathname === '/oauth/callback'
  )
  return { request, callback, cookie: pair(answered), pageCookie, consent }
}

export type SignedIn = ClientRequest & { answer: URL, code: string }

/** Runs a sign-in to the authorization code. */
export async function signIn (seed: Pick<TestSeed, 'url'>, options: SignInOptions = {}): Promise<SignedIn> {
  const { browser, callback, ...request } = await toCallback(seed, options)
  const { url: answer, status, body } = await browser.get(callback)
  const code = answer.searchParams.get('code')
  if (status !== 0 || code === null) throw new Error(`No code, but ${status} at ${answer.href}: ${body}`)
  return { ...request, answer, code }
}

export async function redeem (
  url: string,
  { clientId, code, verifier }: Pick<SignedIn, 'clientId' | 'code' | 'verifier'>,
  more: Record<string, string> = {}
): Promise<Answer> {
  return await post(`${url}/oauth/token`, {
    grant_type: 'authorization_code',
    client_id: clientId,
    code,
    code_verifier: verifier,
    redirect_uri: REDIRECT_URI,
    ...more
  })
}

export async function refresh (
  url: string,
  clientId: string,
  refreshToken: string,
  more: Record<string, string> = {}
): Promise<Answer> {
  return await post(`${url}/oauth/token`, {
    grant_type: 'refresh_token',
    client_id: clientId,
    refresh_token: refreshToken,
    ...more
  })
}

export interface Tokens {
  clientId: string
  accessToken: string
  refreshToken: string
}

/** Signs in and redeems the code. */
export async function getTokens (seed: Pick<TestSeed, 'url'>, options: SignInOptions = {}): Promise<Tokens> {
  const signedIn = await signIn(seed, options)
  return readTokens(signedIn.clientId, await redeem(seed.url, signedIn))
}

/** Reads the tokens of a response. @throws Error unless it has status 200 */
export function readTokens (clientId: string, { statusCode, json, body }: Answer): Tokens {
  if (statusCode !== 200) throw new Error(`No tokens, but ${statusCode}: ${body}`)
  return { clientId, accessToken: String(json['access_token']), refreshToken: String(json['refresh_token']) }
}

/** The store key of a refresh token's grant. */
export function grantKey (refreshToken: string): string {
  return keys.grant(refreshToken.split('.')[0]!)
}

/** Changes a grant in the store. */
export async function editGrant (
  { app }: Pick<TestSeed, 'app'>,
  refreshToken: string,
  change: Partial<Grant> | ((grant: Grant) => Partial<Grant>)
): Promise<void> {
  const key = grantKey(refreshToken)
  const grant = JSON.parse((await app.store.get(key))!) as Grant
  await app.store.set(
    key,
    JSON.stringify({ ...grant, ...(typeof change === 'function' ? change(grant) : change) }),
    3_600
  )
}

/** Moves the last rotation into the past. */
export async function ageRotation (seed: Pick<TestSeed, 'app'>, refreshToken: string, seconds: number): Promise<void> {
  await editGrant(seed, refreshToken, ({ rotatedAt }) => ({ rotatedAt: rotatedAt - seconds * 1_000 }))
}
