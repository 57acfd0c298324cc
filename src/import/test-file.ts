import type { BodyPlan } from './body.ts'
import { json, printCode, quote } from './code.ts'
import type { ParameterPlan, ResultPlan, ToolPlan } from './plan.ts'
import { sampleOf } from './sample.ts'
import { namesOf, specifierFromTests } from './target.ts'
import type { ImportTarget } from './target.ts'
import { toolFileName, toolVariable } from './tool-file.ts'

/** Returns the source of a tool's test: what it sends to the API, and what it makes of the answers. */
export function writeTestFile (plan: ToolPlan, target: ImportTarget): string {
  const { mockSpecifier } = namesOf(target)
  const { name, operation: { method } } = plan
  const variable = toolVariable(name)
  const given = inputSample(plan)
  const answer = answerSample(plan.result)
  const { path, query, headers } = expectedRequest(plan)
  const assertions = [
    `assert.equal(request?.method, ${quote(method)})`,
    `assert.equal(request.path, ${printCode(json(path), 4, 27)})`,
    ...query.map(([name, value]) => `assert.equal(request.query.get(${quote(name)}), ${quote(value)})`),
    ...headers.map(([name, value]) => `assert.equal(request.headers[${quote(name)}], ${quote(value)})`),
    ...(plan.body?.required === true ? bodyAssertions(plan.body, given['body']) : [])
  ]
  return `import assert from 'node:assert/strict'
import { test } from 'node:test'
import { createTestClient } from 'seed-mcp-server/testing'
import {
  ${variable}
} from ${quote(specifierFromTests(target, toolFileName(name)))}
import { startApi } from ${quote(mockSpecifier)}

const name = ${quote(name)}
const definitions = [${variable}]
const input = ${printCode(json(given), 0, 14)}

test('${name} calls the API', async () => {
  const api = await startApi(${printCode(json(answer), 2, 29)})
  const client = await createTestClient({ definitions })
  try {
    const { structuredContent, isError } = await client.callTool(name, input)
    assert.notEqual(isError, true)
    assert.deepEqual(structuredContent, ${printCode(json(contentSample(plan.result)), 4, 40)})
    const [request] = api.requests
    ${assertions.join('\n    ')}
  } finally {
    await client.close()
    await api.close()
  }
})

test('${name} says why the API refused', async () => {
  const api = await startApi({ status: 422, body: { message: 'Not like this' } })
  const client = await createTestClient({ definitions })
  try {
    const { isError, content } = await client.callTool(name, input)
    assert.equal(isError, true)
    assert.match(JSON.stringify(content), /422${method === 'HEAD' ? '' : '.*Not like this'}/)
  } finally {
    await client.close()
    await api.close()
  }
})
`
}

function bodyAssertions ({ type, mediaType, fields }: BodyPlan, value: unknown): string[] {
  if (type === 'json') {
    return [
      ...(mediaType === undefined ? [] : [`assert.equal(request.headers['content-type'], ${quote(mediaType)})`]),
      `assert.deepEqual(request.body, ${printCode(json(value), 4, 35)})`
    ]
  }
  const entries = Object.entries(value as object)
  if (type === 'multipart') {
    return entries.filter(([name]) => fields.get(name)?.style === undefined)
      .map(([name]) => `assert.ok(String(request.body).includes(${quote(`name="${name}"`)}))`)
  }
  return entries.filter(([, value]) => typeof value !== 'object').map(([name, value]) =>
    `assert.equal(new URLSearchParams(String(request.body)).get(${quote(name)}), ${quote(String(value))})`)
}

function inputSample ({ parameters, body }: ToolPlan): Record<string, unknown> {
  const required = parameters.filter(({ required }) => required)
  return Object.fromEntries([
    ...required.map((parameter): [string, unknown] => [parameter.argument, sampleOf(parameter.shape)]),
    ...(body?.required === true ? [['body', sampleOf(body.shape)] as [string, unknown]] : [])
  ])
}

function answerSample ({ kind, shape, status: given }: ResultPlan): Record<string, unknown> {
  if (kind === 'status') return { status: given }
  // HTTP has no bodies with these statuses, whatever a description says (RFC 9110 section 15.3.5).
  const status = given === 204 || given === 205 ? 200 : given
  return kind === 'text' ? { status, text: 'sample' } : { status, body: sampleOf(shape) }
}

function contentSample ({ kind, shape, status }: ResultPlan): unknown {
  switch (kind) {
    case 'object': return sampleOf(shape)
    case 'items': return { items: sampleOf(shape) }
    case 'value': return { result: sampleOf(shape) }
    case 'text': return { text: 'sample' }
    case 'status': return { status }
  }
}

interface ExpectedRequest {
  path: string
  query: Array<[string, string]>
  headers: Array<[string, string]>
}

/** Returns what the API must get of parameters that are no lists or objects. */
function expectedRequest ({ operation, parameters }: ToolPlan): ExpectedRequest {
  const plain = parameters.filter(({ required, style }) => required && style !== 'json')
    .map((parameter) => ({ ...parameter, value: sampleOf(parameter.shape) }))
  const scalars = plain.filter(({ value }) => typeof value !== 'object')
  const of = (location: ParameterPlan['in']): Array<[string, string]> =>
    scalars.filter((parameter) => parameter.in === location).map(({ name, value }) => [name, String(value)])
  const paths = new Map(plain.filter((parameter) => parameter.in === 'path')
    .map(({ name, value }) => [name, encodeInPath(value)]))
  return {
    path: operation.path.replace(/\{([^{}]*)\}/g, (_, name: string) => paths.get(name)!),
    query: of('query'),
    headers: of('header').map(([name, value]) => [name.toLowerCase(), value])
  }
}

function encodeInPath (value: unknown): string {
  return (Array.isArray(value) ? value : [value]).map((item) => encodeURIComponent(String(item))).join(',')
}
