import type { ToolDefinition } from '../../define/tool.ts'

/**
 * An argument that clients repeat in a header, so that proxies can route by it (MCP 2026-07-28, Streamable HTTP, custom
 * headers from tool parameters). A property of `input` with `'x-mcp-header': 'Region'` is sent as `Mcp-Param-Region`. A
 * request whose header and body differ is refused.
 */
export interface HeaderParam {
  /** Names of the properties that lead to the argument. */
  path: readonly string[]
  /** The header's name, in lower case. */
  header: string
}

interface Schema {
  type?: unknown
  properties?: Record<string, Schema>
  'x-mcp-header'?: unknown
}

/** Finds all `x-mcp-header` declarations of a tool. @throws Error for one that would make clients refuse the tool */
export function readHeaderParams ({ name, input }: Pick<ToolDefinition, 'name' | 'input'>): HeaderParam[] {
  const found: HeaderParam[] = []

  function scan ({ properties = {} }: Schema, parents: readonly string[]): void {
    for (const [key, schema] of Object.entries(properties)) {
      const path = [...parents, key]
      if (schema['x-mcp-header'] !== undefined) {
        found.push({ path, header: headerOf(schema, `Tool ${name}, ${path.join('.')}`) })
      }
      scan(schema, path)
    }
  }

  scan(input as Schema, [])
  const headers = found.map(({ header }) => header)
  if (new Set(headers).size < headers.length) {
    throw new Error(`Tool ${name}: each x-mcp-header must have a name of its own`)
  }
  return found
}

function headerOf ({ type, 'x-mcp-header': declared }: Schema, label: string): string {
  if (typeof declared !== 'string' || !/^[\w!#$%&'*+.^`|~-]+$/.test(declared)) {
    throw new Error(`${label}: x-mcp-header must be a header name`)
  }
  if (!['string', 'integer', 'boolean'].includes(String(type))) {
    throw new Error(`${label}: x-mcp-header is for strings, integers and booleans`)
  }
  return `mcp-param-${declared.toLowerCase()}`
}

/** Compares arguments with the headers that repeat them. @returns the first difference */
export function checkHeaderParams (
  params: readonly HeaderParam[],
  input: unknown,
  headers: Readonly<Record<string, unknown>>
): { header: string, problem: string } | undefined {
  for (const { path, header } of params) {
    const value = valueAt(input, path)
    if (value === undefined) continue
    const sent = headers[header]
    if (typeof sent !== 'string') {
      return { header, problem: `the body has ${path.join('.')}, and the header ${header} is missing` }
    }
    const decoded = decodeHeader(sent.trim())
    if (decoded === undefined) return { header, problem: `the header ${header} is not valid base64` }
    if (!isSame(value, decoded)) {
      return { header, problem: `the header ${header} and ${path.join('.')} in the body are not the same` }
    }
  }
  return undefined
}

/** Compares numbers by value, as `3` and `3.0` are the same argument. */
function isSame (value: string | number | boolean, sent: string): boolean {
  if (typeof value === 'number') return /^-?\d+(\.\d+)?$/.test(sent) && Number(sent) === value
  return sent === String(value)
}

/** Returns the headers that a client sends with these arguments. */
export function toParamHeaders (params: readonly HeaderParam[], input: unknown): Record<string, string> {
  return Object.fromEntries(params.flatMap(({ path, header }) => {
    const value = valueAt(input, path)
    return value === undefined ? [] : [[header, encodeHeader(String(value))]]
  }))
}

/** Returns the argument at a path; undefined if it is absent, null or not a plain value, as no header repeats these. */
function valueAt (input: unknown, path: readonly string[]): string | number | boolean | undefined {
  const value = path.reduce<unknown>(memberOf, input)
  return typeof value === 'string' || typeof value === 'number' || typeof value === 'boolean' ? value : undefined
}

function memberOf (value: unknown, key: string): unknown {
  if (typeof value !== 'object' || value === null || !Object.hasOwn(value, key)) return undefined
  return (value as Record<string, unknown>)[key]
}

/** Encodes a header's value. What no header can hold, or looks encoded already, is sent as `=?base64?…?=`. */
export function encodeHeader (value: string): string {
  const isPlain = /^[\x21-\x7e]+( +[\x21-\x7e]+)*$/.test(value) && !/^=\?base64\?.*\?=$/i.test(value)
  return isPlain ? value : `=?base64?${Buffer.from(value).toString('base64')}?=`
}

/** Decodes a header's value: plain, or UTF-8 in `=?base64?…?=`. Undefined for invalid base64 or UTF-8. */
function decodeHeader (value: string): string | undefined {
  const [, encoded] = /^=\?base64\?(.*)\?=$/i.exec(value) ?? []
  if (encoded === undefined) return value
  if (!/^[A-Za-z0-9+/]*={0,2}$/.test(encoded) || encoded.length % 4 !== 0) return undefined
  try {
    return new TextDecoder('utf-8', { fatal: true }).decode(Buffer.from(encoded, 'base64'))
  } catch {
    return undefined
  }
}
