import type { ToolDefinition } from '../../define/tool.ts'

/**
 * Arguments that a request repeats in headers, so that what stands in between can route by them (MCP 2026-07-28,
 * Streamable HTTP, custom headers from tool parameters): a property of `input` says `x-mcp-header: 'Region'`, and the
 * header is `Mcp-Param-Region`. Both must say the same, or the request is refused.
 */
export interface HeaderParam {
  path: readonly string[]
  /** In lower case. */
  header: string
}

interface Schema {
  type?: unknown
  properties?: Record<string, Schema>
  'x-mcp-header'?: unknown
}

/** @throws Error for a declaration that clients would refuse the tool for */
export function readHeaderParams ({ name, input }: Pick<ToolDefinition, 'name' | 'input'>): HeaderParam[] {
  const found: HeaderParam[] = []

  function scan ({ properties = {} }: Schema, path: readonly string[]): void {
    for (const [key, schema] of Object.entries(properties)) {
      const declared = schema['x-mcp-header']
      const at = [...path, key]
      if (declared !== undefined) found.push({ path: at, header: headerOf(declared, schema, `Tool ${name}, ${at.join('.')}`) })
      scan(schema, at)
    }
  }

  scan(input as Schema, [])
  const headers = found.map(({ header }) => header)
  if (new Set(headers).size < headers.length) throw new Error(`Tool ${name}: each x-mcp-header must have a name of its own`)
  return found
}

function headerOf (declared: unknown, { type }: Schema, where: string): string {
  if (typeof declared !== 'string' || !/^[\w!#$%&'*+.^`|~-]+$/.test(declared)) throw new Error(`${where}: x-mcp-header must be a header name`)
  if (!['string', 'integer', 'boolean'].includes(String(type))) throw new Error(`${where}: x-mcp-header is for strings, integers and booleans`)
  return `mcp-param-${declared.toLowerCase()}`
}

/** @returns what is wrong, or undefined where headers and arguments agree */
export function checkParamHeaders (params: readonly HeaderParam[], input: unknown, headers: Readonly<Record<string, unknown>>): { header: string, problem: string } | undefined {
  for (const { path, header } of params) {
    const value = valueAt(input, path)
    if (value === undefined) continue
    const sent = headers[header]
    if (typeof sent !== 'string') return { header, problem: `the body has ${path.join('.')}, and the header ${header} is missing` }
    const decoded = decode(sent.trim())
    if (decoded === undefined) return { header, problem: `the header ${header} is not valid base64` }
    const same = typeof value === 'number' ? /^-?\d+(\.\d+)?$/.test(decoded) && Number(decoded) === value : decoded === String(value)
    if (!same) return { header, problem: `the header ${header} and ${path.join('.')} in the body are not the same` }
  }
  return undefined
}

/** The headers that a client sends with these arguments. */
export function mirrorParams (params: readonly HeaderParam[], input: unknown): Record<string, string> {
  return Object.fromEntries(params.flatMap(({ path, header }) => {
    const value = valueAt(input, path)
    return value === undefined ? [] : [[header, encodeHeader(String(value))]]
  }))
}

/** Absent, null and what is no plain value are in no header. */
function valueAt (input: unknown, path: readonly string[]): string | number | boolean | undefined {
  const value = path.reduce<unknown>((inner, key) => typeof inner === 'object' && inner !== null && Object.hasOwn(inner, key) ? (inner as Record<string, unknown>)[key] : undefined, input)
  return typeof value === 'string' || typeof value === 'number' || typeof value === 'boolean' ? value : undefined
}

/** What no header can hold, and what looks as if it was encoded, is sent as base64. */
export function encodeHeader (value: string): string {
  return /^[\x21-\x7e]+( +[\x21-\x7e]+)*$/.test(value) && !/^=\?base64\?.*\?=$/i.test(value) ? value : `=?base64?${Buffer.from(value).toString('base64')}?=`
}

/** What no header could hold comes as `=?base64?…?=`, UTF-8 inside. */
function decode (value: string): string | undefined {
  const [, encoded] = /^=\?base64\?(.*)\?=$/i.exec(value) ?? []
  if (encoded === undefined) return value
  if (!/^[A-Za-z0-9+/]*={0,2}$/.test(encoded) || encoded.length % 4 !== 0) return undefined
  try {
    return new TextDecoder('utf-8', { fatal: true }).decode(Buffer.from(encoded, 'base64'))
  } catch {
    return undefined
  }
}
