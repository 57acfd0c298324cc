import type { Config } from '../../config/env.ts'
import { verifyIdToken } from '../../oidc/id-token.ts'
import type { IdTokenOptions } from '../../oidc/id-token.ts'
import type { Principal } from '../../oidc/principal.ts'
import type { ProviderMetadata } from '../../oidc/provider.ts'
import type { Store } from '../../store/store.ts'
import type { AccessRules } from '../access-rules.ts'
import type { Clients } from '../clients.ts'
import type { Mode } from '../mode.ts'
import type { Revocations } from '../revocations.ts'
import type { Secrets } from '../../crypto/secrets.ts'
import type { Upstream } from '../upstream.ts'
import { createCodes } from './codes.ts'
import { createGrants } from './grants.ts'
import { createRefresh } from './refresh.ts'
import { createBrokerRevocation } from './revocation.ts'
import { createBrokerSignIn } from './sign-in.ts'
import type { BrokerSignIn } from './sign-in.ts'
import type { SigningKeys } from './signing-keys.ts'
import { createBrokerTokens } from './token.ts'

export interface BrokerServices {
  config: Config
  /** Claims that policies of tools ask for. */
  policyClaims: readonly string[]
  store: Store
  secrets: Secrets
  signingKeys: SigningKeys
  revocations: Revocations
  upstream: Upstream
  clients: Pick<Clients, 'used'>
  provider: () => ProviderMetadata
  getKey: IdTokenOptions['getKey']
  /** Seed's own, as /mcp judges them. */
  verifyAccessToken: (token: string) => Promise<Principal>
  log: { info (fields: object, message: string): void, warn (fields: object, message: string): void }
}

/** OAUTH_MODE=broker: Seed issues codes and tokens of its own, and keeps the provider's to itself. */
export function createBroker (services: BrokerServices): Mode & { signIn: BrokerSignIn } {
  const { config, store, upstream, log } = services
  const { oidc, baseUrl, grant: lifetimes } = config
  const { preset, scopes, groupsClaim, clientId } = oidc
  const groups = { groupsClaim, groupPaths: preset.groupPaths }
  const access: AccessRules = { ...config.access, ...groups }
  const idTokens: IdTokenOptions = { ...oidc, clockSkewSeconds: config.token.clockSkewSeconds, getKey: services.getKey }
  const identity = { upstream, verifyIdToken: async (token: string, expected?: Parameters<typeof verifyIdToken>[2]) => await verifyIdToken(token, idTokens, expected), log }
  const grants = createGrants({ ...services, ...lifetimes })
  const codes = createCodes(store, grants)

  return {
    signIn: createBrokerSignIn({
      ...identity,
      store,
      clients: services.clients,
      codes,
      grants,
      upstream,
      provider: services.provider,
      upstreamClientId: clientId,
      baseUrl,
      scopes,
      access,
      redirectUriSchemes: config.registration.redirectUriSchemes
    }),
    issuer: createBrokerTokens({
      codes,
      grants,
      refresh: createRefresh({ ...identity, grants, store, upstream, access, upstreamScope: preset.alwaysAllScopes ? scopes.join(' ') : undefined, log }),
      accessToken: { signingKeys: services.signingKeys, issuer: baseUrl, resource: config.resource, ttlSeconds: lifetimes.accessTokenTtlSeconds },
      groups,
      policyClaims: services.policyClaims
    }),
    revoker: createBrokerRevocation({ grants, verifyAccessToken: services.verifyAccessToken }),
    end: async (who) => await grants.revokeAll(who, 'logged out at the provider')
  }
}
