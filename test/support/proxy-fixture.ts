import { readConfig } from '../../plugins/config.ts'
import { createKeyring } from '../../src/crypto/keyring.ts'
import type { Client } from '../../src/oauth/clients/clients.ts'
import { createProxy } from '../../src/oauth/modes/proxy/proxy.ts'
import type { AllowedRequest } from '../../src/oauth/modes/sign-in.ts'
import type { TokenClient } from '../../src/provider/token-client.ts'
import { createMemoryStore } from '../../src/store/memory.ts'
import type { Store } from '../../src/store/store.ts'
import type { Principal } from '../../src/tokens/principal.ts'
import { createRevocations } from '../../src/tokens/revocations.ts'
import { challengeOf } from './proxy.ts'

export const CLIENT: Client = {
  kind: 'unregistered',
  id: 'cli',
  name: 'cli',
  redirectUris: [],
  authMethod: 'none',
  secretHashes: [],
  grantTypes: undefined,
  service: undefined,
  jwks: undefined,
  refreshes: true
}
export const REDIRECT_URI = 'http://localhost/cb'
export const VERIFIER = 'v'.repeat(43)
export const REQUEST: AllowedRequest = {
  client: CLIENT,
  redirectUri: REDIRECT_URI,
  state: undefined,
  codeChallenge: challengeOf(VERIFIER),
  scopes: ['openid'],
  nonce: undefined,
  prompt: undefined,
  maxAge: undefined,
  acrValues: undefined,
  loginHint: undefined,
  reference: undefined,
  unfinished: { id: 'consent', countedUnder: ['address'] }
}
export const REDEMPTION = { code: 'c', redirectUri: REDIRECT_URI, codeVerifier: VERIFIER }

type Upstream = Pick<TokenClient, 'requestTokens' | 'revoke'>

/**
 * Proxy mode on a store in memory, next to a provider that rotates its refresh tokens (`r1`, `r2`, …) and records what
 * is sent to it. `clock.now` is the time in milliseconds.
 */
export async function createProxyFixture (options: {
  provider?: string
  verify?: (token: string) => Promise<unknown>
  requestTokens?: Upstream['requestTokens']
  revoke?: Upstream['revoke']
  store?: Store
} = {}) {
  const { provider = 'generic', verify = async () => {}, store = createMemoryStore() } = options
  const clock = { now: Date.now() }
  const log: Array<Record<string, unknown>> = []
  const audited: unknown[] = []
  const sent = {
    scopes: [] as Array<readonly string[]>,
    tokens: [] as Array<Record<string, string>>,
    revoked: [] as Array<[token: string, hint: string | undefined]>
  }
  const upstream: TokenClient = {
    effectiveScopes: (scopes) => [...scopes],
    authorizationUrl () { throw new Error('not expected') },
    async signInUrl (_parameters, scopes) {
      sent.scopes.push(scopes)
      return new URL('https://id.example.com/auth')
    },
    readCallback () { throw new Error('not expected') },
    async requestTokens (grantType, parameters) {
      sent.tokens.push(parameters)
      if (options.requestTokens !== undefined) return await options.requestTokens(grantType, parameters)
      const number = sent.tokens.length
      return {
        accessToken: `h${number}.p.s`, refreshToken: `r${number}`, idToken: 'i', expiresInSeconds: 60, scope: undefined
      }
    },
    async delegate () { throw new Error('not expected') },
    async userinfo () { throw new Error('not expected') },
    async revoke (token, hint) {
      sent.revoked.push([token, hint])
      return await options.revoke?.(token, hint) ?? true
    }
  }
  const note = (fields: object, message: string): void => { log.push({ ...fields, message }) }
  const keyring = createKeyring('a secret of the fixture', undefined)
  const revocations = createRevocations(store, 60)
  const proxy = createProxy({
    config: await readConfig({
      environment: {
        OIDC_ISSUER: 'https://id.example.com',
        OIDC_AUDIENCE: 'seed',
        OIDC_PROVIDER: provider,
        OIDC_SCOPES: 'openid email api'
      }
    }),
    store,
    findKeyring: async () => keyring,
    upstream,
    revocations,
    verifyAccessToken: async (token) => {
      await verify(token)
      return { expiresAt: Date.now() / 1_000 + 60 } as Principal
    },
    log: { info: note, warn: note, error: note },
    audit: { record (entry) { audited.push(entry) } },
    now: () => clock.now
  })

  return {
    proxy,
    store,
    revocations,
    clock,
    log,
    audited,
    sent,

    /** Allows a sign-in and redeems its code. */
    async signIn (client = CLIENT, scopes: readonly string[] = ['openid']) {
      await proxy.signIn.start({ ...REQUEST, client, scopes })
      return await proxy.tokenIssuer.authorizationCode!(REDEMPTION, client)
    },

    async refresh (refreshToken: string | undefined, client = CLIENT, scope?: string) {
      return await proxy.tokenIssuer.refreshToken({ refreshToken: refreshToken!, scope }, client)
    }
  }
}
