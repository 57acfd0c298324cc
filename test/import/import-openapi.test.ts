import { mkdir, rm, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import t from 'tap'
import { EnvSchema } from '../../src/config/schema.ts'
import { listOpenApi } from '../../src/import/import-openapi.ts'
import { EMPTY, answering, callImported, createImportFixture, describeApi, startApi } from './fixture.ts'
import type { ImportFixture } from './fixture.ts'

const PETS = {
  '/pets/{petId}': {
    parameters: [{ in: 'path', name: 'petId', required: true, schema: { type: 'integer', minimum: 3 } }],
    get: answering({ $ref: '#/components/schemas/Pet' }, { operationId: 'getPet', summary: 'Get a pet', tags: ['pets'] }),
    delete: { ...EMPTY, operationId: 'pets/delete', tags: ['pets', 'admin'], deprecated: true }
  },
  '/pets': {
    get: answering({ type: 'array', items: { $ref: '#/components/schemas/Pet' } }, {
      operationId: 'listPets',
      summary: 'List pets.',
      description: 'List pets by\n<b>page</b>.',
      parameters: [
        { in: 'query', name: 'page', schema: { type: 'integer' } },
        { in: 'query', name: 'filter', style: 'deepObject', schema: { type: 'object', properties: { name: { type: 'string' } } } },
        { in: 'query', name: 'tags', style: 'pipeDelimited', schema: { type: 'array', items: { type: 'string' } } },
        { in: 'query', name: 'where', content: { 'application/json': { schema: { type: 'object' } } } },
        { in: 'header', name: 'X-Trace', schema: { type: 'string' } },
        { in: 'header', name: 'Authorization', required: true, schema: { type: 'string' } },
        { in: 'cookie', name: 'session', schema: { type: 'string' } }
      ]
    }),
    post: answering({ $ref: '#/components/schemas/Pet' }, {
      requestBody: { required: true, description: 'The pet', content: { 'application/json': { schema: { $ref: '#/components/schemas/Pet' } } } }
    })
  },
  '/photos': { post: { ...EMPTY, operationId: 'upload', requestBody: { content: { 'image/png': {} } } } }
}
const COMPONENTS = {
  servers: [{ url: 'https://pets.example.com/v1/' }],
  components: {
    schemas: {
      Pet: {
        type: 'object',
        required: ['id', 'name'],
        properties: {
          id: { type: 'integer', readOnly: true },
          name: { type: 'string', maxLength: 40, pattern: '^(a+)+$' },
          secret: { type: 'string', writeOnly: true },
          parent: { $ref: '#/components/schemas/Pet', description: 'Its parent' }
        }
      }
    },
    securitySchemes: { key: { type: 'apiKey', in: 'header', name: 'X-Key' } }
  }
}
const API = describeApi(PETS, { ...COMPONENTS, info: { title: 'Swagger Pets API v2', version: '1' } })

t.test('an operation becomes a tool with the schemas and hints of its description', async (t) => {
  const project = await createImportFixture(t)
  const report = await project.run(API)
  t.match(report, {
    tools: 4,
    operations: 5,
    refusals: [{ key: 'POST /photos', reason: 'its body is image/png: only JSON and forms are sent, and none with GET' }],
    notes: [{ key: 'GET /pets', reason: 'the parameter session is left out: parameters in cookie are not supported' }],
    settings: { url: 'PETS_URL' }
  })
  t.same(await project.list(), [
    'src/tools/_pets-client.ts', 'src/tools/_pets-import.json', 'src/tools/get-pet.ts', 'src/tools/list-pets.ts',
    'src/tools/pets-delete.ts', 'src/tools/post-pets.ts', 'test/_pets-api.ts', 'test/get-pet.test.ts', 'test/list-pets.test.ts',
    'test/pets-client.test.ts', 'test/pets-delete.test.ts', 'test/post-pets.test.ts'
  ])
  const [getPet, listPets, postPets, deletePet] = await Promise.all(
    ['get-pet', 'list-pets', 'post-pets', 'pets-delete'].map(async (name) => await project.load(`${name}.js`)))
  t.match(getPet, {
    name: 'get_pet',
    title: 'Get a pet',
    description: 'Get a pet.',
    annotations: { readOnlyHint: true },
    input: { additionalProperties: false, required: ['petId'], properties: { petId: { type: 'integer', minimum: 3 } } }
  })
  t.same(Object.keys(getPet!.output!.properties), ['id', 'name', 'parent'], 'what is only written is no part of an answer')
  t.match(getPet!.output!.properties['name'], { pattern: undefined, description: 'Pattern: ^(a+)+$' })
  t.match(getPet!.output!.properties['parent'], { type: undefined, description: 'Its parent' })
  t.match(listPets, { description: 'List pets by page .', input: { properties: { 'X-Trace': {}, page: {} } } })
  t.match(deletePet, { description: 'Deprecated.', annotations: { destructiveHint: true, idempotentHint: true } })
  t.match(postPets, {
    name: 'post_pets',
    input: { properties: { body: { description: 'The pet', required: ['name'], properties: { name: { maxLength: 40 } } } } }
  })
  t.notOk('id' in (postPets!.input.properties['body'] as unknown as { properties: object }).properties)
  const client = await project.read('src/tools/_pets-client.ts')
  t.match(client, 'DEFAULT_URL: string = \'https://pets.example.com/v1\'')
  t.match(client, '\'x-key\': secret')
})

t.test('a tool sends what the API expects, wherever a parameter belongs', async (t) => {
  const project = await createImportFixture(t)
  await project.run(API)
  const api = await startApi(t, 'PETS_URL', { status: 200, body: [{ id: 1, name: 'Rex' }], link: '</pets?page=2>; rel="next"' })
  const result = await callImported(await project.load('list-pets.js'), {
    page: 1, filter: { name: 'a b' }, tags: ['x', 'y'], where: { a: 1 }, 'X-Trace': 'abc'
  })
  t.same(result.structuredContent, { items: [{ id: 1, name: 'Rex' }], nextPage: { page: 2 } })
  t.equal(api.requests[0]!.url, '/pets?page=1&filter%5Bname%5D=a+b&tags=x%7Cy&where=%7B%22a%22%3A1%7D')
  t.equal(api.requests[0]!.headers['x-trace'], 'abc')
})

t.test('a tool reads an answer of an API of up to 1 MiB', async (t) => {
  const project = await createImportFixture(t)
  await project.run(API)
  const tool = await project.load('list-pets.js')
  const { length } = JSON.stringify([{ id: 1, name: '' }])
  for (const [bytes, isTooLong] of [[1_048_576, false], [1_048_577, true]] as const) {
    await t.test(`${bytes} bytes`, async (t) => {
      await startApi(t, 'PETS_URL', { status: 200, body: [{ id: 1, name: 'x'.repeat(bytes - length) }] })
      const { content } = await callImported(tool, { page: 1 })
      t.equal(JSON.stringify(content).includes('The answer has more than 1048576 bytes'), isTooLong)
      t.equal(JSON.stringify(content).includes('cannot be reached'), false)
    })
  }
})

for (const openapi of ['3.0.3', '3.1.0']) {
  t.test(`members of any name are held to the schema of their values (${openapi})`, async (t) => {
    const counts = { type: 'object', additionalProperties: { type: 'integer' } }
    const project = await createImportFixture(t)
    await project.run(describeApi({
      '/counts': {
        put: answering(counts, {
          operationId: 'putCounts', requestBody: { required: true, content: { 'application/json': { schema: counts } } }
        })
      }
    }, { openapi }))
    const tool = await project.load('put-counts.js')
    for (const name of ['plain', '', 'a line\nbreak', '\u2028', '\r']) {
      const api = await startApi(t, 'TEST_URL', { status: 200, body: { [name]: 1 } })
      t.match(await callImported(tool, { body: { [name]: 1 } }), { structuredContent: { result: { [name]: 1 } } })
      t.match(await callImported(tool, { body: { [name]: 'one' } }), { isError: true }, encodeURIComponent(name))
      t.same(api.requests.map(({ body }) => body), [JSON.stringify({ [name]: 1 })], 'what is wrong is not sent')
      await startApi(t, 'TEST_URL', { status: 200, body: { [name]: 'one' } })
      t.match(await callImported(tool, { body: { [name]: 1 } }), { isError: true }, 'nor is it told')
    }
  })
}

t.test('a patch is sent with its media type, and any type of answer is accepted after JSON', async (t) => {
  const project = await createImportFixture(t)
  await project.run(describeApi({
    '/things': {
      patch: {
        ...answering({ type: 'object', properties: { name: { type: 'string' } } }),
        operationId: 'patchThing',
        requestBody: { required: true, content: { 'application/merge-patch+json': { schema: { type: 'object' } } } }
      }
    }
  }))
  const api = await startApi(t, 'TEST_URL', { status: 200, body: { name: 'new' } })
  const tool = await project.load('patch-thing.js')
  t.match(await callImported(tool, { body: { name: 'new' } }), { structuredContent: { name: 'new' } })
  t.match(api.requests, [{
    body: '{"name":"new"}',
    headers: { 'content-type': 'application/merge-patch+json', accept: 'application/json, text/*;q=0.5, */*;q=0.1' }
  }])
})

t.test('running it again keeps what a person has changed or deleted', async (t) => {
  const project = await createImportFixture(t)
  await project.run(API)
  const tool = join(project.out, 'get-pet.ts')
  await writeFile(tool, `${await project.read('src/tools/get-pet.ts')}// mine\n`)
  await rm(join(project.folder, 'test/list-pets.test.ts'))
  const outcomes = async (description: object) => Object.fromEntries((await project.run(description)).files
    .filter(({ outcome }) => outcome !== 'unchanged')
    .map(({ path, outcome, newVersion }) => [path.slice(project.folder.length + 1), newVersion === undefined ? outcome : `${outcome}, .new`]))

  t.same(await outcomes(API), { 'src/tools/get-pet.ts': 'kept', 'test/list-pets.test.ts': 'deleted' })
  const changed = structuredClone(API) as { paths: Record<string, Record<string, { summary: string }>> }
  changed.paths['/pets/{petId}']!['get']!.summary = 'Find one'
  changed.paths['/pets']!['post']!.summary = 'Add'
  t.same(await outcomes(changed), {
    'src/tools/get-pet.ts': 'kept, .new', 'src/tools/post-pets.ts': 'updated', 'test/list-pets.test.ts': 'deleted'
  })
  t.match(await project.read('src/tools/get-pet.ts'), /\/\/ mine\n$/)
  t.match(await project.read('src/tools/get-pet.ts.new'), 'Find one')
  await writeFile(tool, await project.read('src/tools/get-pet.ts.new'))
  t.same(await outcomes(changed), { 'test/list-pets.test.ts': 'deleted' }, 'taking over the new version')

  const { '/photos': _photos, '/pets': _pets, ...rest } = PETS
  t.match(await project.run(describeApi(rest, { ...COMPONENTS, info: { title: 'Swagger Pets API v2', version: '1' } })), {
    removed: [{ key: 'GET /pets', file: join(project.out, 'list-pets.ts') }, { key: 'POST /pets' }]
  })
  t.match(await project.read('src/tools/list-pets.ts'), 'list_pets', 'nothing is deleted')
  await rm(join(project.out, 'list-pets.ts'))
  await rm(join(project.out, 'post-pets.ts'))
  t.same((await project.run(describeApi(rest, { ...COMPONENTS, info: { title: 'Swagger Pets API v2', version: '1' } }))).removed,
    [{ key: 'POST /pets', file: join(project.folder, 'test/post-pets.test.ts') }], 'what was removed is not asked for again')
  for (const tools of ['{"GET /pets":"../../x"}', '{"GET /pe\\nts":"../../x"}', '{"GET /pe\\nts":7}']) {
    await writeFile(join(project.out, '_pets-import.json'), `{"note":"","tools":${tools},"files":{}}`)
    await t.rejects(project.run(API), /_pets-import\.json is not what seed import wrote/, tools)
  }
})

t.test('files that were there before are kept', async (t) => {
  const project = await createImportFixture(t)
  await mkdir(project.out, { recursive: true })
  await writeFile(join(project.out, 'get-pet.ts'), '// mine')
  await project.run(API)
  t.equal(await project.read('src/tools/get-pet.ts'), '// mine')
  t.match(await project.read('src/tools/get-pet.ts.new'), 'get_pet')
  await rm(join(project.out, 'post-pets.ts'))
  await mkdir(join(project.out, 'post-pets.ts'))
  await t.rejects(project.run(API), { code: 'EISDIR' })
})

t.test('operations are chosen by tag, path and id; many are listed instead', async (t) => {
  const project = await createImportFixture(t)
  const keysFor = async (selection: object) => {
    const { files } = await project.run(API, { selection: { tags: [], paths: [], operations: [], ...selection } })
    return toolFiles(project, files)
  }
  t.same(await keysFor({ tags: ['admin'] }), ['pets-delete.ts'])
  t.same(await keysFor({ paths: ['/pets'] }), ['list-pets.ts', 'post-pets.ts'])
  t.same(await keysFor({ paths: ['/pets/*'], operations: ['GET /pets', 'getPet'] }), ['get-pet.ts', 'pets-delete.ts', 'list-pets.ts'])
  await t.rejects(keysFor({ tags: ['nobody'] }), { message: '--tag nobody names no operation (--list shows them)' })
  await t.rejects(keysFor({ operations: ['upload'] }), /No tool can be made of this description\. POST \/photos: its body/)
  t.match(await listOpenApi(join(project.folder, 'openapi.yaml')), { kind: 'list', title: 'Swagger Pets API v2 1', operations: { length: 5 } })

  const many = (count: number) => describeApi(Object.fromEntries(Array.from({ length: count }, (_, index) => [`/p${index}`, { get: EMPTY }])))
  await t.rejects(project.run(many(21)), /21 operations to choose from/)
  await t.rejects(project.run(many(201), { selection: { tags: [], paths: ['/*'], operations: [] } }), /201 tools are more than clients can hold/)
})

t.test('names are unique, short and the same in each run', async (t) => {
  const project = await createImportFixture(t)
  const long = 'a'.repeat(90)
  const api = describeApi({
    '/a': { get: { ...EMPTY, operationId: 'get-it' }, post: { ...EMPTY, operationId: 'getIt' } },
    '/b': { get: { ...EMPTY, operationId: long }, post: { ...EMPTY, operationId: '7' }, put: { ...EMPTY, operationId: '!' } }
  })
  const names = async () => toolFiles(project, (await project.run(api, { name: 'x', prefix: '' })).files)
  const first = await names()
  t.match(first, ['get-it.ts', /^get-it-[0-9a-f]{8}\.ts$/, /^a{55}-[0-9a-f]{8}\.ts$/, 'api-7.ts', 'api.ts'])
  t.same(await names(), first)
})

t.test('a tool whose test would be that of the client has another name, and no file is written twice', async (t) => {
  const project = await createImportFixture(t)
  const api = describeApi({
    '/client': { get: { ...EMPTY, operationId: 'redis_client' } }, '/other': { get: { ...EMPTY, operationId: 'other' } }
  }, { info: { title: 'Redis', version: '1' } })
  const { files } = await project.run(api)
  t.match(toolFiles(project, files), [/^redis-client-[0-9a-f]{8}\.ts$/, 'other.ts'])
  t.equal(new Set(files.map(({ path }) => path.toLowerCase())).size, files.length)
  t.match(await project.read('test/redis-client.test.ts'), 'an argument cannot lead to another path')

  const before = await project.list()
  const manifest = { note: '', files: {}, tools: { 'GET /client': 'redis_client', 'GET /other': 'other' } }
  for (const tools of [manifest.tools, { 'GET /client': 'other', 'GET /other': 'other' }]) {
    await writeFile(join(project.out, '_redis-import.json'), JSON.stringify({ ...manifest, tools }))
    await t.rejects(project.run(api), /^Two files would be .*\.ts: give each tool a name of its own in .*_redis-import\.json$/)
  }
  t.same(await project.list(), before, 'nothing is written')
})

t.test('the settings of an API are never those of Seed or of other programs', async (t) => {
  const project = await createImportFixture(t)
  const settingsOf = async (title: string) => {
    const { settings } = await project.run(
      describeApi({ '/a': { get: EMPTY } }, { info: { title, version: '1' } }), { prefix: `${title} ` })
    t.notOk(Object.values(settings).some((name) => name in EnvSchema.properties), title)
    return settings
  }
  t.same(await settingsOf('Redis'), {
    url: 'REDIS_API_URL',
    tokenFile: 'REDIS_API_TOKEN_FILE',
    audience: 'REDIS_API_AUDIENCE',
    scopes: 'REDIS_API_SCOPES',
    assertionAudience: 'REDIS_API_ASSERTION_AUDIENCE',
    assertionClaims: 'REDIS_API_ASSERTION_CLAIMS'
  })
  t.match(await project.read('src/tools/_redis-client.ts'), /\bREDIS_API_URL\b/)
  t.notMatch(await project.read('src/tools/_redis-client.ts'), /\bREDIS_URL\b/)
  t.notMatch(await project.read('test/_redis-api.ts'), /\bREDIS_URL\b/)
  for (const [title, url] of [
    ['Base', 'BASE_API_URL'], ['OIDC', 'OIDC_API_URL'], ['Server policy', 'SERVER_POLICY_API_URL'],
    ['CIMD probe', 'CIMD_PROBE_API_URL'], ['oauth token', 'OAUTH_TOKEN_API_URL'], ['Node', 'NODE_API_URL'],
    ['AWS Web Identity', 'AWS_WEB_IDENTITY_API_URL'], ['HTTP proxy', 'HTTP_PROXY_API_URL'], ['Nodes', 'NODES_URL']
  ] as const) t.equal((await settingsOf(title)).url, url, title)
})

function toolFiles ({ out }: ImportFixture, files: ReadonlyArray<{ path: string }>): string[] {
  return files.filter(({ path }) => path.startsWith(`${out}/`)).map(({ path }) => path.slice(out.length + 1))
    .filter((name) => !name.startsWith('_'))
}
