import t from 'tap'
import type { Clients } from '../../src/oauth/clients.ts'
import { issueTokens } from '../../src/oauth/token.ts'

t.test('a fault in judging the new access token is a fault, and not taken for an acceptable token', async (t) => {
  const fault = new Error('a bug')
  const clients: Clients = {
    register: async () => { throw new Error('not asked for') },
    find: async (id) => ({ kind: 'unregistered', id })
  }
  await t.rejects(issueTokens({ grant_type: 'refresh_token', client_id: 'cli', refresh_token: 'r' }, undefined, {
    clients,
    upstream: { requestTokens: async () => ({ access_token: 'a', token_type: 'Bearer' }) },
    verifyAccessToken: async () => { throw fault },
    resource: 'http://localhost:3000/mcp',
    scopes: ['openid'],
    redirectUriSchemes: []
  }), fault)
})
