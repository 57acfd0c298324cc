/** Parts of the client that are the same for every API. */

export const REQUEST_TYPES = `/** A request, as the tools describe it. */
export interface ApiRequest {
  method: string
  /** Path with the names of parameters in braces. */
  path: string
  parameters?: readonly ApiParameter[]
  body?: unknown
  /** The form in which the body is sent; JSON by default. */
  bodyType?: 'form' | 'multipart'
  /** The media type of a JSON body; application/json by default. */
  mediaType?: string
  /** Fields of a form that are files, or are written in a style. Other lists are repeated, objects are JSON. */
  fields?: Record<string, FormField>
  /** The structured content: the answer itself, or a member of this name that holds it. */
  result: 'object' | 'items' | 'value' | 'text' | 'status'
}

/** A parameter; one without a value is not sent. */
export interface ApiParameter {
  in: 'path' | 'query' | 'header'
  name: string
  /** Name in the tool's input, if it is another one. */
  argument?: string
  value: unknown
  /** Style in which lists and objects are written: OpenAPI's styles, or JSON. */
  style?: 'spaceDelimited' | 'pipeDelimited' | 'deepObject' | 'json'
  /** Whether each element of a list is a parameter of its own; in queries by default. */
  explode?: boolean
  isNumber?: boolean
}

export interface FormField {
  style?: NonNullable<ApiParameter['style']>
  explode?: boolean
  /** The type of a file; its content is base64 in the tool's input. */
  file?: string
}

`

export const REQUESTS_AND_ANSWERS = `function toUrl ({ path, parameters = [] }: ApiRequest, base: string): URL {
  const filled = path.replace(/\\{([^{}]*)\\}/g, (_, name: string) =>
    toPathSegment(parameters.find((parameter) => parameter.in === 'path' && parameter.name === name)))
  const url = new URL(\`\${base}\${filled}\`)
  for (const parameter of parameters) {
    if (parameter.in !== 'query' || parameter.value === undefined || parameter.value === null) continue
    for (const [name, value] of toQuery(parameter)) url.searchParams.append(name, value)
  }
  return url
}

/** Text of an argument stays within its part of the path: \`..\` would lead to another one. */
function toPathSegment (parameter: ApiParameter | undefined): string {
  const values = Array.isArray(parameter?.value) ? parameter.value : [parameter?.value ?? '']
  const segment = values.map((value) => encodeURIComponent(String(value))).join(',')
  if (segment !== '' && segment !== '.' && segment !== '..') return segment
  throw new ToolError(\`\${parameter?.argument ?? parameter?.name} must not be empty, "." or ".."\`)
}

function toQuery ({ name, value, style, explode = true }: ApiParameter): Array<[string, string]> {
  if (style === 'json') return [[name, JSON.stringify(value)]]
  if (Array.isArray(value)) {
    if (style === 'deepObject') {
      return value.flatMap((item, index) => toQuery({ in: 'query', name: \`\${name}[\${index}]\`, value: item, style }))
    }
    const separator = style === 'spaceDelimited' ? ' ' : style === 'pipeDelimited' ? '|' : ','
    const items = value.map(String)
    return explode && style === undefined ? items.map((item) => [name, item]) : [[name, items.join(separator)]]
  }
  if (typeof value !== 'object' || value === null) return [[name, String(value)]]
  const entries = Object.entries(value).filter(([, inner]) => inner !== undefined && inner !== null)
  if (style === 'deepObject') {
    return entries.flatMap(([key, inner]) => toQuery({ in: 'query', name: \`\${name}[\${key}]\`, value: inner, style }))
  }
  return explode ? entries.map(([key, inner]) => [key, String(inner)]) : [[name, entries.flat().map(String).join(',')]]
}

type Bytes = ReturnType<typeof Buffer.concat>

interface Body {
  type: string
  content: string | Bytes
}

/** A field of a form as it is sent. */
interface Part {
  name: string
  type?: string
  isFile?: boolean
  content: Buffer
}

function toBody ({ body, bodyType, mediaType, fields = {} }: ApiRequest): Body | undefined {
  if (body === undefined) return undefined
  if (bodyType === undefined) return { type: mediaType ?? 'application/json', content: JSON.stringify(body) }
  const entries = Object.entries(Object(body)).filter(([, value]) => value !== undefined && value !== null)
  const parts = entries.flatMap(([name, value]) => toParts(name, value, fields[name]))
  if (bodyType === 'form') {
    const pairs = parts.map(({ name, content }): [string, string] => [name, content.toString()])
    return { type: 'application/x-www-form-urlencoded', content: new URLSearchParams(pairs).toString() }
  }
  const boundary = crypto.randomUUID()
  return { type: \`multipart/form-data; boundary=\${boundary}\`, content: toMultipart(parts, boundary) }
}

function toParts (name: string, value: unknown, field: FormField | undefined): Part[] {
  const { file, ...style } = field ?? {}
  const values: unknown[] = Array.isArray(value) ? value : [value]
  if (file !== undefined) {
    return values.map((item) => ({ name, type: file, isFile: true, content: fromBase64(name, item) }))
  }
  if (field !== undefined) {
    return toQuery({ in: 'query', name, value, ...style }).map(([name, text]) => ({ name, content: Buffer.from(text) }))
  }
  return values.map((item) => typeof item === 'object'
    ? { name, type: 'application/json', content: Buffer.from(JSON.stringify(item)) }
    : { name, content: Buffer.from(String(item)) })
}

/** Writes multipart/form-data (RFC 7578). */
function toMultipart (parts: readonly Part[], boundary: string): Bytes {
  const chunks = parts.flatMap(({ name, type, isFile, content }) => {
    const quoted = \`"\${name.replaceAll('"', '%22').replaceAll('\\r', '%0D').replaceAll('\\n', '%0A')}"\`
    const head = [
      \`--\${boundary}\`,
      \`content-disposition: form-data; name=\${quoted}\${isFile === true ? \`; filename=\${quoted}\` : ''}\`,
      ...(type === undefined ? [] : [\`content-type: \${type}\`])
    ]
    return [Buffer.from(\`\${head.join('\\r\\n')}\\r\\n\\r\\n\`), content, Buffer.from('\\r\\n')]
  })
  return Buffer.concat([...chunks, Buffer.from(\`--\${boundary}--\\r\\n\`)])
}

function fromBase64 (name: string, text: unknown): Buffer {
  const isBase64 = typeof text === 'string' && /^[A-Za-z0-9+/]*={0,2}$/.test(text)
  if (!isBase64) throw new ToolError(\`\${name} must be base64\`)
  return Buffer.from(text, 'base64')
}

function toHeaders ({ parameters = [] }: ApiRequest, body: Body | undefined, identity: Identity) {
  const headers: Record<string, string> = { accept: 'application/json, text/*;q=0.5, */*;q=0.1' }
  if (body !== undefined) headers['content-type'] = body.type
  for (const { in: location, name, argument = name, value, style } of parameters) {
    if (location !== 'header' || value === undefined || value === null) continue
    const text = style === 'json' ? JSON.stringify(value) : Array.isArray(value) ? value.join(',') : String(value)
    if (!/^[\\t\\x20-\\x7e]*$/.test(text)) throw new ToolError(\`\${argument} must be ASCII text of one line\`)
    headers[name.toLowerCase()] = text
  }
  return { ...headers, ...identity.headers }
}

async function send (context: RequestContext, url: URL, request: ApiRequest, identity: Identity): Promise<Response> {
  const body = toBody(request)
  try {
    return await fetch(url, {
      method: request.method,
      headers: toHeaders(request, body, identity),
      ...(body !== undefined && { body: body.content }),
      redirect: 'manual',
      signal: AbortSignal.any([context.signal, AbortSignal.timeout(TIMEOUT_MS)])
    })
  } catch (err) {
    throw toToolError(context, err)
  }
}

async function readText (context: RequestContext, response: Response): Promise<string> {
  // One buffer for all: an answer in chunks of one byte would take a hundred times as much memory.
  const body = Buffer.allocUnsafe(MAX_BYTES)
  let length = 0
  try {
    for await (const chunk of response.body ?? []) {
      if (length + chunk.byteLength > MAX_BYTES) {
        throw new ToolError(\`The answer has more than \${MAX_BYTES} bytes. Ask for less of it\`)
      }
      body.set(chunk, length)
      length += chunk.byteLength
    }
  } catch (err) {
    throw toToolError(context, err)
  }
  return body.toString('utf8', 0, length)
}

/** Logs what went wrong on the way; the model learns only whether to try again. */
function toToolError (context: RequestContext, err: unknown): unknown {
  if (err instanceof ToolError || context.signal.aborted) return err
  context.log.warn({ err }, 'A request to an API got no answer')
  const timedOut = err instanceof DOMException && err.name === 'TimeoutError'
  return new ToolError(timedOut ? 'The API did not answer in time' : 'The API cannot be reached. Try again later')
}

/** Describes a refusal to the model, with what the API says about it. */
function explain (response: Response, text: string, { headers, secret }: Identity): string {
  const { status } = response
  if (status >= 300 && status < 400) return \`The API answered \${status}, a redirect, which is not followed\`
  const advice: Record<number, string> = {
    401: 'The API does not accept the credentials of this server; the operator must check them',
    403: 'The API does not allow this',
    404: 'The API has nothing there',
    429: 'The API is asked too often; wait before the next call'
  }
  const secrets = secret === undefined || secret === '' ? [] : [...Object.values(headers), secret]
  const reason = clean(secrets.reduce((message, secret) => message.replaceAll(secret, '[secret]'), messageOf(text)))
  const retryAfter = response.headers.get('retry-after') ?? ''
  return [
    \`The API answered \${status}\`,
    ...(advice[status] === undefined ? [] : [advice[status]]),
    ...(/^\\d{1,6}$/.test(retryAfter) ? [\`It says when to try again: in \${retryAfter} seconds\`] : []),
    ...(reason === '' ? [] : [\`It says: \${reason}\`])
  ].join('. ')
}

/** The text of an API's error: of problem details (RFC 9457), of OAuth and of the forms that most APIs use. */
function messageOf (text: string): string {
  try {
    const body: unknown = JSON.parse(text)
    const { error, errors } = body as { error?: unknown, errors?: unknown }
    const parts = [body, error].flatMap((part) => {
      if (typeof part !== 'object' || part === null) return typeof part === 'string' ? [part] : []
      const { title, detail, message, error_description: description } = part as Record<string, unknown>
      return [title, detail, message, description].filter((value) => typeof value === 'string')
    })
    return [...parts, ...(errors === undefined ? [] : [JSON.stringify(errors)])].join('. ')
  } catch {
    return text.startsWith('<') ? '' : text
  }
}

function clean (text: string): string {
  return text.slice(0, MAX_ERROR).replace(/[\\p{C}\\s]+/gu, ' ').trim()
}

function toContent (request: ApiRequest, response: Response, text: string): Record<string, unknown> {
  if (request.result === 'status') return { status: response.status }
  if (request.result === 'text') return text === '' ? {} : { text }
  if (text.trim() === '') {
    if (request.result === 'value') return {}
    throw new ToolError(\`The API answered \${response.status} without content\`)
  }
  const body = parseAnswer(text)
  if (request.result === 'value') return { result: body }
  if (request.result === 'items') return { items: body, ...nextPage(request, response) }
  return body as Record<string, unknown>
}

function parseAnswer (text: string): unknown {
  try {
    return JSON.parse(text)
  } catch {
    throw new ToolError('The API answered with something other than JSON')
  }
}

/** Arguments of the next page, from the Link header (RFC 8288): only parameters that the tool has. */
function nextPage (
  { parameters = [] }: ApiRequest, response: Response
): { nextPage?: Record<string, string | number> } {
  const link = (response.headers.get('link') ?? '').split(/,\\s*(?=<)/).find((value) => /;\\s*rel="?next"?/.test(value))
  const target = /^<([^<>]*)>/.exec(link?.trim() ?? '')?.[1]
  if (target === undefined || !URL.canParse(target, response.url)) return {}
  const { searchParams } = new URL(target, response.url)
  const next: Record<string, string | number> = {}
  for (const { in: location, name, argument = name, value, isNumber } of parameters) {
    const given = searchParams.get(name)
    if (location !== 'query' || given === null || given === String(value)) continue
    next[argument] = isNumber === true && /^\\d{1,15}$/.test(given) ? Number(given) : given
  }
  return Object.keys(next).length === 0 ? {} : { nextPage: next }
}
`
