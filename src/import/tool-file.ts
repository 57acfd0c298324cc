import type { BodyPlan } from './body.ts'
import { call, array, json, literal, member, object, printCode, quote, raw } from './code.ts'
import type { Code } from './code.ts'
import { toCamelCase, toKebabCase } from './names.ts'
import type { Method } from './operations.ts'
import type { ParameterPlan, ResultPlan, ToolPlan } from './plan.ts'
import { namesOf } from './target.ts'
import type { ImportTarget } from './target.ts'
import { toObject, toTypeBox } from './typebox.ts'

/** Hints of a method (RFC 9110 section 9.2). What POST and PATCH do is not known, so clients should ask first. */
const ANNOTATIONS: Record<Method, Record<string, boolean>> = {
  GET: { readOnlyHint: true },
  HEAD: { readOnlyHint: true },
  POST: { destructiveHint: true, idempotentHint: false },
  PATCH: { destructiveHint: true, idempotentHint: false },
  PUT: { destructiveHint: true, idempotentHint: true },
  DELETE: { destructiveHint: true, idempotentHint: true }
}

const NEXT_PAGE = 'Type.Optional(Type.Object({}, {\n' +
  '      description: \'Arguments that differ for the next page, if there is one\',\n' +
  '      additionalProperties: Type.Union([Type.String(), Type.Number()])\n    }))'

/** Returns the name of the file of a tool. */
export function toolFileName (name: string): string {
  return `${toKebabCase(name)}.ts`
}

export function toolVariable (name: string): string {
  return `${toCamelCase(name)}Tool`
}

/** Returns the source of a tool. */
export function writeToolFile (plan: ToolPlan, target: ImportTarget): string {
  const { caller, clientSpecifier } = namesOf(target)
  const input = plan.parameters.length > 0 || plan.body !== undefined ? 'input' : '_input'
  const declaration = object({
    name: literal(plan.name),
    title: literal(plan.title),
    description: literal(plan.description),
    input: inputOf(plan),
    output: outputOf(plan.result),
    annotations: json({ ...ANNOTATIONS[plan.operation.method], openWorldHint: true }),
    handler: call(`async (${input}, context) => await ${caller}`, raw('context'), requestOf(plan))
  })
  return `import { Type, defineTool } from 'seed-mcp-server'
import { ${caller} } from ${quote(clientSpecifier)}

export const ${toolVariable(plan.name)} = ${printCode(call('defineTool', declaration))}
`
}

function inputOf ({ parameters, body }: ToolPlan): Code {
  const properties = parameters.map(({ argument, ...parameter }) => ({ ...parameter, name: argument }))
  return toObject([...properties, ...(body === undefined ? [] : [body])], [json({ additionalProperties: false })])
}

function outputOf ({ kind, shape, isOptional }: ResultPlan): Code {
  const required = !isOptional
  switch (kind) {
    case 'object': return toTypeBox(shape)
    case 'items': return call('Type.Object', object({ items: toTypeBox(shape), nextPage: raw(NEXT_PAGE) }))
    case 'value': return toObject([{ name: 'result', shape, required }])
    case 'text': return toObject([{ name: 'text', shape: { kind: 'string', limits: {} }, required }])
    case 'status': return toObject([{ name: 'status', shape: { kind: 'integer', limits: {} }, required: true }])
  }
}

function requestOf ({ operation, parameters, body, result }: ToolPlan): Code {
  return object({
    method: literal(operation.method),
    path: literal(operation.path),
    ...(parameters.length > 0 && { parameters: array(parameters.map(parameterOf)) }),
    ...(body !== undefined && bodyOf(body)),
    result: literal(result.kind)
  })
}

function bodyOf ({ name, type, mediaType, fields }: BodyPlan): Record<string, Code> {
  return {
    body: member('input', name),
    ...(type !== 'json' && { bodyType: literal(type) }),
    ...(mediaType !== undefined && { mediaType: literal(mediaType) }),
    ...(fields.size > 0 && { fields: object(Array.from(fields, ([name, field]) => [name, json(field)] as const)) })
  }
}

/** Leaves out what the client takes by default. */
function parameterOf (parameter: ParameterPlan): Code {
  const { in: location, name, argument, style, explode, shape } = parameter
  const isPlain = style === 'simple' || style === 'form'
  return object({
    in: literal(location),
    name: literal(name),
    ...(argument !== name && { argument: literal(argument) }),
    value: member('input', argument),
    ...(!isPlain && { style: literal(style) }),
    ...(explode !== (style === 'form') && { explode: json(explode) }),
    ...((shape.kind === 'integer' || shape.kind === 'number') && location === 'query' && { isNumber: json(true) })
  })
}
