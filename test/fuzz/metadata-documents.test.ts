import fc from 'fast-check'
import t from 'tap'
import { OAuthError } from '../../src/errors/oauth-error.ts'
import { ID, createFixture, document } from '../support/metadata-documents.ts'
import { damaged, hugeValue, oddString, spoilt, toJson } from './arbitraries.ts'
import { check } from './fuzz-server.ts'

/** Client metadata documents, which strangers write. */
const MEMBERS = {
  client_uri: 'https://client.example',
  logo_uri: 'https://client.example/logo.png',
  grant_types: ['authorization_code', 'refresh_token'],
  response_types: ['code'],
  token_endpoint_auth_method: 'private_key_jwt',
  jwks: { keys: [{ kty: 'EC', crv: 'P-256', x: 'a', y: 'b', kid: 'one' }] },
  scope: 'openid',
  application_type: 'native'
}

t.test('a metadata document is a client, or refused with an OAuth error', async (t) => {
  const { documents, responses, state } = createFixture(t)
  const body = fc.oneof(
    { weight: 6, arbitrary: spoilt([document(ID, MEMBERS), document(ID)]).map(toJson) },
    { weight: 2, arbitrary: damaged(fc.constant(toJson(document(ID, MEMBERS)))) },
    { weight: 1, arbitrary: hugeValue.map(toJson) }
  )
  const headers = fc.dictionary(
    fc.constantFrom('content-type', 'cache-control', 'expires', 'age', 'date', 'etag'),
    fc.oneof(oddString, fc.constantFrom('application/json', 'max-age=1e9', 'max-age=-1', 'no-store', 'max-age="60"')),
    { maxKeys: 3 }
  ).map((odd) => ({ 'content-type': 'application/json', ...odd }))
  const response = fc.record({
    status: fc.oneof(fc.constant(200), fc.constant(200), fc.integer({ min: 100, max: 599 })),
    headers,
    body: body.map((bytes) => bytes.toString())
  })
  await check(fc.asyncProperty(response, fc.boolean(), async (response, isOldDocument) => {
    // The limits of fetches are per minute; after two days nothing is kept.
    state.ms += isOldDocument ? 3_600_000 : 2 * 86_400_000
    responses.set(ID, response)
    const client = await documents.find(ID).catch((err: unknown) => {
      if (!(err instanceof OAuthError) || err.statusCode >= 500) throw err
      return undefined
    })
    if (client?.redirectUris.some((uri) => typeof uri !== 'string') === true) throw new Error('Odd redirect URIs')
  }), { runs: 400 })
})

t.test('URLs of metadata documents are fetched, or refused with an OAuth error', async (t) => {
  const { documents, fetched, state } = createFixture(t)
  const url = fc.oneof(oddString.map((path) => `https://client.example/${path}`), fc.webUrl(), oddString)
  await check(fc.asyncProperty(url, async (url) => {
    state.ms += 60_000
    fetched.length = 0
    await documents.find(url).catch((err: unknown) => {
      if (!(err instanceof OAuthError) || err.statusCode >= 500) throw err
    })
    if (fetched.some((url) => !url.startsWith('https://'))) throw new Error(`Fetched ${fetched.join(', ')}`)
  }), { runs: 200 })
})
