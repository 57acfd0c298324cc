import t from 'tap'
import { createDescription } from '../../src/import/description.ts'
import { listOperations } from '../../src/import/operations.ts'
import { planTool } from '../../src/import/plan.ts'
import { writeTestFile } from '../../src/import/test-file.ts'
import { writeToolFile } from '../../src/import/tool-file.ts'
import { EMPTY, callImported, createImportFixture, describeApi, startApi } from './fixture.ts'

const TARGET = { name: 'x', out: 'test/tools', tests: 'test' }
const FORM = 'application/x-www-form-urlencoded'
const TEXT = { type: 'string' }
const object = (properties: object, others: object = {}) => ({ type: 'object', properties, ...others })
const FILE = { type: 'string', format: 'binary' }

/** The operation of a form, which must be given. */
const posting = (type: string, schema: object, encoding?: object, required = true) => {
  const requestBody = { required, content: { [type]: { schema, encoding } } }
  return { '/x': { post: { ...EMPTY, operationId: 'send', requestBody } } }
}

async function write (type: string, schema: object, encoding?: object, required = true) {
  const components = { schemas: { Base: object({ photo: FILE }) } }
  const api = await createDescription({ paths: posting(type, schema, encoding, required), components })
  const notes: string[] = []
  const plan = planTool(api, listOperations(api).operations[0]!, 'tool', (reason) => { notes.push(reason) })
  return { notes, tool: writeToolFile(plan, TARGET), test: writeTestFile(plan, TARGET) }
}

t.test('a form becomes the argument body, with the styles of its fields', async (t) => {
  const { tool, test } = await write(FORM, object({
    amount: { type: 'integer' }, name: TEXT, address: object({ city: TEXT }), ids: { type: 'array', items: TEXT }, extra: object({ a: TEXT })
  }, { required: ['amount', 'address'] }), {
    amount: { style: 'form' }, address: { style: 'deepObject', explode: true }, ids: { style: 'pipeDelimited' }, extra: { explode: true }
  })
  t.match(tool, 'bodyType: \'form\'')
  t.match(tool, /fields: \{\s*address: \{ style: 'deepObject' \},\s*ids: \{ style: 'pipeDelimited', explode: false \},\s*extra: \{ explode: true \}\s*\}/)
  t.match(test, 'assert.equal(new URLSearchParams(String(request.body)).get(\'amount\'), \'1\')')
  t.notMatch(test, 'get(\'address\')', 'the client\'s test shows how objects are written')
})

t.test('files of a form are base64 in the tool', async (t) => {
  const { tool, test } = await write('multipart/form-data', {
    allOf: [{ $ref: '#/components/schemas/Base' }, object({
      pages: { type: 'array', items: { contentMediaType: 'image/PNG' }, description: 'The pages' },
      text: { type: 'string', contentMediaType: 'text/plain', contentEncoding: 'base64' },
      raw: { type: 'string', format: 'binary' },
      when: object({ a: TEXT })
    }, { required: ['raw', 'when'] })]
  }, { photo: { contentType: 'image/png, image/jpeg' }, raw: { contentType: 'application/pdf' }, when: { style: 'deepObject' } })
  t.match(tool, 'bodyType: \'multipart\'')
  for (const field of [
    'photo: { file: \'application/octet-stream\' }', 'pages: { file: \'image/png\' }', 'raw: { file: \'application/pdf\' }',
    'when: { style: \'deepObject\' }', 'The pages · The file in base64'
  ]) t.match(tool, field)
  t.notMatch(tool, /text: \{ file/)
  t.match(test, 'assert.ok(String(request.body).includes(\'name="raw"\'))')
  t.notMatch(test, 'name="when"')
})

t.test('forms that cannot be sent are refused with the reason', async (t) => {
  const named = object({ a: object({ b: TEXT }), list: { type: 'array', items: object({}) } })
  for (const [schema, encoding, reason] of [
    [{ type: 'string' }, {}, 'its body is a form without named fields'],
    [named, { a: { style: 'matrix' } }, 'its field a has the style matrix, which is not supported'],
    [named, { a: { contentType: 'application/xml' } }, 'its field a is application/xml: only JSON and files are sent in forms']
  ] as const) await t.rejects(write(FORM, schema, encoding), { message: reason })
  t.same((await write(FORM, object({}), {}, false)).notes, ['its body is left out: a form without named fields'])
  await t.resolves(write(FORM, named, { a: { contentType: 'application/json' }, list: { contentType: 'text/plain' } }))
  const deep = Array.from({ length: 15 }).reduce<object>((inner) => ({ allOf: [inner] }), object({ photo: FILE }))
  t.notMatch((await write('multipart/form-data', { allOf: [deep, object({ x: TEXT })] })).tool, 'file:', 'a schema nested too deep')
})

t.test('a tool sends its form', async (t) => {
  const project = await createImportFixture(t)
  const api = await startApi(t, 'TEST_URL', { status: 200, body: {} })
  for (const [type, expand, body, expected] of [
    [FORM, { style: 'deepObject' }, { name: 'a b', expand: ['x', 'y'] }, 'name=a+b&expand%5B0%5D=x&expand%5B1%5D=y'],
    [FORM, {}, { expand: ['x', 'y'], name: null }, 'expand=x&expand=y'],
    ['multipart/form-data', {}, { photo: 'YWJj' }, /name="photo"; filename="photo"\r\ncontent-type: image\/png\r\n\r\nabc\r\n/]
  ] as const) {
    const properties = { name: { type: ['string', 'null'] }, expand: { type: 'array', items: TEXT }, photo: FILE }
    await project.run(describeApi(posting(type, object(properties), { expand, photo: { contentType: 'image/png' } })))
    await callImported(await project.load('send.js'), { body })
    t.match(api.requests.at(-1)!.headers['content-type'], type)
    t.match(api.requests.at(-1)!.body, expected)
  }
})
