import { createSingleFlight } from '../../../async/single-flight.ts'
import type { Endpoint } from '../../../config/endpoints.ts'
import type { CauseCode } from '../../../errors/causes.ts'
import { OAuthError } from '../../../errors/oauth-error.ts'
import type { Log } from '../../../logging/log.ts'
import { narrowScope } from '../../protocol/scope.ts'
import { digest, timingSafeEquals } from '../../../crypto/hash.ts'
import type { TraceStep } from '../../../trace/step.ts'
import { describeUnmetAuthentication } from '../../../tokens/authentication.ts'
import type { RefreshRequest } from '../mode.ts'
import type { AuthenticationDemands } from './authentication-demands.ts'
import { checkTarget, findGrantEndpoint } from './grant-endpoint.ts'
import { isSameClient } from './grant.ts'
import type { Grant, GrantClient, StoredGrant } from './grant.ts'
import type { Grants } from './grants.ts'
import { parseRefreshToken } from './refresh-token-format.ts'
import type { RefreshToken } from './refresh-token-format.ts'
import type { UpstreamRefresh } from './upstream-refresh.ts'

export interface RefreshRotationOptions {
  grants: Grants
  upstreamRefresh: UpstreamRefresh
  demands: Pick<AuthenticationDemands, 'find'>
  endpoints: readonly Endpoint[]
  /** TOKEN_CLOCK_SKEW_SECONDS */
  clockSkewSeconds: number
  log: Pick<Log, 'warn'>
  /** Wall clock in milliseconds. */
  now?: () => number
}

export type RefreshRotation = ReturnType<typeof createRefreshRotation>

const GRACE_MS = 30_000

/**
 * Replaces refresh tokens at each use (OAuth 2.1 section 4.3.1), in one atomic step of the store. A token that is used
 * again within the grace window gets the same successor: responses get lost, and hosted clients refresh from two
 * machines at once. After it a second use is theft, and the grant ends.
 *
 * The provider's tokens are refreshed first, so that a person who may no longer sign in gets no new tokens.
 */
export function createRefreshRotation (options: RefreshRotationOptions) {
  const { grants, upstreamRefresh, demands, endpoints, clockSkewSeconds, log, now = Date.now } = options
  const singleFlight = createSingleFlight<Grant>()

  /** @throws OAuthError invalid_grant */
  async function load (token: RefreshToken): Promise<StoredGrant> {
    const stored = await grants.find(token.grantId)
    if (stored === undefined) throw invalidGrant('its grant has ended, or never existed', 'grant_ended')
    if (stored.grant.expiresAt * 1_000 <= now()) {
      throw invalidGrant('its grant has reached its maximum age (GRANT_MAX_AGE)', 'grant_ended')
    }
    return stored
  }

  /** Nothing is ended for a token that Seed did not make, or of another client: anyone could end anyone's grant. */
  function checkToken (presented: string, token: RefreshToken, grant: Grant, client: GrantClient): void {
    if (!grants.isGenuine(token, grant)) {
      throw invalidGrant('it was not issued here (or SEED_SECRET was changed)', 'secret_changed')
    }
    if (token.number === grant.number && !timingSafeEquals(digest(presented), grant.currentHash)) {
      throw invalidGrant('it is not the current one')
    }
    if (client.id !== grant.clientId) throw invalidGrant('it was issued to another client')
    if (!isSameClient(grant, client)) {
      throw invalidGrant(`its client was ${grant.clientKind} and authenticated with ${grant.clientAuthMethod}; ` +
        `now it is ${client.kind} and authenticates with ${client.authMethod}`)
    }
  }

  /**
   * Refuses while a call waits for a sign-in that this grant does not have: a refresh brings none (RFC 9470). Clients
   * forget a refresh token that is an `invalid_grant`, and send the person to sign in. The grant does not end: the call
   * may have been another program's with this token.
   */
  async function checkDemand (grant: Grant): Promise<void> {
    const demand = await demands.find(grant)
    if (demand?.grantId !== grant.id) return
    const unmet = describeUnmetAuthentication(demand, grant.authentication ?? {}, {
      now: Math.floor(now() / 1_000), clockSkewSeconds
    })
    if (unmet.length === 0) return
    throw new OAuthError('invalid_grant', 'A tool demands that the person signs in again: a refresh is no sign-in', {
      detail: unmet.join('; '), causeCode: 'sign_in_demanded'
    })
  }

  /** Returns the grant if the token was used before: a repetition within the grace window, theft after it. */
  async function alreadyRotated (grant: Grant, token: RefreshToken): Promise<Grant | undefined> {
    if (token.number >= grant.number) return undefined
    if (token.number === grant.number - 1 && now() - grant.rotatedAt <= GRACE_MS) return grant
    const { id, subject, clientId, number: current } = grant
    const fields = { grant: id, subject, clientId, number: token.number, current }
    log.warn({ event: 'grant.refresh_token_reused', ...fields },
      'A refresh token was used again after it had been replaced: the grant ends')
    await grants.revoke(grant.id, 'refresh token used again after the grace window')
    throw invalidGrant('it was replaced before: its grant has ended', 'refresh_token_replayed')
  }

  async function refreshAndRotate (token: RefreshToken): Promise<Grant> {
    return await upstreamRefresh.withLock(token.grantId, 'refresh', async () => {
      // Read again: another replica may have held the lock.
      const stored = await load(token)
      const rotated = await alreadyRotated(stored.grant, token)
      if (rotated !== undefined) return rotated
      if (token.number > stored.grant.number) {
        const fields = { grant: token.grantId, number: token.number, current: stored.grant.number }
        log.warn({ event: 'grant.rotation_lost', ...fields },
          'The store has lost a rotation: continuing from the refresh token that the client holds')
      }
      const refreshed = await upstreamRefresh.refresh(stored)
      return await upstreamRefresh.save(stored.record, grants.rotate(refreshed, token.number))
    }, async () => await alreadyRotated((await load(token)).grant, token))
  }

  return {
    /**
     * Returns the grant with its next refresh token, and the scope of the new access token. An invalid scope or
     * resource is refused before anything is rotated.
     *
     * @throws OAuthError, ProviderUnavailableError, StoreUnavailableError
     */
    async rotate (
      presented: string,
      client: GrantClient,
      { scope, target }: Omit<RefreshRequest, 'refreshToken'>,
      step?: TraceStep
    ): Promise<{ grant: Grant, scope: string }> {
      const token = parseRefreshToken(presented)
      if (token === undefined) throw invalidGrant('it does not have the format of a refresh token')
      const { grant } = await load(token)
      checkToken(presented, token, grant, client)
      step?.belongsTo(grant.reference)
      checkTarget(target, grant)
      findGrantEndpoint(endpoints, grant)
      await checkDemand(grant)
      const granted = narrowScope(scope, grant.scope)
      const rotated = await alreadyRotated(grant, token) ??
        await singleFlight(`${token.grantId}.${token.number}`, async () => await refreshAndRotate(token))
      return { grant: rotated, scope: granted }
    }
  }
}

function invalidGrant (detail: string, causeCode: CauseCode = 'refresh_token_invalid'): OAuthError {
  return new OAuthError('invalid_grant', 'The refresh token is not valid (any more): sign in again', {
    detail, causeCode
  })
}
