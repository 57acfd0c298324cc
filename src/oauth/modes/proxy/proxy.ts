import type { MaybePromise } from '../../../async/maybe-async.ts'
import type { AuditTrail } from '../../../audit/audit-log.ts'
import type { Config } from '../../../config/config.ts'
import type { Log } from '../../../logging/log.ts'
import type { TokenClient } from '../../../provider/token-client.ts'
import type { Store } from '../../../store/store.ts'
import type { Principal } from '../../../tokens/principal.ts'
import { sidKey, subjectKey, subjectWithoutSidKey } from '../../../tokens/revocations.ts'
import type { Revocations } from '../../../tokens/revocations.ts'
import type { Mode } from '../mode.ts'
import { createUpstreamRefreshLock } from '../upstream-refresh-lock.ts'
import { createApprovals } from './approvals.ts'
import { createForwardTokens } from './forward-tokens.ts'
import { createIssuedTokens } from './issued-tokens.ts'
import { createRefreshFamilies } from './refresh-families.ts'
import { createRefreshTokenFormat } from './refresh-token-format.ts'
import { createProxyRevocation } from './revocation.ts'
import { createProxySignIn } from './sign-in.ts'
import type { FindKeyring } from '../../../crypto/keyring.ts'
import { createProxyTokens } from './tokens.ts'

export interface ProxyOptions {
  config: Config
  store: Store
  findKeyring: FindKeyring
  upstream: TokenClient
  revocations: Revocations
  /** Verifies an access token of the provider's, as /mcp does. */
  verifyAccessToken: (token: string) => MaybePromise<Principal>
  log: Log
  audit?: AuditTrail | undefined
  /** Wall clock in milliseconds. */
  now?: () => number
}

const ONLY_SESSION = 'A back-channel logout names a session (sid) and no subject (sub): access tokens without ' +
  'this sid stay valid until they expire. Let the provider send sub too, or put sid into access tokens, ' +
  'or use OAUTH_MODE=broker'

/** OAUTH_MODE=proxy: the provider issues the tokens, and Seed forwards what a person has allowed here. */
export function createProxy (options: ProxyOptions): Mode {
  const { config: { oidc, oauth, token }, store, findKeyring, upstream, revocations } = options
  const { verifyAccessToken, log, audit } = options
  const { alwaysAllScopes } = oidc.preset
  const { now = Date.now } = options
  const ttlSeconds = oauth.grant.refreshTokenTtlSeconds
  const approvals = createApprovals(store, now)
  const issuedTokens = createIssuedTokens(store)
  const format = createRefreshTokenFormat(findKeyring)
  const families = createRefreshFamilies({
    store, findKeyring, format, revocations, upstream, ttlSeconds, log, audit, now
  })
  return {
    signIn: createProxySignIn(upstream, approvals, alwaysAllScopes ? oidc.scopes : []),
    tokenIssuer: createProxyTokens({
      approvals,
      format,
      families,
      withLock: createUpstreamRefreshLock(store),
      upstream,
      forwardTokens: createForwardTokens({ ...token, verifyAccessToken, issuedTokens }),
      alwaysAllScopes,
      redirectUriSchemes: oauth.redirectUriSchemes,
      log,
      now
    }),
    tokenRevoker: createProxyRevocation({ format, families, issuedTokens, revocations, upstream }),

    /**
     * The provider keeps the grants; here the access tokens issued so far are refused. A provider's clock may be ahead
     * by as much as the verifier accepts, and many providers put no `sid` into access tokens.
     */
    async revokeFor ({ subject, sid }) {
      const issuedUntil = Math.floor(now() / 1_000) + token.clockSkewSeconds
      const revocationKeys = sid === undefined
        ? [subjectKey(subject)]
        : [sidKey(sid), ...(subject === undefined ? [] : [subjectWithoutSidKey(subject)])]
      await revocations.revoke(revocationKeys, issuedUntil)
      if (sid !== undefined && subject === undefined) log.warn({ event: 'logout.session_only', sid }, ONLY_SESSION)
      return undefined
    }
  }
}
