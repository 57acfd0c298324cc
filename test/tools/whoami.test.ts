import t from 'tap'
import { createTestClient } from '../../src/testing/index.ts'
import { asPrincipal } from '../support/mcp.ts'
import { whoami } from '../../src/tools/whoami.ts'

t.test('whoami', async (t) => {
  const callWhoami = async (principal?: Parameters<typeof createTestClient>[0]['principal'], more: object = {}) => {
    const client = await createTestClient({
      definitions: [whoami],
      ...(principal !== undefined && { principal }),
      ...more
    })
    t.teardown(async () => { await client.close() })
    return (await client.callTool('whoami')).structuredContent
  }

  t.test('returns what the token says, and only the names of other claims', async (t) => {
    const answer = await callWhoami({
      subject: 'ada',
      scopes: ['openid'],
      groups: ['navy'],
      clientId: 'claude',
      name: 'Ada',
      email: 'ada@example.com',
      claims: { salary: 7 }
    }, { roots: [] })
    t.match(answer, {
      signedIn: true,
      kind: 'person',
      grantType: 'authorization_code',
      subject: 'ada',
      issuer: 'https://id.example.com',
      name: 'Ada',
      email: 'ada@example.com',
      clientId: 'claude',
      scopes: ['openid'],
      groups: ['navy'],
      claims: ['client_id', 'email', 'exp', 'groups', 'iss', 'name', 'salary', 'scope', 'sub'],
      expiresAt: /^\d{4}-.*Z$/,
      client: { name: 'seed-test-client', version: '1', capabilities: ['roots'] }
    })
    t.notMatch(JSON.stringify(answer), /7[,}]/)
  })

  t.test('shows a service as one, and how it came in', async (t) => {
    t.match(await callWhoami({ subject: 'nightly', clientId: 'nightly', kind: 'service' }), {
      kind: 'service', grantType: 'client_credentials', subject: 'nightly'
    })
    t.match(await callWhoami({ subject: 'ada', grantType: 'urn:ietf:params:oauth:grant-type:jwt-bearer' }), {
      kind: 'person', grantType: 'urn:ietf:params:oauth:grant-type:jwt-bearer'
    })
  })

  t.test('shows when the person signed in at the provider, and at which level', async (t) => {
    t.match(await callWhoami({ subject: 'ada', authenticatedAt: 1_700_000_000, acr: 'phr' }), {
      authenticatedAt: '2023-11-14T22:13:20.000Z', acr: 'phr'
    })
  })

  t.test('says nothing of the grant type with a token of the provider', async (t) => {
    const { principal, client } = { principal: asPrincipal('ada'), client: { capabilities: {} } }
    t.notOk('grantType' in ((whoami.handler as (...args: unknown[]) => object)({}, { principal, client })))
  })

  t.test('omits what it does not know', async (t) => {
    t.same(
      Object.keys((await callWhoami({ subject: 'ada', claims: { client_id: undefined } }))!),
      ['signedIn', 'kind', 'grantType', 'subject', 'issuer', 'scopes', 'groups', 'claims', 'expiresAt', 'client']
    )
    t.same(
      await callWhoami(),
      { signedIn: false, client: { name: 'seed-test-client', version: '1', capabilities: [] } }
    )
    t.same((whoami.handler as (...args: unknown[]) => unknown)(
      {},
      { principal: undefined, client: { name: undefined, version: undefined, capabilities: {} } }
    ), { signedIn: false, client: { capabilities: [] } }, 'a client need not name itself')
  })
})
