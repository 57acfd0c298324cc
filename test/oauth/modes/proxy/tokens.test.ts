import t from 'tap'
import { AccessDeniedError } from '../../../../src/errors/sign-in-errors.ts'
import type { Client } from '../../../../src/oauth/clients/clients.ts'
import { createProxyTokens } from '../../../../src/oauth/modes/proxy/tokens.ts'
import type { ProxyTokensOptions } from '../../../../src/oauth/modes/proxy/tokens.ts'
import { ProviderUnavailableError } from '../../../../src/provider/discovery.ts'

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
const REFRESH = { refreshToken: 'r', scope: undefined }

/** The proxy's tokens next to a provider that gives one, and what it was asked for. */
function setUp (changes: Partial<ProxyTokensOptions> = {}) {
  const asked: Array<Record<string, string>> = []
  const tokens = createProxyTokens({
    toolScopes: [],
    upstream: {
      async requestTokens (_grant, parameters) {
        asked.push(parameters)
        return {
          accessToken: 'a',
          refreshToken: undefined,
          idToken: 'never passed on',
          expiresInSeconds: undefined,
          scope: undefined
        }
      }
    },
    verifyAccessToken: async () => {},
    scopes: ['openid', 'email', 'groups'],
    alwaysScopes: undefined,
    redirectUriSchemes: [],
    ...changes
  })
  return { asked, tokens }
}

t.test('an unexpected error in verifying the new access token is thrown', async (t) => {
  const fault = new Error('a bug')
  await t.rejects(setUp({ verifyAccessToken: async () => { throw fault } }).tokens.refreshToken(REFRESH, CLIENT), fault)
})

t.test('a token that cannot be verified just now is forwarded', async (t) => {
  const { tokens } = setUp({ verifyAccessToken: async () => { throw new ProviderUnavailableError('no keys') } })
  t.same(await tokens.refreshToken(REFRESH, CLIENT), { access_token: 'a', token_type: 'Bearer' })
})

t.test('a refused person learns whom to ask, and the log names the rule', async (t) => {
  for (const [contact, detail, message, logged] of [
    [undefined, undefined, 'Not you', 'ACCESS_GROUPS: Not you'],
    ['it@example.com', 'no groups', 'Not you; ask it@example.com', 'ACCESS_GROUPS: no groups']
  ] as const) {
    const { tokens } = setUp({
      verifyAccessToken: async () => {
        throw new AccessDeniedError('ACCESS_GROUPS', 'Not you', contact, detail)
      }
    })
    await t.rejects(tokens.refreshToken(REFRESH, CLIENT), {
      name: 'OAuthError',
      statusCode: 403,
      code: 'access_denied',
      message,
      detail: logged
    })
  }
})

t.test('a provider that needs all scopes at each refresh gets them, whatever the client requests', async (t) => {
  const { asked, tokens } = setUp({ alwaysScopes: ['openid', 'email', 'groups'] })
  await tokens.refreshToken(REFRESH, CLIENT)
  await tokens.refreshToken({ ...REFRESH, scope: 'email' }, CLIENT)
  t.same(asked, Array(2).fill({ refresh_token: 'r', scope: 'openid email groups' }))
  await t.rejects(tokens.refreshToken({ ...REFRESH, scope: 'admin' }, CLIENT), { code: 'invalid_scope' })
})
