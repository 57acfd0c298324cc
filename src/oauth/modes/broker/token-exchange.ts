import { digest } from '../../../crypto/hash.ts'
import type { Keyring } from '../../../crypto/keyring.ts'
import type { Principal } from '../../../tokens/principal.ts'
import { ProviderUnavailableError } from '../../../provider/discovery.ts'
import { keys } from '../../../store/keys.ts'
import { StoreUnavailableError, ignoreOutage } from '../../../store/store.ts'
import type { Store } from '../../../store/store.ts'
import { OAuthError } from '../../../errors/oauth-error.ts'
import type { Delegation } from '../../../provider/delegation.ts'
import type { TokenClient } from '../../../provider/token-client.ts'
import type { Grant, Grants, UpstreamGrantTokens } from './grants.ts'
import type { UpstreamRefresh } from './upstream-refresh.ts'

/**
 * Tokens with which a tool calls another API of the company as its caller. The client's token is for Seed alone and goes
 * nowhere (MCP security best practices, token passthrough): the provider is asked for one instead, with its own access
 * token that lies sealed in the caller's grant (RFC 8693, or the provider's form of it: src/config/presets.ts).
 *
 * What it gives is kept sealed in the store, where every replica finds it, and is handed out only while the grant is
 * there. Nothing of a token is in a log line or an error.
 */
export interface DelegatedTokens {
  /**
   * A token of the provider's for `audience`, in the name of this caller.
   *
   * @param request what the tool's author wrote, never what a client or a model chose
   * @param signal of the call: gives up waiting, with the signal's reason
   * @throws TokenExchangeError
   */
  tokenFor (principal: Principal, request: DelegationRequest, signal?: AbortSignal): Promise<string>
}

export interface DelegationRequest {
  /** As the provider calls the API: a client id (Keycloak), an identifier or App ID URI (Auth0, Okta, Entra). */
  audience: string
  /** Without, what the provider gives by itself. */
  scopes?: readonly string[]
}

/** Why there is no token. The message says what to do and may go to the tool's author, or on to its caller; `detail` is for the log. */
export class TokenExchangeError extends Error {
  override readonly name = 'TokenExchangeError'
  readonly detail: string | undefined
  /** Seconds; set on what will work later. */
  readonly retryAfterSeconds: number | undefined

  constructor (message: string, options: { detail?: string | undefined, cause?: unknown, retryAfterSeconds?: number | undefined } = {}) {
    super(message, { cause: options.cause })
    this.detail = options.detail
    this.retryAfterSeconds = options.retryAfterSeconds
  }
}

export interface DelegatedTokenServices {
  grants: Grants
  renewal: UpstreamRefresh
  store: Store
  secrets: Keyring
  upstream: Pick<TokenClient, 'delegate'>
  log: { info (fields: object, message: string): void, warn (fields: object, message: string): void }
  /** Wall clock in milliseconds. */
  now?: () => number
}

/** In the store, sealed. */
interface KeptToken {
  token: string
  /** Seconds since the epoch. */
  expiresAt: number
}

interface Found {
  grant: Grant
  record: string
}

/** What a token must still be good for when a tool gets it. */
const SPARE_SECONDS = 30

/** What the provider's access token must still be good for when it goes there: its answer may take 10 s. */
const SUBJECT_SPARE_SECONDS = 15

/** RFC 6749 section 3.3 */
const SCOPE = /^[\x21\x23-\x5b\x5d-\x7e]+$/

export function createDelegatedTokens (services: DelegatedTokenServices): DelegatedTokens {
  const { grants, renewal, store, secrets, upstream, log, now = Date.now } = services
  const underWay = new Map<string, Promise<string>>()

  const isGood = (expiresAt: number, spareSeconds: number): boolean => expiresAt * 1_000 > now() + spareSeconds * 1_000

  async function load (grantId: string): Promise<Found> {
    const found = await grants.find(grantId)
    if (found !== undefined && isGood(found.grant.expiresAt, 0)) return found
    throw ended('its grant has ended, or was never given')
  }

  async function obtain (grantId: string, key: string, delegation: Delegation): Promise<string> {
    const found = await load(grantId)
    const kept = await readKept(key)
    if (kept !== undefined && isGood(kept.expiresAt, SPARE_SECONDS)) return kept.token
    const accessToken = await subjectToken(found)
    const { accessToken: token, expiresInSeconds = 0 } = await delegate(accessToken, delegation)
    const ttlSeconds = Math.min(expiresInSeconds - SPARE_SECONDS, found.grant.expiresAt - Math.floor(now() / 1_000))
    if (ttlSeconds > 0) {
      const expiresAt = Math.floor(now() / 1_000) + expiresInSeconds
      await store.set(key, secrets.seal(JSON.stringify({ token, expiresAt } satisfies KeptToken), key), ttlSeconds).catch(ignoreOutage)
    }
    // It may have ended while the provider was asked.
    await load(grantId)
    log.info({ grant: grantId, subject: found.grant.subject, ...delegation }, 'The provider gave a token for another API')
    return token
  }

  /** What no SEED_SECRET opens any more is asked for anew. */
  async function readKept (key: string): Promise<KeptToken | undefined> {
    const sealed = await store.get(key)
    const opened = sealed === undefined ? undefined : secrets.open(sealed, key)
    return opened === undefined ? undefined : JSON.parse(opened) as KeptToken
  }

  /** The provider's access token of the grant; one that has run out, or may have, is renewed first. */
  async function subjectToken (found: Found): Promise<string> {
    const known = grants.upstreamTokens(found.grant)
    if (isFresh(known)) return known.accessToken
    if (known.refreshToken === undefined) return withoutRefreshToken(known)

    async function newer (): Promise<string | undefined> {
      const { grant, record } = await load(found.grant.id)
      const tokens = grants.upstreamTokens(grant)
      return record !== found.record || isFresh(tokens) ? tokens.accessToken : undefined
    }

    return await renewal.withLock(found.grant.id, 'tool', async () => {
      const done = await newer()
      if (done !== undefined) return done
      const renewed = await renewal.save(found.record, await renewal.refresh(found))
      return grants.upstreamTokens(renewed).accessToken
    }, newer)
  }

  function isFresh ({ accessExpiresAt }: UpstreamGrantTokens): boolean {
    return accessExpiresAt !== undefined && isGood(accessExpiresAt, SUBJECT_SPARE_SECONDS)
  }

  /** When it runs out may be unknown: then the provider says. */
  function withoutRefreshToken ({ accessToken, accessExpiresAt }: UpstreamGrantTokens): string {
    if (accessExpiresAt === undefined || isGood(accessExpiresAt, 0)) return accessToken
    throw new TokenExchangeError('The sign-in is too old to get tokens for other APIs: sign in again', {
      detail: "the provider's access token has expired, and it gave no refresh token: let it give one to OIDC_CLIENT_ID (offline_access in OIDC_SCOPES)"
    })
  }

  async function delegate (accessToken: string, delegation: Delegation): ReturnType<TokenClient['delegate']> {
    try {
      return await upstream.delegate(accessToken, delegation)
    } catch (err) {
      // Its invalid_grant is about this request alone and ends nothing.
      if (!(err instanceof OAuthError) || err.code === 'temporarily_unavailable') throw err
      throw new TokenExchangeError(`The identity provider gave no token for "${delegation.audience}": let it allow OIDC_CLIENT_ID to exchange tokens for this audience, and the scopes if any`, { detail: err.detail, cause: err })
    }
  }

  /** What the parts throw, in words for a tool; once in the log. */
  function fail (err: unknown, grantId: string, delegation: Delegation): never {
    const failure = explain(err)
    log.warn({ grant: grantId, ...delegation, reason: failure.detail }, 'No token for another API')
    throw failure
  }

  return {
    async tokenFor ({ claims }, { audience, scopes = [] }, signal) {
      signal?.throwIfAborted()
      if (audience === '' || !scopes.every((scope) => SCOPE.test(scope))) throw new TokenExchangeError('tokenFor needs an audience, and scopes without spaces in them')
      const grantId = String(claims['grant'])
      const delegation = { audience, scopes: [...new Set(scopes)].sort() }
      const key = keys.delegated(grantId, digest(JSON.stringify(delegation)))
      const running = underWay.get(key) ?? obtain(grantId, key, delegation).catch((err: unknown) => fail(err, grantId, delegation)).finally(() => { underWay.delete(key) })
      underWay.set(key, running)
      return await unlessAborted(running, signal)
    }
  }
}

function ended (detail: string | undefined): TokenExchangeError {
  return new TokenExchangeError('The sign-in that this call belongs to has ended: sign in again', { detail })
}

/** What is no failure of the store, the provider or the grant is thrown as it is. */
function explain (err: unknown): TokenExchangeError {
  if (err instanceof TokenExchangeError) return err
  if (err instanceof StoreUnavailableError || err instanceof ProviderUnavailableError) {
    return new TokenExchangeError('No token for another API can be had just now; try again shortly', { detail: err.message, cause: err, retryAfterSeconds: err.retryAfterSeconds })
  }
  if (!(err instanceof OAuthError)) throw err
  if (err.code === 'invalid_grant') return ended(err.detail)
  return new TokenExchangeError(err.message, { detail: err.detail, cause: err, retryAfterSeconds: err.retryAfterSeconds })
}

/** Who gives up waiting takes nothing from others who wait for the same. */
async function unlessAborted<T> (work: Promise<T>, signal: AbortSignal | undefined): Promise<T> {
  if (signal === undefined) return await work
  let stop!: () => void
  const aborted = new Promise<never>((_resolve, reject) => {
    stop = () => {
      const reason: Error = signal.reason
      reject(reason)
    }
  })
  signal.addEventListener('abort', stop, { once: true })
  try {
    return await Promise.race([work, aborted])
  } finally {
    signal.removeEventListener('abort', stop)
  }
}
