import t from 'tap'
import { createDescription } from '../../src/import/description.ts'
import { listOperations } from '../../src/import/operations.ts'
import { planTool } from '../../src/import/plan.ts'
import { writeTestFile } from '../../src/import/test-file.ts'
import { writeToolFile } from '../../src/import/tool-file.ts'
import { EMPTY, answering } from './fixture.ts'

const TARGET = { name: 'x', out: 'test/tools', tests: 'test' }

/** Plans the first operation of some paths, and writes it. */
async function write (paths: object) {
  const api = await createDescription({ paths })
  const notes: string[] = []
  const plan = planTool(api, listOperations(api).operations[0]!, 'tool', (reason) => { notes.push(reason) })
  return { plan, notes, tool: writeToolFile(plan, TARGET), test: writeTestFile(plan, TARGET) }
}

const withParameter = (parameter: object) => ({ '/x': { get: { ...EMPTY, parameters: [parameter] } } })
const reply = (responses: object, method = 'get') => ({ '/x': { [method]: { responses } } })
const content = (type: string, schema: object = {}) => ({ content: { [type]: { schema } } })

t.test('parameters that cannot be sent are left out, or there is no tool if they are needed', async (t) => {
  for (const [parameter, reason] of [
    [{ in: 'query', name: 'q', style: 'matrix' }, 'its style matrix is not supported'],
    [{ in: 'header', name: 'a b' }, 'is no header'],
    [{ in: 'query', name: 'q', content: { 'text/csv': {} } }, 'its content text/csv is not JSON']
  ] as const) {
    t.same((await write(withParameter(parameter))).notes, [`the parameter ${parameter.name} is left out: ${reason}`])
    await t.rejects(write(withParameter({ ...parameter, required: true })), { message: `its parameter ${parameter.name} is needed, and ${reason}` })
  }
  const many = Array.from({ length: 61 }, (_, index) => ({ in: 'query', name: `p${index}` }))
  await t.rejects(write({ '/x': { get: { ...EMPTY, parameters: many } } }), /more than 60 parameters/)
  const { plan, tool, test } = await write({
    '/x/{id}': {
      put: {
        ...EMPTY,
        summary: 'Puts!',
        description: 'Something else',
        requestBody: { required: true, content: { 'application/json': {} } },
        parameters: [
          { in: 'path', name: 'id', schema: { type: 'array', items: { type: 'string' } } },
          { in: 'query', name: 'id', required: true, explode: false, schema: { type: 'array' } },
          { in: 'query', name: 'a/b', schema: {} },
          { in: 'query', name: 'a:b', schema: {} },
          { in: 'query', name: 'a?b', description: 'Or this', schema: {} },
          ...['<', '<=', '>', '>='].map((comparison) => ({ in: 'query', name: `date${comparison}`, schema: {} })),
          { in: 'query', name: 'body', required: true, schema: { type: 'integer' } },
          { in: 'header', name: 'X-Id', required: true, schema: { type: 'string' } }
        ]
      }
    }
  })
  t.same(plan.parameters.map(({ argument }) => argument.replace(/[0-9a-f]{8}$/, 'DIGEST')), [
    'id', 'query_id', 'a_b', 'query_a_b', 'query_a_b_DIGEST', 'date_lt', 'date_lte', 'date_gt', 'date_gte', 'query_body', 'X-Id'
  ])
  t.same(plan.parameters.map(({ shape }) => shape.description).filter((text) => text !== undefined), [
    'id in the query', 'a:b in the query', 'a?b in the query · Or this', 'body in the query'
  ], 'parameters with the same name can be told apart')
  t.equal(plan.description, 'Puts! Something else')
  t.match(tool, '{ in: \'query\', name: \'id\', argument: \'query_id\', value: input.query_id, explode: false }')
  t.match(test, 'from \'./tools/tool.js\'')
  t.match(test, 'assert.equal(request.query.get(\'body\'), \'1\')')
  t.match(test, 'assert.equal(request.headers[\'x-id\'], \'sample\')')
})

t.test('a body goes with methods that have one', async (t) => {
  const body = (type: string, required: boolean) => ({ ...EMPTY, requestBody: { required, ...content(type) } })
  t.same((await write({ '/x': { get: body('application/x-www-form-urlencoded', false) } })).notes, ['its body is left out: such a request has none'])
  await t.rejects(write({ '/x': { get: body('application/json', true) } }), /only JSON and forms are sent, and none with GET/)
  t.match((await write({ '/x': { patch: body('*/*', false) } })).plan.body, { required: false })
})

t.test('JSON is sent with the media type that the API knows', async (t) => {
  const patch = async (...types: string[]) => await write({
    '/x': {
      patch: {
        ...EMPTY,
        requestBody: { required: true, content: Object.fromEntries(types.map((type) => [type, { schema: { type: 'object' } }])) }
      }
    }
  })
  const [json, merge, strategic] =
    ['application/json-patch+json', 'application/merge-patch+json', 'application/strategic-merge-patch+json']
  for (const [types, mediaType] of [
    [['application/vnd.api+json', 'application/json; charset=utf-8'], undefined],
    [['application/vnd.api+json', '*/*'], undefined],
    [[json, strategic, merge], merge],
    [['application/x-www-form-urlencoded', json], json],
    [['Application/Vnd.api+JSON; profile=\'x\''], 'application/vnd.api+json']
  ] as const) {
    const { plan, tool, test } = await patch(...types)
    t.match(plan.body, { type: 'json', mediaType })
    t.equal(tool.includes(`mediaType: '${mediaType}'`), mediaType !== undefined)
    t.equal(test.includes(`assert.equal(request.headers['content-type'], '${mediaType}')`), mediaType !== undefined)
  }
})

t.test('a result is made of the first successful answer that can be read', async (t) => {
  for (const [responses, output, sample] of [
    [{ 200: content('text/plain') }, 'output: Type.Object({ text: Type.String() })', '{ text: \'sample\' }'],
    [{ 200: content('image/png'), 206: content('text/plain') }, 'text: Type.String()', '{ text: \'sample\' }'],
    [{ 200: content('application/json'), 204: {} }, 'Type.Object({ result: Type.Optional(Type.Unknown()) })', '{ result: \'sample\' }'],
    [{ 204: content('application/json', { type: 'string' }) }, 'Type.Object({ result: Type.String() })', 'status: 200, body: \'sample\''],
    [{ default: content('application/problem+json') }, 'Type.Object({ result: Type.Unknown() })', '{ result: \'sample\' }'],
    [{}, 'Type.Object({ status: Type.Integer() })', '{ status: 200 }']
  ] as const) {
    const { tool, test } = await write(reply(responses))
    t.match(tool, output)
    t.match(test, sample)
  }
  t.match((await write(reply({ 200: content('application/json') }, 'head'))).test, '/422/')
  await t.rejects(write(reply({ 200: content('image/png') })), { message: 'it answers image/png, and only JSON and text are read' })
  t.match((await write({ '/x': { get: {} } })).plan, { title: 'GET /x', description: 'Sends GET /x' })
})

t.test('a description without paths, and a path in another file, have no operations', async (t) => {
  t.same(listOperations(await createDescription({})), { operations: [], refusals: [] })
  t.match(listOperations(await createDescription({ paths: { '/x': { $ref: 'other.json' } } })), { refusals: [{ key: '/x' }] })
  const api = await createDescription({})
  t.throws(() => api.resolve({ $ref: '#anchor' }), /refers to #anchor, which does not exist/)
})

t.test('what an operation answers is planned as its description says', async (t) => {
  t.match((await write({ '/x': { get: answering({ type: 'array', items: {} }) } })).plan.result, { kind: 'items', status: 200 })
})
