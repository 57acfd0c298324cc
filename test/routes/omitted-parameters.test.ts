import t from 'tap'
import { getTokens, newRequest, post, redeem, refresh, register, signIn, startBroker } from '../support/broker.ts'

/** Parameters without a value are omitted ones (RFC 6749 sections 2.3.1, 3.1 and 3.2): real clients send them. */

const seed = await startBroker(t)

t.test('authorize ignores empty parameters', async (t) => {
  const clientId = await register(seed.url)
  const empty = ['max_age', 'response_mode', 'request', 'resource', 'scope', 'prompt', 'login_hint']
  const { url } = newRequest(seed, clientId, Object.fromEntries(empty.map((name) => [name, ''])))
  const page = await fetch(url, { redirect: 'manual' })
  t.equal(page.status, 200, 'the consent page')
})

t.test('a public client may send an empty secret, resource and scope', async (t) => {
  const { clientId, refreshToken } = await getTokens(seed)
  const form = { grant_type: 'refresh_token', client_id: clientId, client_secret: '', resource: '', scope: '' }
  const refreshed = await post(`${seed.url}/oauth/token`, { ...form, refresh_token: refreshToken })
  t.equal(refreshed.statusCode, 200)
  const basic = { authorization: `Basic ${Buffer.from(`${clientId}:`).toString('base64')}` }
  const token = String(refreshed.json['refresh_token'])
  const again = await post(`${seed.url}/oauth/token`, { grant_type: 'refresh_token', refresh_token: token }, basic)
  t.equal(again.statusCode, 200, 'in the Authorization header, too')
  const revoked = await post(`${seed.url}/oauth/revoke`, {
    client_id: clientId, client_secret: '', token_type_hint: '', token: String(again.json['refresh_token'])
  })
  t.equal(revoked.statusCode, 200)
})

t.test('an empty parameter that is needed is missing', async (t) => {
  const { clientId } = await getTokens(seed)
  const { statusCode, json } = await refresh(seed.url, clientId, '')
  t.equal(statusCode, 400)
  t.match(json, { error: 'invalid_request' })
  const signedIn = await signIn(seed)
  t.match(await redeem(seed.url, { ...signedIn, code: '' }), { statusCode: 400 })
})
