import t from 'tap'
import { readConfig } from '../../../../plugins/config.ts'
import type { AuthorizationRequest } from '../../../../src/oauth/modes/sign-in.ts'
import type { Client } from '../../../../src/oauth/clients/clients.ts'
import { createProxy } from '../../../../src/oauth/modes/proxy/proxy.ts'
import { sidKey, subjectKey, tokenKey } from '../../../../src/tokens/revocations.ts'
import { digest } from '../../../../src/crypto/hash.ts'
import type { TokenClient } from '../../../../src/provider/token-client.ts'
import type { Principal } from '../../../../src/tokens/principal.ts'
import { ProviderUnavailableError } from '../../../../src/provider/discovery.ts'
import { TokenError } from '../../../../src/tokens/token-error.ts'

const CLIENT: Client = {
  kind: 'unregistered',
  id: 'cli',
  name: 'cli',
  redirectUris: [],
  authMethod: 'none',
  secretHash: undefined,
  jwks: undefined,
  refreshes: true
}
const REQUEST: AuthorizationRequest = {
  client: CLIENT,
  redirectUri: 'http://localhost/cb',
  state: undefined,
  codeChallenge: 'x',
  scopes: ['openid'],
  nonce: undefined,
  prompt: undefined,
  maxAge: undefined,
  loginHint: undefined
}

/** The proxy with everything around it in the test's hand. */
async function setUp ({
  provider = 'generic',
  canRevoke = true,
  verify = async () => {}
}: { provider?: string, canRevoke?: boolean, verify?: () => Promise<unknown> } = {}) {
  const seen = {
    scopes: [] as Array<readonly string[]>,
    tokenScopes: [] as Array<string | undefined>,
    marks: [] as Array<[names: string[], until: number | undefined]>,
    told: [] as Array<[token: string, hint: string | undefined]>
  }
  const upstream: TokenClient = {
    authorizationUrl (_parameters, scopes) {
      seen.scopes.push(scopes)
      return new URL('https://id.example.com/auth')
    },
    readCallback () { throw new Error('not asked for') },
    async requestTokens (_grant, { scope }) {
      seen.tokenScopes.push(scope)
      return {
        accessToken: 'a',
        refreshToken: undefined,
        idToken: undefined,
        expiresInSeconds: undefined,
        scope: undefined
      }
    },
    async delegate () { throw new Error('not asked for') },
    async userinfo () { throw new Error('not asked for') },
    async revoke (token, hint) {
      seen.told.push([token, hint])
      return canRevoke
    }
  }
  const proxy = createProxy({
    config: await readConfig({
      environment: {
        OIDC_ISSUER: 'https://id.example.com',
        OIDC_AUDIENCE: 'seed',
        OIDC_PROVIDER: provider,
        OIDC_SCOPES: 'openid email api'
      }
    }),
    toolScopes: [],
    upstream,
    revocations: {
      async revoke (names, issuedUntil) {
        seen.marks.push([names, issuedUntil])
      },
      async isRevoked () {
        throw new Error('not asked for')
      },
      onRevoked () {}
    },
    verifyAccessToken: async () => (await verify()) as Principal
  })
  return { proxy, seen }
}

t.test("forwards the client's scopes, to Entra ID always all: at sign-in and at each refresh", async (t) => {
  for (const [provider, scopes, scope] of [
    ['generic', ['openid'], undefined],
    ['entra', ['openid', 'email', 'api'], 'openid email api']
  ] as const) {
    const { proxy, seen } = await setUp({ provider })
    await proxy.signIn.start(REQUEST)
    await proxy.tokenIssuer.refreshToken({ refreshToken: 'r', scope: undefined }, CLIENT)
    t.same(seen, { scopes: [scopes], tokenScopes: [scope], marks: [], told: [] }, provider)
  }
})

t.test('a logout revokes the access tokens issued so far, of the person or the session', async (t) => {
  const { proxy, seen } = await setUp()
  const before = Math.floor(Date.now() / 1_000)
  t.equal(await proxy.revokeFor({ subject: 'ada' }), 1)
  t.equal(await proxy.revokeFor({ sid: 'session' }), 1)
  t.same(seen.marks.map(([names]) => names), [[subjectKey('ada')], [sidKey('session')]])
  for (const [, until] of seen.marks) {
    t.ok(until! >= before && until! <= Date.now() / 1_000, 'those of later sign-ins are good')
  }
})

t.test('revokes a valid access token here and at the provider, any other string at the provider alone', async (t) => {
  const { proxy, seen } = await setUp()
  await proxy.tokenRevoker.revoke('good', 'access_token', CLIENT)
  t.same(seen, {
    scopes: [],
    tokenScopes: [],
    marks: [[[tokenKey(digest('good'))], undefined]],
    told: [['good', 'access_token']]
  })
  for (const refusal of [new TokenError('invalid_token', 'expired'), new ProviderUnavailableError('no keys')]) {
    const other = await setUp({ verify: async () => { throw refusal } })
    await other.proxy.tokenRevoker.revoke('refresh', undefined, CLIENT)
    t.same(other.seen.marks, [], refusal.name)
    t.same(other.seen.told, [['refresh', undefined]])
  }
  const fault = new TypeError('a bug')
  await t.rejects(
    (
      await setUp({
        verify: async () => {
          throw fault
        }
      })
    ).proxy.tokenRevoker.revoke('x', undefined, CLIENT),
    fault
  )
})

t.test('if the provider revokes nothing, access tokens are revoked here and refresh tokens are refused', async (t) => {
  const { proxy, seen } = await setUp({ canRevoke: false })
  await proxy.tokenRevoker.revoke('good', undefined, CLIENT)
  t.equal(seen.marks.length, 1)
  const other = await setUp({
    canRevoke: false,
    verify: async () => {
      throw new TokenError('invalid_format', 'no JWT')
    }
  })
  await t.rejects(other.proxy.tokenRevoker.revoke('refresh', 'refresh_token', CLIENT), {
    name: 'OAuthError',
    code: 'unsupported_token_type',
    statusCode: 400
  })
})
