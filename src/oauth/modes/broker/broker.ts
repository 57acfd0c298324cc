import type { MaybePromise } from '../../../async/maybe-async.ts'
import type { Config } from '../../../config/config.ts'
import type { Principal } from '../../../tokens/principal.ts'
import type { ProviderMetadata } from '../../../provider/discovery.ts'
import type { Store } from '../../../store/store.ts'
import type { Clients } from '../../clients/clients.ts'
import type { Mode } from '../mode.ts'
import { createAuthorizationCodes } from './authorization-codes.ts'
import type { GrantServices } from './grant-services.ts'
import { createRefreshRotation } from './refresh-rotation.ts'
import { createBrokerRevocation } from './revocation.ts'
import { createBrokerSignIn } from './sign-in.ts'
import type { BrokerSignIn } from './sign-in.ts'
import type { SigningKeys } from '../../../tokens/signing-keys.ts'
import { createBrokerTokens } from './tokens.ts'

export interface BrokerServices {
  config: Config
  /** Claims that policies of tools ask for. */
  policyClaims: readonly string[]
  store: Store
  signingKeys: SigningKeys
  core: GrantServices
  clients: Pick<Clients, 'keepAlive'>
  provider: () => ProviderMetadata
  /** Seed's own, as /mcp judges them. */
  verifyAccessToken: (token: string) => MaybePromise<Principal>
  log: { warn (fields: object, message: string): void }
}

/** OAUTH_MODE=broker: Seed issues codes and tokens of its own, and keeps the provider's to itself. */
export function createBroker (services: BrokerServices): Mode & { signIn: BrokerSignIn } {
  const { config, store, core, log } = services
  const { upstream, grants, renewal, identity, access } = core
  const { oidc, baseUrl, oauth: { grant: lifetimes } } = config
  const { preset, scopes, groupsClaim, clientId } = oidc
  const codes = createAuthorizationCodes(store, grants)

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
      redirectUriSchemes: config.oauth.redirectUriSchemes
    }),
    issuer: createBrokerTokens({
      codes,
      grants,
      refresh: createRefreshRotation({ grants, renewal, log }),
      accessToken: { signingKeys: services.signingKeys, issuer: baseUrl, resource: config.resource, ttlSeconds: lifetimes.accessTokenTtlSeconds },
      groups: { groupsClaim, groupPaths: preset.groupPaths },
      policyClaims: services.policyClaims
    }),
    revoker: createBrokerRevocation({ grants, verifyAccessToken: services.verifyAccessToken }),
    revokeFor: async (who) => await grants.revokeAll(who, 'logged out at the provider')
  }
}
