import type { Config } from '../../../config/config.ts'
import type { Keyring } from '../../../crypto/keyring.ts'
import { verifyIdToken } from '../../../provider/id-token.ts'
import type { IdTokenOptions } from '../../../provider/id-token.ts'
import type { Store } from '../../../store/store.ts'
import type { AccessRules } from '../../../tokens/access-rules.ts'
import type { Revocations } from '../../../tokens/revocations.ts'
import type { TokenClient } from '../../../provider/token-client.ts'
import { createGrants } from './grants.ts'
import type { Grants } from './grants.ts'
import type { IdentityServices } from './identity.ts'
import { createUpstreamRefresh } from './upstream-refresh.ts'
import type { UpstreamRefresh } from './upstream-refresh.ts'

/** What sign-in, tokens and tools have in common in broker mode: one of it in a process (renewal.ts says why). */
export interface GrantServices {
  upstream: TokenClient
  grants: Grants
  renewal: UpstreamRefresh
  identity: IdentityServices
  access: AccessRules
}

export interface GrantServicesOptions {
  config: Config
  store: Store
  secrets: Keyring
  revocations: Revocations
  upstream: TokenClient
  getKey: IdTokenOptions['getKey']
  log: { info (fields: object, message: string): void, warn (fields: object, message: string): void }
}

export function createGrantServices (services: GrantServicesOptions): GrantServices {
  const { config, store, upstream, log } = services
  const { oidc } = config
  const { preset, scopes, groupsClaim } = oidc
  const access: AccessRules = { ...config.access, groupsClaim, groupPaths: preset.groupPaths }
  const idTokens: IdTokenOptions = { ...oidc, clockSkewSeconds: config.token.clockSkewSeconds, getKey: services.getKey }
  const identity: IdentityServices = { upstream, verifyIdToken: async (token, expected) => await verifyIdToken(token, idTokens, expected), log }
  const grants = createGrants({ ...services, ...config.oauth.grant })
  const renewal = createUpstreamRefresh({ ...identity, grants, store, upstream, access, upstreamScope: preset.alwaysAllScopes ? scopes.join(' ') : undefined, log })
  return { upstream, grants, renewal, identity, access }
}
