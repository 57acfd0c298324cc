import type { AuditTrail } from '../../../audit/audit-log.ts'
import type { Config } from '../../../config/config.ts'
import type { Keyring } from '../../../crypto/keyring.ts'
import type { Log } from '../../../logging/log.ts'
import { verifyIdToken, verifyUserinfo } from '../../../provider/id-token.ts'
import type { IdTokenOptions } from '../../../provider/id-token.ts'
import type { TokenClient } from '../../../provider/token-client.ts'
import type { Store } from '../../../store/store.ts'
import type { Revocations } from '../../../tokens/revocations.ts'
import { createAuthenticationDemands } from './authentication-demands.ts'
import { createGrants } from './grants.ts'
import { createIdentityReader } from './identity.ts'
import { createUpstreamRefresh } from './upstream-refresh.ts'

export interface GrantServicesOptions {
  config: Config
  store: Store
  keyring: Keyring
  revocations: Revocations
  upstream: TokenClient
  /** The provider's keys. */
  getKey: IdTokenOptions['getKey']
  log: Log
  audit: AuditTrail | undefined
}

export type GrantServices = ReturnType<typeof createGrantServices>

/** The services shared by sign-in, token endpoint and tools; one instance per process (see upstream-refresh.ts). */
export function createGrantServices (options: GrantServicesOptions) {
  const { config, store, keyring, revocations, upstream, getKey, log, audit } = options
  const { preset, scopes, groupsClaim } = config.oidc
  const idTokenOptions: IdTokenOptions = { ...config.oidc, clockSkewSeconds: config.token.clockSkewSeconds, getKey }
  const identity = createIdentityReader({
    upstream,
    verifyIdToken: async (token, expected) => await verifyIdToken(token, idTokenOptions, expected),
    verifyUserinfo: async (token) => await verifyUserinfo(token, idTokenOptions),
    access: { ...config.access, groupsClaim, groupPaths: preset.groupPaths },
    endpoints: config.endpoints,
    log
  })
  const grants = createGrants({ store, keyring, revocations, upstream, lifetimes: config.oauth.grant, log, audit })
  const upstreamScope = preset.alwaysAllScopes ? scopes.join(' ') : undefined
  const upstreamRefresh = createUpstreamRefresh({ grants, store, upstream, identity, upstreamScope, log })
  const demands = createAuthenticationDemands(store, config.baseUrl)
  return { upstream, identity, grants, upstreamRefresh, demands }
}
