import type { MaybePromise } from '../../../async/maybe-async.ts'
import type { Config } from '../../../config/config.ts'
import type { Keyring } from '../../../crypto/keyring.ts'
import type { Log } from '../../../logging/log.ts'
import type { Principal } from '../../../tokens/principal.ts'
import type { Revocations } from '../../../tokens/revocations.ts'
import type { SigningKeys } from '../../../tokens/signing-keys.ts'
import type { Store } from '../../../store/store.ts'
import type { TrustedIssuers } from '../../../workloads/trusted-issuers.ts'
import type { Clients } from '../../clients/clients.ts'
import type { Mode, TokenIssuer } from '../mode.ts'
import { createAuthorizationCodes } from './authorization-codes.ts'
import { createClientCredentialsGrant } from './client-credentials.ts'
import { createEnterpriseAuthorization } from './enterprise-authorization.ts'
import type { GrantServices } from './grant-services.ts'
import type { IdentityAssertionOptions } from './identity-assertion.ts'
import { createRefreshRotation } from './refresh-rotation.ts'
import { createBrokerRevocation } from './revocation.ts'
import { createTokenWithoutGrantIssuer } from './tokens-without-grant.ts'
import type { IssueTokenWithoutGrant } from './tokens-without-grant.ts'
import { createBrokerSignIn } from './sign-in.ts'
import type { BrokerSignIn } from './sign-in.ts'
import { createBrokerTokens } from './grant-types.ts'
import { createConnectionsPage } from './connections-page.ts'
import type { ConnectionsPageServices } from './connections-page.ts'
import { createWorkloadTokens } from './workload-tokens.ts'

export interface BrokerOptions {
  config: Config
  /** Scopes and claims that the policies of tools need. */
  requirements: { scopes: readonly string[], claims: readonly string[] }
  store: Store
  keyring: Keyring
  signingKeys: SigningKeys
  revocations: Revocations
  grantServices: GrantServices
  clients: Pick<Clients, 'keepAlive'>
  /** Verifies tokens of workloads; undefined without TRUSTED_ISSUERS. */
  trustedIssuers: TrustedIssuers | undefined
  /** The provider's keys. */
  getKey: IdentityAssertionOptions['getKey']
  /** Verifies an access token of Seed's own, as /mcp does. */
  verifyAccessToken: (token: string) => MaybePromise<Principal>
  log: Log
}

export interface Broker extends Mode {
  signIn: BrokerSignIn
  /** The page /connections; undefined with CONNECTIONS_PAGE=false. */
  connections: ConnectionsPageServices | undefined
}

/** OAUTH_MODE=broker: Seed issues codes and tokens of its own, and keeps the provider's to itself. */
export function createBroker (options: BrokerOptions): Broker {
  const { config, store, grantServices, requirements, log } = options
  const { grants, upstreamRefresh, demands } = grantServices
  const { oidc, baseUrl, endpoints, oauth, token: { clockSkewSeconds } } = config
  const codes = createAuthorizationCodes(store, grants)
  const accessToken = {
    signingKeys: options.signingKeys,
    issuer: baseUrl,
    ttlSeconds: oauth.grant.accessTokenTtlSeconds
  }
  const issueTokenWithoutGrant = createTokenWithoutGrantIssuer(accessToken)
  // The operator wrote the groups of services, so they are where Seed's own tokens have them.
  const serviceAccess = { ...config.access, groupsClaim: 'groups', groupPaths: false }
  const clientCredentials = oauth.configuredClients.some(({ service }) => service !== undefined)
    ? createClientCredentialsGrant({ issueTokenWithoutGrant, access: serviceAccess, scopes: oidc.scopes })
    : undefined
  const workloadToken = options.trustedIssuers && createWorkloadTokens({
    trustedIssuers: options.trustedIssuers,
    access: serviceAccess,
    scopes: oidc.scopes,
    clockSkewSeconds: config.token.clockSkewSeconds,
    store,
    revocations: options.revocations,
    issueTokenWithoutGrant
  })
  const connections = oauth.showConnectionsPage ? createConnectionsPage(options) : undefined

  return {
    signIn: createBrokerSignIn({
      ...grantServices,
      store,
      keyring: options.keyring,
      codes,
      clients: options.clients,
      baseUrl,
      scopes: oidc.scopes,
      redirectUriSchemes: oauth.redirectUriSchemes,
      clockSkewSeconds
    }),
    tokenIssuer: createBrokerTokens({
      codes,
      grants,
      rotation: createRefreshRotation({ grants, upstreamRefresh, demands, endpoints, clockSkewSeconds, log }),
      clientCredentials,
      accessToken,
      endpoints,
      groups: { groupsClaim: oidc.groupsClaim, groupPaths: oidc.preset.groupPaths },
      policyClaims: requirements.claims,
      jwtBearer: createJwtBearer(options, issueTokenWithoutGrant),
      workloadToken,
      isEnterpriseOnly: oauth.enterpriseAuthorization === 'only'
    }),
    tokenRevoker: createBrokerRevocation({ grants, verifyAccessToken: options.verifyAccessToken }),
    connections,
    revokeFor: async (who) => await grants.revokeAll(who, 'logged out at the provider')
  }
}

/** The grant type jwt-bearer, unless ENTERPRISE_AUTHORIZATION is off. */
function createJwtBearer (
  { config, store, requirements, revocations, getKey }: BrokerOptions, issueTokenWithoutGrant: IssueTokenWithoutGrant
): TokenIssuer['jwtBearer'] {
  const { oidc, oauth, token, access, baseUrl, endpoints } = config
  if (oauth.enterpriseAuthorization === 'off') return undefined
  return createEnterpriseAuthorization({
    assertions: { ...oidc, clockSkewSeconds: token.clockSkewSeconds, getKey, baseUrl, endpoints },
    access: { ...access, groupsClaim: oidc.groupsClaim, groupPaths: oidc.preset.groupPaths },
    commonScopes: oidc.scopes,
    toolScopes: requirements.scopes,
    policyClaims: requirements.claims,
    store,
    revocations,
    issueTokenWithoutGrant
  })
}
