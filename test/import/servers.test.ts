import t from 'tap'
import { createDescription } from '../../src/import/description.ts'
import { listOperations } from '../../src/import/operations.ts'
import { commonServerOf, toDefaultUrl } from '../../src/import/servers.ts'
import { EMPTY, createImportFixture, describeApi } from './fixture.ts'

const FETCHED = 'https://docs.example.com/spec/openapi.json'

t.test('the URL of an API is that of its first server, if it is a plain https one', async (t) => {
  for (const [url, expected, address] of [
    ['https://api.example.com/v1/', 'https://api.example.com/v1'],
    ['http://api.example.com', ''],
    ['https://user:password@example.com', ''],
    ['https://{host}/', ''],
    ['https://example.com:99999', ''],
    ['/v1', ''],
    ['/v1', 'https://docs.example.com/v1', FETCHED],
    ['//api.example.com/v1', 'https://api.example.com/v1', FETCHED],
    ['/v1', '', 'http://127.0.0.1/openapi.json'],
    ['/{version}', '', FETCHED],
    ['/v1', '', 'https://user:password@docs.example.com/openapi.json'],
    ['//:x', '', FETCHED],
    ['v1', '', FETCHED]
  ] as const) {
    const api = await createDescription({ servers: [{ url }], paths: { '/a': { get: EMPTY } } }, address)
    t.equal(toDefaultUrl(api, commonServerOf(api, listOperations(api).operations)), expected, `${url} of ${address}`)
  }
})

t.test('an operation of another server than most gets no tool, as its calls would go to the wrong one', async (t) => {
  const [main, beta, files] = ['https://api.example.com/v4/', 'https://api.example.com/beta', 'https://files.example.com/']
  const servers = (...urls: string[]) => ({ servers: urls.map((url) => ({ url })) })
  const described = describeApi({
    '/a': { get: { ...EMPTY, operationId: 'a' } },
    '/b': { get: { ...EMPTY, operationId: 'b', ...servers(main, beta) } },
    '/c': { get: { ...EMPTY, operationId: 'c', ...servers(beta) } },
    '/files': { ...servers(files), post: { ...EMPTY, operationId: 'upload' }, get: { ...EMPTY, operationId: 'download' } }
  }, servers(main))
  const project = await createImportFixture(t)
  const { notes, refusals, tools, serverHint } = await project.run(described)
  t.equal(tools, 2)
  t.same(notes, [])
  t.match(refusals, ([
    ['GET /c', beta, 'test_2'], ['GET /files', 'https://files.example.com', 'test_3'],
    ['POST /files', 'https://files.example.com', 'test_3']
  ] as const).map(([key, url, name]) => ({
    key, reason: new RegExp(`^its server is ${url}, which needs a client of its own: npx seed import openapi .* '${key}' --name ${name} `)
  })))
  t.notOk((await project.list()).some((file) => /upload|download|\/c\./.test(file)))
  t.equal(serverHint, '')
  t.match(await project.read('src/tools/_test-client.ts'), 'DEFAULT_URL: string = \'https://api.example.com/v4\'')

  const alone = await project.run(described, {
    name: 'files', selection: { tags: [], paths: ['/files'], operations: [] }
  })
  t.same(alone.notes, [])
  t.match(await project.read('src/tools/_files-client.ts'), 'DEFAULT_URL: string = \'https://files.example.com\'')
})

t.test('a further run under the same name leaves the client to the tools that it has', async (t) => {
  const files = 'https://files.example.com'
  const key = { in: 'header', name: 'X-Api-Key', schema: { type: 'string' } }
  const described = describeApi({
    '/a': { get: { ...EMPTY, operationId: 'a', parameters: [key] } },
    '/b': { get: { ...EMPTY, operationId: 'b' } },
    '/files': { servers: [{ url: files }], post: { ...EMPTY, operationId: 'upload' } }
  }, { servers: [{ url: 'https://api.example.com' }] })
  const project = await createImportFixture(t)
  const run = async (...operations: string[]) =>
    await project.run(described, { selection: { tags: [], paths: [], operations } })
  await run('a')
  const client = await project.read('src/tools/_test-client.ts')
  t.match(client, /'x-api-key'/)
  t.match(await run('b'), { tools: 1, refusals: [], removed: [] })
  t.equal(await project.read('src/tools/_test-client.ts'), client, 'its header is that of the first tool')
  t.match(await run('b', 'upload'), { tools: 1, refusals: [{ key: 'POST /files' }], removed: [] })
  t.equal(await project.read('src/tools/_test-client.ts'), client, 'its server, too')
})

t.test('an operation without a server is one of the server that the description comes from', async (t) => {
  const project = await createImportFixture(t)
  const { tools, refusals } = await project.run(describeApi({
    '/files': { servers: [{ url: 'https://files.example.com' }], post: EMPTY, get: EMPTY },
    '/me': { get: EMPTY }
  }))
  t.equal(tools, 2)
  t.match(refusals, [{ key: 'GET /me', reason: /^its server is that of the description, which needs a client of its own/ }])
})

t.test('a URL that is not the default is shown, to be set', async (t) => {
  const project = await createImportFixture(t)
  const { serverHint } = await project.run(describeApi({ '/a': { get: EMPTY } }, { servers: [{ url: '/api/v3\u0007' }] }))
  t.equal(serverHint, '/api/v3')
  const { serverHint: none } = await project.run(describeApi({ '/a': { get: EMPTY } }))
  t.equal(none, '')
})
