import { JSON_TYPE, planBody } from './body.ts'
import type { BodyPlan } from './body.ts'
import { isCredential } from './credentials.ts'
import { ImportError, isJsonObject } from './description.ts'
import type { ApiDescription, Json } from './description.ts'
import { toArgumentName } from './names.ts'
import type { Operation } from './operations.ts'
import { toShape } from './shape.ts'
import type { Property, Shape } from './shape.ts'
import { cleanText } from './texts.ts'

/** A tool, as it will be written. */
export interface ToolPlan {
  operation: Operation
  name: string
  title: string
  description: string
  parameters: readonly ParameterPlan[]
  body: BodyPlan | undefined
  result: ResultPlan
}

export interface ParameterPlan extends Property {
  in: 'path' | 'query' | 'header'
  /** Name in the tool's input; `name` is that of the API. */
  argument: string
  style: string
  explode: boolean
}

export interface ResultPlan {
  /** A successful status, for the tests. */
  status: number
  /** The structured content: the object, or a list, a text, another value or the status in a member of one. */
  kind: 'object' | 'items' | 'value' | 'text' | 'status'
  shape: Shape
  /** Whether some successful answers are without a body. */
  isOptional: boolean
}

const MAX_TITLE = 80
const MAX_DESCRIPTION = 1_000
const MAX_PARAMETERS = 60
/** Headers that OpenAPI leaves to other parts of a description, or that belong to the connection. */
const RESERVED_HEADERS = new Set([
  'accept', 'accept-encoding', 'authorization', 'connection', 'content-length', 'content-type', 'cookie', 'expect',
  'host', 'keep-alive', 'proxy-authorization', 'te', 'trailer', 'transfer-encoding', 'upgrade', 'via'
])
const STYLES: Record<string, readonly string[]> = {
  path: ['simple'],
  query: ['form', 'spaceDelimited', 'pipeDelimited', 'deepObject'],
  header: ['simple']
}

/**
 * Plans the tool of an operation.
 *
 * @param note receives what of the operation the tool will not have
 * @throws ImportError with the reason if there can be no tool
 */
export function planTool (
  api: ApiDescription, operation: Operation, name: string, note: (reason: string) => void
): ToolPlan {
  checkPath(operation.path)
  const { summary, key } = operation
  return {
    operation,
    name,
    title: cleanText(summary, MAX_TITLE) || key.slice(0, MAX_TITLE),
    description: describeOperation(operation),
    parameters: planParameters(api, operation, note),
    body: planBody(api, operation, note),
    result: planResult(api, operation)
  }
}

function describeOperation ({ operation, key }: Operation): string {
  const texts = [operation['summary'], operation['description']].map((text) => cleanText(text, MAX_DESCRIPTION))
  const [summary, description] = texts as [string, string]
  const parts = [
    // Many descriptions begin with the summary.
    ...(description.startsWith(summary.replace(/\.$/, '')) ? [] : [endSentence(summary)]),
    description,
    ...(operation['deprecated'] === true ? ['Deprecated.'] : [])
  ]
  return cleanText(parts.join(' '), MAX_DESCRIPTION) || `Sends ${cleanText(key, MAX_DESCRIPTION)}`
}

function endSentence (text: string): string {
  return /[.!?…]$/.test(text) ? text : `${text}.`
}

/** Refuses paths that a URL would change: the client inserts arguments between their parts. */
function checkPath (path: string): void {
  const isPlain = /^\/[\w\-.~!$&'()*+,;=:@%/]*$/.test(path.replace(/\{[^{}]+\}/g, ''))
  const hasDots = path.split('/').some((part) => /^(\.|%2e){1,2}$/i.test(part))
  if (!isPlain || hasDots) throw new ImportError('its path has other characters than a path of a URL')
}

function planParameters (
  api: ApiDescription, { operation, pathItem, path }: Operation, note: (reason: string) => void
): ParameterPlan[] {
  const declared = new Map<string, Json>()
  for (const list of [pathItem['parameters'], operation['parameters']]) {
    for (const value of Array.isArray(list) ? list : []) {
      const parameter = api.resolve(value)
      declared.set(`${String(parameter['in'])} ${String(parameter['name'])}`, parameter)
    }
  }
  if (declared.size > MAX_PARAMETERS) throw new ImportError(`it has more than ${MAX_PARAMETERS} parameters`)
  const used = new Set<string>(operation['requestBody'] === undefined ? [] : ['body'])
  const parameters: ParameterPlan[] = []
  for (const parameter of declared.values()) {
    if (isCredential(api, parameter)) continue
    const reason = unusable(parameter)
    if (reason === undefined) {
      const plan = planParameter(api, parameter, used)
      used.add(plan.argument)
      parameters.push(plan)
    } else if (parameter['required'] === true && reason !== RESERVED) {
      throw new ImportError(`its parameter ${String(parameter['name'])} is needed, and ${reason}`)
    } else if (reason !== RESERVED) {
      note(`the parameter ${String(parameter['name'])} is left out: ${reason}`)
    }
  }
  for (const [, name] of path.matchAll(/\{([^{}]*)\}/g)) {
    const isDeclared = parameters.some((parameter) => parameter.in === 'path' && parameter.name === name)
    if (!isDeclared) throw new ImportError(`its path has {${name}}, which is none of its parameters`)
  }
  return parameters
}

const RESERVED = 'its header is set by the client'

/** Returns why a parameter cannot be sent, if so. */
function unusable (parameter: Json): string | undefined {
  const { in: location, name, style, content } = parameter
  if (location === 'header' && RESERVED_HEADERS.has(String(name).toLowerCase())) return RESERVED
  if (location === 'header' && !/^[\w!#$%&'*+.^`|~-]+$/.test(String(name))) return 'is no header'
  const styles = STYLES[String(location)]
  if (styles === undefined) return `parameters in ${String(location)} are not supported`
  if (style !== undefined && !styles.includes(String(style))) return `its style ${String(style)} is not supported`
  const types = isJsonObject(content) ? Object.keys(content) : []
  if (types.length > 0 && !JSON_TYPE.test(types[0]!)) return `its content ${types[0]} is not JSON`
  return undefined
}

function planParameter (api: ApiDescription, parameter: Json, used: ReadonlySet<string>): ParameterPlan {
  const location = parameter['in'] as ParameterPlan['in']
  const name = String(parameter['name'])
  const content = isJsonObject(parameter['content']) ? Object.values(parameter['content'])[0] as Json : undefined
  const shape = toShape(api, 'input', (content ?? parameter)['schema'])
  if (location === 'path' && (shape.kind === 'object' || shape.kind === 'record' || shape.kind === 'null')) {
    throw new ImportError(`its parameter ${name} is an object in the path`)
  }
  const argument = toArgumentName(name, location, used)
  const description = describeParameter(parameter, argument)
  const style = content === undefined ? String(parameter['style'] ?? STYLES[location]![0]) : 'json'
  return {
    in: location,
    name,
    argument,
    shape: description === '' ? shape : { ...shape, description },
    required: parameter['required'] === true || location === 'path',
    style,
    explode: typeof parameter['explode'] === 'boolean' ? parameter['explode'] : style === 'form'
  }
}

/** Returns the description, with the parameter's own name if another one has the name that it would give. */
function describeParameter ({ name, in: location, description }: Json, argument: string): string {
  const text = cleanText(description, 300)
  if (argument === toArgumentName(String(name), String(location))) return text
  const own = `${cleanText(name, 80)} in the ${String(location)}`
  return text === '' ? own : `${own} · ${text}`
}

/** Takes the first successful response that has JSON or text, and `default` where there is none. */
function planResult (api: ApiDescription, { operation, method }: Operation): ResultPlan {
  const responses = (operation['responses'] ?? {}) as Json
  const successful = Object.keys(responses).filter((status) => /^2(\d\d|XX)$/i.test(status))
  const statuses = successful.length > 0 ? successful : Object.keys(responses).filter((status) => status === 'default')
  const contents = statuses.map((status) => {
    const { content } = api.resolve(responses[status])
    return { status, content: isJsonObject(content) && Object.keys(content).length > 0 ? content : undefined }
  })
  const withContent = contents.filter(({ content }) => content !== undefined)
  const isOptional = withContent.length < contents.length
  if (withContent.length === 0 || method === 'HEAD') {
    return { status: toNumber(statuses[0]), kind: 'status', shape: NOTHING, isOptional }
  }
  for (const { status, content } of withContent) {
    const type = Object.keys(content!).find((type) => JSON_TYPE.test(type))
    if (type !== undefined) return planJson(api, toNumber(status), (content![type] as Json)['schema'], isOptional)
  }
  for (const { status, content } of withContent) {
    if (Object.keys(content!).some((type) => /^text\//i.test(type))) {
      return { status: toNumber(status), kind: 'text', shape: NOTHING, isOptional }
    }
  }
  const types = Object.keys(withContent[0]!.content!).join(' or ')
  throw new ImportError(`it answers ${types}, and only JSON and text are read`)
}

const NOTHING: Shape = { kind: 'unknown' }

function planJson (api: ApiDescription, status: number, schema: unknown, isOptional: boolean): ResultPlan {
  const shape = toShape(api, 'output', schema)
  if (isOptional) return { status, kind: 'value', shape, isOptional }
  if (shape.kind === 'array') return { status, kind: 'items', shape, isOptional }
  return { status, kind: shape.kind === 'object' ? 'object' : 'value', shape, isOptional }
}

/** Returns the status of a response: 200 for `2XX` and `default`. */
function toNumber (status: string | undefined): number {
  return /^2\d\d$/.test(status ?? '') ? Number(status) : 200
}
