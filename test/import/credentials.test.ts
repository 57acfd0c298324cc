import t from 'tap'
import { writeClientFile } from '../../src/import/client-file.ts'
import { writeClientTestFile } from '../../src/import/client-test-file.ts'
import { secretHeaderOf } from '../../src/import/credentials.ts'
import { createDescription } from '../../src/import/description.ts'
import { EMPTY, callImported, createImportFixture, describeApi, startApi } from './fixture.ts'

const TARGET = { name: 'x', out: 'test/tools', tests: 'test' }

t.test('the client sends a secret as the first security scheme with a header says', async (t) => {
  for (const [schemes, name, source] of [
    [{ a: { type: 'http', scheme: 'Basic' } }, 'authorization', 'authorization: \'Basic \' + Buffer.from(secret)'],
    [{ a: { type: 'http', scheme: 'bearer' } }, 'authorization', 'authorization: \'Bearer \' + secret'],
    [{ a: { type: 'oauth2' } }, 'authorization', 'authorization: \'Bearer \' + secret'],
    [{ a: { type: 'apiKey', in: 'query', name: 'key' }, b: { type: 'apiKey', in: 'header', name: 'Api-Key' } }, 'api-key', '\'api-key\': secret'],
    [{ a: { type: 'apiKey', in: 'header', name: 'Host' } }, 'authorization', '\'Bearer \'']
  ] as const) {
    const api = await createDescription({ components: { securitySchemes: schemes } })
    const header = secretHeaderOf(api, [])
    t.equal(header.name, name)
    t.match(writeClientFile(TARGET, header, ''), source)
  }
  t.match(writeClientTestFile(TARGET, { name: 'authorization', prefix: 'Basic ', isBasic: true }), '\'Basic dG9wLXNlY3JldA==\'')
})

/** An API whose operations have these parameters, all of them required. */
function withParameters (parameters: readonly string[], securitySchemes: object = {}): object {
  const list = parameters.map((text) => {
    const [location, name] = text.split(' ')
    return { in: location, name, required: true, schema: { type: 'string' } }
  })
  return describeApi({
    '/a': { parameters: list, get: { ...EMPTY, operationId: 'a' } }, '/b': { get: { ...EMPTY, parameters: list } }
  }, { components: { securitySchemes } })
}

t.test('secrets are no arguments, as models must not know them', async (t) => {
  const key = { type: 'apiKey', in: 'query', name: 'key' }
  for (const [parameters, schemes, header, unsent] of [
    [['header X-Api-Key'], {}, 'x-api-key', undefined],
    [['header xi-api-key', 'header Ocp-Apim-Subscription-Key'], {}, 'xi-api-key', 'ocp-apim-subscription-key (header)'],
    [['header api_key', 'header Secret'], {}, 'api_key', 'secret (header)'],
    [['header token', 'query access_token'], {}, 'authorization', 'token (header), access_token (query)'],
    [['query key', 'query apikey'], { key }, 'authorization', 'key (query), apikey (query)'],
    [['header auth_key'], { basic: { type: 'http', scheme: 'basic' } }, 'authorization', 'auth_key (header)'],
    [['header X-Secret-Way'], { own: { type: 'apiKey', in: 'header', name: 'x-secret-way' } }, 'x-secret-way', undefined]
  ] as const) {
    const project = await createImportFixture(t)
    const { notes } = await project.run(withParameters(parameters, schemes))
    const label = parameters.join(', ')
    t.match(await project.read('src/tools/_test-client.ts'), new RegExp(`headers: \\{ '?${header}'?: `), label)
    t.same(notes, unsent === undefined
      ? []
      : [{
          key: 'all operations',
          reason: `secrets are no arguments, and the client sends one, in the header ${header}, but not ${unsent}`
        }], label)
    const api = await startApi(t, 'TEST_URL', { status: 200, body: undefined })
    t.notMatch(await callImported(await project.load('a.js'), {}), { isError: true }, label)
    t.equal(api.requests[0]?.url, '/a')
  }
})

t.test('parameters whose names only look like secrets are arguments', async (t) => {
  const names = ['header Idempotency-Key', 'header X-Next-Token', 'query page_token', 'query key', 'query token', 'query api_keys']
  const project = await createImportFixture(t)
  t.same((await project.run(withParameters(names))).notes, [])
  const { input } = await project.load('a.js')
  t.same(Object.keys(input.properties), names.map((text) => text.split(' ')[1]))
})
