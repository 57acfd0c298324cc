import { quote } from './code.ts'
import type { SecretHeader } from './credentials.ts'
import { namesOf, specifierFromTests } from './target.ts'
import type { ImportTarget } from './target.ts'

/** Returns the source of the mock of the API that all tests share. */
export function writeMockFile (target: ImportTarget): string {
  const { settings: { url, tokenFile, audience, assertionAudience } } = namesOf(target)
  return `import { once } from 'node:events'
import { createServer } from 'node:http'
import type { IncomingHttpHeaders } from 'node:http'
import type { AddressInfo } from 'node:net'
import { text } from 'node:stream/consumers'

export interface ApiAnswer {
  status: number
  headers?: Record<string, string>
  /** Sent as JSON. */
  body?: unknown
  text?: string
}

export interface SeenRequest {
  method: string | undefined
  path: string
  query: URLSearchParams
  headers: IncomingHttpHeaders
  body: unknown
}

function readBody (body: string, { 'content-type': type }: IncomingHttpHeaders): unknown {
  if (body === '') return undefined
  return /^application\\/(.+\\+)?json$/.test(type ?? '') ? JSON.parse(body) : body
}

/** Starts a server on this machine that gives every request the same answer, and makes the client use it. */
export async function startApi (answer: ApiAnswer) {
  const requests: SeenRequest[] = []
  const server = createServer(async (request, response) => {
    const { pathname, searchParams } = new URL(request.url!, 'http://localhost')
    const body = await text(request)
    requests.push({
      method: request.method,
      path: pathname,
      query: searchParams,
      headers: request.headers,
      body: readBody(body, request.headers)
    })
    const type = answer.text === undefined ? 'application/json' : 'text/plain'
    response.writeHead(answer.status, { 'content-type': type, ...answer.headers })
    response.end(answer.text ?? (answer.body === undefined ? undefined : JSON.stringify(answer.body)))
  })
  await once(server.listen(0, '127.0.0.1'), 'listening')
  delete process.env[${quote(tokenFile)}]
  delete process.env[${quote(audience)}]
  delete process.env[${quote(assertionAudience)}]
  process.env[${quote(url)}] = \`http://127.0.0.1:\${(server.address() as AddressInfo).port}\`
  return {
    requests,
    close: async (): Promise<void> => {
      server.closeAllConnections()
      await new Promise((resolve) => server.close(resolve))
    }
  }
}
`
}

/** Returns the source of the client's test: who it says is calling, and what it makes of strange answers. */
export function writeClientTestFile (target: ImportTarget, header: SecretHeader): string {
  const { caller, clientFile, mockSpecifier, settings } = namesOf(target)
  const { url, tokenFile, audience, scopes, assertionAudience, assertionClaims } = settings
  const client = specifierFromTests(target, clientFile.slice(clientFile.lastIndexOf('/') + 1))
  const sent = header.isBasic
    ? `'Basic ${Buffer.from('top-secret').toString('base64')}'`
    : quote(`${header.prefix}top-secret`)
  return `import assert from 'node:assert/strict'
import { mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { test } from 'node:test'
import { Type, defineTool } from 'seed-mcp-server'
import { createTestClient } from 'seed-mcp-server/testing'
import { ${caller} } from ${quote(client)}
import { startApi } from ${quote(mockSpecifier)}
import type { ApiAnswer } from ${quote(mockSpecifier)}

const listTool = defineTool({
  name: 'list',
  description: 'Lists things',
  input: Type.Object({ folder: Type.String(), page: Type.Optional(Type.Integer()), tags: Type.Array(Type.String()) }),
  output: Type.Object({
    items: Type.Array(Type.String()),
    nextPage: Type.Optional(Type.Object({}, { additionalProperties: true }))
  }),
  handler: async (input, context) => await ${caller}(context, {
    method: 'GET',
    path: '/folders/{folder}',
    parameters: [
      { in: 'path', name: 'folder', value: input.folder },
      { in: 'query', name: 'page', value: input.page, isNumber: true },
      { in: 'query', name: 'tag', argument: 'tags', value: input.tags, explode: false }
    ],
    result: 'items'
  })
})

${saveHelper(caller)}async function list (answer: ApiAnswer, folder = 'a/b', prepare = (): void => {}) {
  const api = await startApi(answer)
  prepare()
  const client = await createTestClient({
    definitions: [listTool],
    principal: { subject: 'ada' },
    tokenFor: (audience, { scopes = [] }) => ['token-for', audience, ...scopes].join('-'),
    assertionFor: (audience, { claims = [] }) => ['assertion-for', audience, ...claims].join('-')
  })
  try {
    const result = await client.callTool('list', { folder, tags: ['x', 'y'] })
    return { result, printed: JSON.stringify(result), requests: api.requests }
  } finally {
    await client.close()
    await api.close()
  }
}

test('arguments stay in their place, and the next page is named', async () => {
  const { result, requests } = await list({
    status: 200, body: ['one'], headers: { link: '</folders/x?page=2&other=1>; rel="next"' }
  })
  assert.deepEqual(result.structuredContent, { items: ['one'], nextPage: { page: 2 } })
  assert.equal(requests[0]?.path, '/folders/a%2Fb')
  assert.equal(requests[0].query.get('tag'), 'x,y')
  assert.equal(requests[0].headers.authorization, undefined)
})

test('an argument cannot lead to another path', async () => {
  const { result, requests } = await list({ status: 200, body: [] }, '..')
  assert.equal(result.isError, true)
  assert.equal(requests.length, 0)
})

${FORM_TESTS}test('the secret of a file is sent, and no message holds it', async () => {
  const folder = await mkdtemp(join(tmpdir(), 'secret-'))
  try {
    await writeFile(join(folder, 'token'), 'top-secret\\n')
    const { printed, requests } = await list({ status: 401, body: { message: 'Wrong: top-secret' } }, 'a', () => {
      process.env[${quote(tokenFile)}] = join(folder, 'token')
    })
    assert.equal(requests[0]?.headers[${quote(header.name)}], ${sent})
    assert.match(printed, /401/)
    assert.doesNotMatch(printed, /top-secret/)
  } finally {
    await rm(folder, { recursive: true })
  }
})

test('the caller of the tool gets a token for the API', async () => {
  const { requests } = await list({ status: 200, body: [] }, 'a', () => {
    process.env[${quote(audience)}] = 'files'
    process.env[${quote(scopes)}] = 'read, write'
  })
  assert.equal(requests[0]?.headers.authorization, 'Bearer token-for-files-read-write')
})

test('the API is told who calls by an assertion of this server', async () => {
  const { requests } = await list({ status: 200, body: [] }, 'a', () => {
    process.env[${quote(assertionAudience)}] = 'files'
    process.env[${quote(assertionClaims)}] = 'email,groups'
  })
  assert.equal(requests[0]?.headers.authorization, 'Bearer assertion-for-files-email-groups')
})

test('an identity is sent to no address but that of the setting', async () => {
  const { result, requests } = await list({ status: 200, body: [] }, 'a', () => {
    process.env[${quote(audience)}] = 'files'
    delete process.env[${quote(url)}]
  })
  assert.equal(result.isError, true)
  assert.equal(requests.length, 0)
})

test('answers that are too large, redirects or no JSON are errors that say so', async () => {
  assert.match((await list({ status: 200, body: ['x'.repeat(2_000_000)] })).printed, /more than 1048576 bytes/)
  assert.match((await list({ status: 302, headers: { location: 'http://127.0.0.1:1/' } })).printed, /a redirect/)
  assert.match((await list({ status: 200, text: 'Hello' })).printed, /other than JSON/)
  assert.match((await list({ status: 429, headers: { 'retry-after': '7' } })).printed, /in 7 seconds/)
})
`
}

/** Returns the source of a tool that sends forms, and a function that calls it. */
function saveHelper (caller: string): string {
  return `const saveTool = defineTool({
  name: 'save',
  description: 'Saves a thing',
  input: Type.Object({
    bodyType: Type.Enum(['form', 'multipart']),
    body: Type.Object({}, { additionalProperties: true })
  }),
  output: Type.Object({ status: Type.Integer() }),
  handler: async ({ bodyType, body }, context) => await ${caller}(context, {
    method: 'POST',
    path: '/things',
    body,
    bodyType,
    fields: { owner: { style: 'deepObject' }, ids: { explode: false }, photo: { file: 'image/png' } },
    result: 'status'
  })
})

async function save (input: Record<string, unknown>) {
  const api = await startApi({ status: 204 })
  const client = await createTestClient({ definitions: [saveTool] })
  try {
    const result = await client.callTool('save', input)
    return { printed: JSON.stringify(result), request: api.requests[0] }
  } finally {
    await client.close()
    await api.close()
  }
}

`
}

const FORM_TESTS = `test('a form is sent as the styles of its fields say', async () => {
  const body = { name: 'a&b', owner: { ids: [1, 2] }, ids: [1, 2], tags: ['x', { y: 1 }], missing: null }
  const { request } = await save({ bodyType: 'form', body })
  assert.equal(request?.headers['content-type'], 'application/x-www-form-urlencoded')
  assert.deepEqual([...new URLSearchParams(String(request.body))], [
    ['name', 'a&b'], ['owner[ids][0]', '1'], ['owner[ids][1]', '2'], ['ids', '1,2'], ['tags', 'x'], ['tags', '{"y":1}']
  ])
})

test('files are sent as they are, in a form of several parts', async () => {
  const { request } = await save({ bodyType: 'multipart', body: { 'a"b': 1, ids: [1], meta: {}, photo: 'AQID' } })
  const type = request?.headers['content-type'] ?? ''
  const boundary = type.replace('multipart/form-data; boundary=', '--')
  const part = (head: string, content: string): string =>
    [boundary, \`content-disposition: form-data; \${head}\`, '', content, ''].join('\\r\\n')
  assert.equal(request?.body, [
    part('name="a%22b"', '1'),
    part('name="ids"', '1'),
    part('name="meta"\\r\\ncontent-type: application/json', '{}'),
    part('name="photo"; filename="photo"\\r\\ncontent-type: image/png', '\\u0001\\u0002\\u0003'),
    \`\${boundary}--\\r\\n\`
  ].join(''))
  const wrong = await save({ bodyType: 'multipart', body: { photo: 'not base64' } })
  assert.match(wrong.printed, /photo must be base64/)
  assert.equal(wrong.request, undefined)
})

`
