import { createSingleFlight } from '../../../async/single-flight.ts'
import { unlessAborted } from '../../../async/unless-aborted.ts'
import type { Keyring } from '../../../crypto/keyring.ts'
import { OAuthError } from '../../../errors/oauth-error.ts'
import type { Log } from '../../../logging/log.ts'
import type { Delegation } from '../../../provider/delegation.ts'
import type { TokenClient } from '../../../provider/token-client.ts'
import type { Store } from '../../../store/store.ts'
import type { Principal } from '../../../tokens/principal.ts'
import { createDelegatedTokens } from './delegated-tokens.ts'
import type { StoredGrant, StoredTokens } from './grant.ts'
import type { Grants } from './grants.ts'
import { TokenExchangeError, grantEnded, toTokenExchangeError } from './token-exchange-error.ts'
import type { UpstreamRefresh } from './upstream-refresh.ts'

export interface TokenExchangeOptions {
  grants: Grants
  upstreamRefresh: UpstreamRefresh
  store: Store
  keyring: Keyring
  upstream: Pick<TokenClient, 'delegate'>
  log: Pick<Log, 'info' | 'warn'>
  /** Wall clock in milliseconds. */
  now?: () => number
}

export interface DelegationRequest {
  /** The API's name at the provider: a client id (Keycloak), an identifier or App ID URI (Auth0, Okta, Entra). */
  audience: string
  /** The API's URI, for providers that tell APIs apart by `resource` (RFC 8707). */
  resource?: string
  /** Without, the provider decides. */
  scopes?: readonly string[]
  /** For a service, a token of Seed's own. */
  allowServerToken?: boolean
}

export type TokenExchange = ReturnType<typeof createTokenExchange>

/** Minimum remaining validity of a token that a tool gets. */
const MIN_VALID_SECONDS = 30

/** Minimum remaining validity of the provider's access token for an exchange: the response may take 10 s. */
const MIN_SUBJECT_VALID_SECONDS = 15

/** In the place of a grant's id: the tokens of Seed itself. No grant has an id of this form. */
const OWN_TOKENS = 'server'

const NO_TOKEN = 'No token for another API'

const NOT_FOR_SERVICES = 'This call comes from a service: there is no person on whose behalf another API could be ' +
  'called (allowServerToken gets a token of this server itself)'

const NOT_WITH_ID_JAG = 'This call comes from a person with an ID-JAG of the identity provider, which is good for ' +
  'this server alone: only after a sign-in in the browser can another API be called on their behalf'

/** RFC 6749 section 3.3 */
const SCOPE = /^[\x21\x23-\x5b\x5d-\x7e]+$/

/**
 * Obtains tokens with which a tool calls another API of the company on behalf of its caller.
 *
 * The client's token is for Seed alone and is never passed on (MCP security best practices, token passthrough).
 * Instead Seed exchanges the provider's own access token, which lies sealed in the caller's grant, at the provider
 * (RFC 8693, or the provider's form of it). The result is kept sealed in the store, and returned only while the grant
 * exists. No log line or error contains a token.
 */
export function createTokenExchange (options: TokenExchangeOptions) {
  const { grants, upstreamRefresh, upstream, log, now = Date.now } = options
  const delegatedTokens = createDelegatedTokens(options.store, options.keyring)
  const singleFlight = createSingleFlight<string>()

  const isValidFor = (seconds: number, expiresAt: number): boolean => expiresAt * 1_000 > now() + seconds * 1_000

  async function load (grantId: string): Promise<StoredGrant> {
    const stored = await grants.find(grantId)
    if (stored !== undefined && isValidFor(0, stored.grant.expiresAt)) return stored
    throw grantEnded('its grant has ended, or never existed')
  }

  /**
   * Returns a token from the cache or the provider.
   *
   * @param grantId the caller's grant; without, the token is Seed's own
   */
  async function obtain (key: string, delegation: Delegation, grantId: string | undefined): Promise<string> {
    const stored = grantId === undefined ? undefined : await load(grantId)
    const known = await delegatedTokens.find(key)
    if (known !== undefined && isValidFor(MIN_VALID_SECONDS, known.expiresAt)) return known.token
    const request = upstream.delegate(stored === undefined ? undefined : await subjectToken(stored), delegation)
    const grantType = stored === undefined ? 'client credentials' : 'token exchange'
    const { accessToken: token, expiresInSeconds = 0 } = await nameRefusal(grantType, delegation, request)
    const nowSeconds = Math.floor(now() / 1_000)
    const grantSeconds = stored === undefined ? Infinity : stored.grant.expiresAt - nowSeconds
    const ttlSeconds = Math.min(expiresInSeconds - MIN_VALID_SECONDS, grantSeconds)
    if (ttlSeconds > 0) await delegatedTokens.save(key, { token, expiresAt: nowSeconds + expiresInSeconds }, ttlSeconds)
    // The grant may have ended while the provider was asked.
    if (grantId !== undefined) await load(grantId)
    const fields = { grant: grantId, subject: stored?.grant.subject, ...delegation }
    log.info({ event: 'token_exchange.issued', ...fields }, stored === undefined
      ? 'The provider issued this server a token for another API'
      : 'The provider issued a token for another API')
    return token
  }

  const isFresh = ({ accessExpiresAt }: StoredTokens): boolean =>
    accessExpiresAt !== undefined && isValidFor(MIN_SUBJECT_VALID_SECONDS, accessExpiresAt)

  /** Returns the provider's access token of a grant, refreshed if it has expired or its expiry is unknown. */
  async function subjectToken (stored: StoredGrant): Promise<string> {
    const tokens = grants.upstreamTokens(stored.grant)
    if (isFresh(tokens)) return tokens.accessToken
    if (tokens.refreshToken === undefined) return unrefreshableToken(tokens)

    async function refreshedByOther (): Promise<string | undefined> {
      const { grant, record } = await load(stored.grant.id)
      const current = grants.upstreamTokens(grant)
      return record !== stored.record || isFresh(current) ? current.accessToken : undefined
    }

    return await upstreamRefresh.withLock(stored.grant.id, 'tool', async () => {
      const accessToken = await refreshedByOther()
      if (accessToken !== undefined) return accessToken
      const refreshed = await upstreamRefresh.save(stored.record, await upstreamRefresh.refresh(stored))
      return grants.upstreamTokens(refreshed).accessToken
    }, refreshedByOther)
  }

  /** A token whose expiry is unknown is tried. */
  function unrefreshableToken ({ accessToken, accessExpiresAt }: StoredTokens): string {
    if (accessExpiresAt === undefined || isValidFor(0, accessExpiresAt)) return accessToken
    throw new TokenExchangeError('The sign-in is too old to get tokens for other APIs: sign in again', {
      detail: "the provider's access token has expired, and it gave no refresh token: " +
        'let it give one to OIDC_CLIENT_ID (offline_access in OIDC_SCOPES)'
    })
  }

  /** Obtains a token once for all calls that wait for it now. */
  async function share (delegation: Delegation, grantId: string | undefined, signal?: AbortSignal): Promise<string> {
    const key = delegatedTokens.keyOf(grantId ?? OWN_TOKENS, delegation)
    const token = singleFlight(key, async () =>
      await obtain(key, delegation, grantId).catch((err: unknown) => logFailure(err, grantId, delegation)))
    return await unlessAborted(token, signal)
  }

  function logFailure (err: unknown, grantId: string | undefined, delegation: Delegation): never {
    const failure = toTokenExchangeError(err)
    log.warn({ event: 'token_exchange.failed', grant: grantId, ...delegation, reason: failure.detail }, NO_TOKEN)
    throw failure
  }

  /** A caller who did not sign in at the provider through this server has no token of the provider's to exchange. */
  function checkHasGrant ({ kind, grantType, subject, clientId }: Principal, delegation: Delegation): void {
    if (grantType === 'authorization_code') return
    const fields = { subject, clientId, ...delegation }
    const reason = kind === 'service' ? 'a service calls, without allowServerToken' : 'the person came with an ID-JAG'
    log.warn({ event: 'token_exchange.failed', ...fields, reason }, NO_TOKEN)
    throw new TokenExchangeError(kind === 'service' ? NOT_FOR_SERVICES : NOT_WITH_ID_JAG)
  }

  return {
    /**
     * Returns a token of the provider's for `audience`, on behalf of this caller.
     *
     * @param request written by the tool's author, never chosen by a client or a model
     * @param signal of the call: stops waiting, with the signal's reason
     * @throws TokenExchangeError
     */
    async tokenFor (
      principal: Principal,
      { allowServerToken = false, ...request }: DelegationRequest,
      signal?: AbortSignal
    ): Promise<string> {
      signal?.throwIfAborted()
      const delegation = toDelegation(request)
      if (allowServerToken && principal.kind === 'service') return await share(delegation, undefined, signal)
      checkHasGrant(principal, delegation)
      return await share(delegation, String(principal.claims['grant']), signal)
    },

    /** Returns a token of the provider's for `audience` for Seed itself, whoever calls. @throws TokenExchangeError */
    async serverTokenFor (request: DelegationRequest): Promise<string> {
      return await share(toDelegation(request), undefined)
    }
  }
}

/** Checks what a tool's author or the operator has written. @throws TokenExchangeError */
function toDelegation ({ audience, resource, scopes = [] }: DelegationRequest): Delegation {
  if (audience === '' || !scopes.every((scope) => SCOPE.test(scope))) {
    throw new TokenExchangeError('tokenFor needs an audience, and scopes without spaces in them')
  }
  if (resource !== undefined && (!URL.canParse(resource) || resource.includes('#'))) {
    throw new TokenExchangeError('resource of tokenFor must be an absolute URI without a fragment')
  }
  return { audience, ...(resource && { resource }), scopes: [...new Set(scopes)].sort() }
}

/** Says what the provider must allow if it refuses. */
async function nameRefusal<T> (
  grantType: 'client credentials' | 'token exchange', delegation: Delegation, request: Promise<T>
): Promise<T> {
  try {
    return await request
  } catch (err) {
    // An invalid_grant is about this request alone and ends nothing.
    if (!(err instanceof OAuthError) || err.code === 'temporarily_unavailable') throw err
    const use = grantType === 'token exchange' ? 'exchange tokens' : 'use client credentials'
    const advice = `let it allow OIDC_CLIENT_ID to ${use} for this audience, and the scopes if any`
    throw new TokenExchangeError(`The identity provider gave no token for "${delegation.audience}": ${advice}`, {
      detail: `${err.detail}: ${advice}`, cause: err
    })
  }
}
