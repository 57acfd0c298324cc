import t from 'tap'
import { codeRedirect, errorRedirect } from '../../../src/oauth/protocol/authorization-response.ts'

const ISSUER = 'https://seed.example.com'

t.test('a code is returned with state and iss', async (t) => {
  const url = codeRedirect({ redirectUri: 'https://client.example/cb', state: 'a b&c=d#e' }, 'the-code', ISSUER)
  t.equal(url.origin + url.pathname + url.hash, 'https://client.example/cb')
  t.same([...url.searchParams], [['code', 'the-code'], ['state', 'a b&c=d#e'], ['iss', ISSUER]])
})

t.test("an error is returned with its code, Seed's own text, state and iss", async (t) => {
  const url = errorRedirect(
    { redirectUri: 'cursor://anysphere.cursor-mcp/oauth/callback', state: '' },
    { code: 'access_denied', message: 'The person did not allow the application' },
    ISSUER
  )
  t.ok(url.href.startsWith('cursor://anysphere.cursor-mcp/oauth/callback?'))
  t.same([...url.searchParams], [['error', 'access_denied'], [
    'error_description',
    'The person did not allow the application'
  ], ['state', ''], ['iss', ISSUER]], 'an empty state is a state')
  const unadvertised = errorRedirect(
    { redirectUri: 'https://client.example/cb' },
    { code: 'server_error', message: 'y' },
    undefined
  )
  t.same([...unadvertised.searchParams.keys()], ['error', 'error_description'], 'no iss where it is not advertised')
})

t.test('the query of the redirect URI is kept and cannot replace the response', async (t) => {
  const url = codeRedirect(
    { redirectUri: 'https://client.example/cb?tenant=a&state=theirs&code=theirs&iss=theirs' },
    'the-code',
    ISSUER
  )
  t.same(
    [...url.searchParams],
    [['tenant', 'a'], ['state', 'theirs'], ['code', 'the-code'], ['iss', ISSUER]],
    'no state is added where the request had none'
  )
  t.same(codeRedirect(
    { redirectUri: 'https://client.example/cb?state=theirs', state: 'ours' },
    'c',
    ISSUER
  ).searchParams.getAll('state'), ['ours'])
})
