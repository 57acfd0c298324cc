import { OAuthError } from '../../src/errors/oauth-error.ts'
import { createKeyring } from '../../src/crypto/keyring.ts'
import type { Grant } from '../../src/oauth/modes/broker/grant.ts'
import { createGrants } from '../../src/oauth/modes/broker/grants.ts'
import type { GrantsOptions } from '../../src/oauth/modes/broker/grants-options.ts'
import { createIdentityReader } from '../../src/oauth/modes/broker/identity.ts'
import type { IdentityOptions } from '../../src/oauth/modes/broker/identity.ts'
import { createAuthenticationDemands } from '../../src/oauth/modes/broker/authentication-demands.ts'
import { createRefreshRotation } from '../../src/oauth/modes/broker/refresh-rotation.ts'
import { createUpstreamRefresh } from '../../src/oauth/modes/broker/upstream-refresh.ts'
import type { UpstreamRefreshOptions } from '../../src/oauth/modes/broker/upstream-refresh.ts'
import { createMemoryStore } from '../../src/store/memory.ts'
import { createRevocations } from '../../src/tokens/revocations.ts'
import { SEED_SECRET } from './broker.ts'
import { MAIN_ENDPOINT } from './endpoints.ts'

export const CLIENT = { id: 'client', kind: 'registered', authMethod: 'none' } as const

export interface GrantFixtureOptions
  extends Partial<Pick<GrantsOptions, 'keyring' | 'store'>>, Partial<Pick<IdentityOptions, 'verifyIdToken'>> {
  requestTokens: UpstreamRefreshOptions['upstream']['requestTokens']
  upstreamScope?: string | undefined
  now?: () => number
}

/** Grants with a clock, a store and a provider of the test's own. */
export function createGrantFixture ({
  keyring = createKeyring(SEED_SECRET, undefined),
  store = createMemoryStore(),
  now = Date.now,
  requestTokens,
  upstreamScope,
  ...identityOptions
}: GrantFixtureOptions) {
  const log = { info () {}, warn () {} }
  const revocations = createRevocations(store, 960)
  const upstream = { requestTokens, userinfo: async () => undefined, revoke: async () => true }
  const lifetimes = {
    accessTokenTtlSeconds: 900,
    refreshTokenTtlSeconds: 10_000,
    maxAgeSeconds: 20_000,
    maxAgeUncheckedSeconds: 5_000
  }
  const grants = createGrants({ store, keyring, revocations, upstream, lifetimes, log, now })
  const access = {
    groups: [],
    emailDomains: [],
    unverifiedEmail: false,
    hostedDomains: [],
    claims: [],
    contact: undefined,
    groupsClaim: 'groups',
    groupPaths: false
  }
  const identity = createIdentityReader({
    upstream,
    access,
    endpoints: [MAIN_ENDPOINT],
    log,
    verifyUserinfo: async () => { throw new Error('not expected') },
    verifyIdToken: async () => ({ iss: 'https://idp.example', sub: 'ada' }),
    ...identityOptions
  })
  return {
    store,
    grants,
    /** The rotation of one replica: it shares nothing but the store with the others. */
    replica () {
      const upstreamRefresh = createUpstreamRefresh({ grants, store, upstream, identity, upstreamScope, log, now })
      const demands = createAuthenticationDemands(store, 'https://seed.example')
      const { rotate } = createRefreshRotation({
        grants, upstreamRefresh, demands, endpoints: [MAIN_ENDPOINT], clockSkewSeconds: 0, log, now
      })
      return async (token: string): Promise<Grant> => (await rotate(token, CLIENT, { scope: undefined })).grant
    },
    async createGrant (): Promise<{ grant: Grant, token: string }> {
      const grant = await grants.activate(
        await grants.create({
          clientId: CLIENT.id,
          clientKind: CLIENT.kind,
          clientAuthMethod: CLIENT.authMethod,
          subject: 'ada',
          scope: 'openid',
          claims: {},
          sid: undefined,
          refreshes: true,
          upstream: { accessToken: 'upstream-access', refreshToken: 'upstream-1' }
        })
      )
      return { grant, token: grants.refreshToken(grant) }
    }
  }
}

/** A provider whose refresh tokens rotate: upstream-1, upstream-2, … Each works once. */
export function createRotatingProvider () {
  const presented: string[] = []
  let current = 1
  return {
    /** Refresh tokens of all requests so far. */
    presented,
    async requestTokens (_grant: string, { refresh_token: given }: Record<string, string>) {
      presented.push(given!)
      if (given !== `upstream-${current}`) {
        throw new OAuthError('invalid_grant', 'The identity provider refused the grant: sign in again')
      }
      current++
      return {
        accessToken: `access-${current}`,
        refreshToken: `upstream-${current}`,
        idToken: undefined,
        expiresInSeconds: 60,
        scope: undefined
      }
    }
  }
}

/** The token response of a provider whose refresh tokens do not rotate. */
export const steadyProvider = async () => ({
  accessToken: 'upstream-access',
  refreshToken: undefined,
  idToken: undefined,
  expiresInSeconds: 60,
  scope: undefined
})
