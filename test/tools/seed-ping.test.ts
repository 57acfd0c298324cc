import t from 'tap'
import { VERSION } from '../../src/config/version.ts'
import { ping, ready, startSeed } from '../support/seed.ts'

t.test('seed_ping', async (t) => {
  const seed = await startSeed(t)
  await ready(seed)
  const call = async (claims: Record<string, unknown>) => {
    const { result } = await (await ping(seed.url, await seed.provider.mint(claims))).json() as {
      result: {
        structuredContent: { caller: object }
        content: Array<{ text: string }>
      }
    }
    t.same(JSON.parse(result.content[0]!.text), result.structuredContent, 'the text is the structured content')
    return result.structuredContent
  }

  t.test('returns status, version, uptime and time', async (t) => {
    const answer = await call({})
    t.match(answer, { status: 'ok', server: 'seed', version: VERSION, uptimeSeconds: Number, timestamp: /^\d{4}-.*Z$/ })
  })

  t.test('returns what the token says about the caller', async (t) => {
    const { caller } = await call({
      sub: 'grace',
      client_id: 'claude',
      scope: 'openid mcp:read',
      name: 'Grace Hopper',
      email: 'grace@example.com',
      groups: ['navy']
    })
    t.same(caller, {
      subject: 'grace',
      clientId: 'claude',
      name: 'Grace Hopper',
      email: 'grace@example.com',
      groups: ['navy'],
      scopes: ['openid', 'mcp:read']
    })
  })

  t.test('omits what the token does not say', async (t) => {
    const { caller } = await call({
      sub: 'robot',
      client_id: undefined,
      azp: undefined,
      scope: undefined,
      name: undefined,
      email: undefined,
      groups: undefined
    })
    t.same(caller, { subject: 'robot', groups: [], scopes: [] })
  })
})
