import { isSpecType } from '@modelcontextprotocol/server'
import type { CallToolResult, ContentBlock } from '@modelcontextprotocol/server'
import { ToolResult } from '../../define/content.ts'
import { UpstreamResult } from '../../define/upstream.ts'
import { checkSize, copyResult, toJson } from '../handlers/result-json.ts'
import type { CompiledTool } from './compiled-tool.ts'
import { describeValidationError } from '../../json/validation-message.ts'

/**
 * Converts what a handler returned into a result of tools/call that JSON can hold. A tool that declares `output` and
 * returns anything else has failed, as clients rely on the schema.
 *
 * @param maxBytes MCP_MAX_RESULT_BYTES
 * @throws ResultTooLargeError; Error, for the tool's author, if no result can be made of it
 */
export function toCallToolResult (returned: unknown, tool: CompiledTool, maxBytes: number): CallToolResult {
  if (returned instanceof UpstreamResult) return toUpstreamResult(returned, maxBytes)
  if (returned instanceof ToolResult) return toCheckedResult(returned.result, tool, maxBytes)
  if (tool.output !== undefined) return toStructuredResult(returned, tool, maxBytes)
  if (typeof returned === 'string') {
    checkSize(returned, maxBytes)
    return { content: [{ type: 'text', text: returned }] }
  }
  const content = toContentBlocks(returned, maxBytes)
  return content === undefined ? toStructuredResult(returned, tool, maxBytes) : { content }
}

function toCheckedResult (declared: CallToolResult, tool: CompiledTool, maxBytes: number): CallToolResult {
  const { name } = tool.definition
  const result = copyResult<CallToolResult>(declared, maxBytes)
  const { structuredContent, content, isError } = result
  if (structuredContent !== undefined || (tool.output !== undefined && isError !== true)) {
    checkStructuredContent(structuredContent, tool, isError === true)
  }
  if (!Array.isArray(content) || !content.every(isContentBlock)) {
    throw new Error(`${name} returned something other than content blocks in "content"`)
  }
  if (!isSpecType.CallToolResult(result)) throw new Error(`${name} returned a toolResult with invalid members`)
  const addText = structuredContent !== undefined && content.length === 0
  return addText ? { ...result, content: [toTextBlock(JSON.stringify(structuredContent))] } : result
}

function toUpstreamResult ({ result }: UpstreamResult, maxBytes: number): CallToolResult {
  const copy = copyResult<CallToolResult>(result, maxBytes)
  if (isSpecType.CallToolResult(copy)) return copy
  throw new Error('The server behind this one returned something other than the result of a tool')
}

/** Returns structured content, and the same as text for clients that do not know it (MCP tools, structured content). */
function toStructuredResult (value: unknown, tool: CompiledTool, maxBytes: number): CallToolResult {
  const isPlain = isPlainObject(value)
  // An object of a class is sent, and checked, as what JSON makes of it.
  const data = isPlain || !isClassInstance(value) ? value : copyResult<unknown>(value, maxBytes)
  checkStructuredContent(data, tool, false)
  return { content: [toTextBlock(toJson(data, maxBytes))], structuredContent: data as Record<string, unknown> }
}

function checkStructuredContent (value: unknown, tool: CompiledTool, isError: boolean): void {
  const { definition: { name }, output } = tool
  if (output !== undefined && !isError && !output.Check(value)) {
    const reason = describeValidationError(output, value)
    throw new Error(`${name} returned something other than its output schema says: ${reason}`)
  }
  if (isPlainObject(value)) return
  throw new Error(`${name} returned ${describeType(value)}: it must be text, an object, content blocks or a toolResult`)
}

function toTextBlock (text: string): ContentBlock {
  return { type: 'text', text }
}

/** Returns a copy of one or several content blocks; undefined for anything else. */
function toContentBlocks (returned: unknown, maxBytes: number): ContentBlock[] | undefined {
  const blocks: unknown[] = Array.isArray(returned) ? returned : [returned]
  if (blocks.length === 0 || !blocks.every(hasType)) return undefined
  const copies = copyResult<unknown[]>(blocks, maxBytes)
  return copies.every(isContentBlock) ? copies : undefined
}

function hasType (value: unknown): boolean {
  return typeof value === 'object' && value !== null && 'type' in value
}

function isContentBlock (value: unknown): value is ContentBlock {
  return hasType(value) && isSpecType.ContentBlock(value)
}

/** Tells whether JSON holds the members of a value as they are. */
function isPlainObject (value: unknown): boolean {
  return typeof value === 'object' && value !== null && Object.getPrototypeOf(value) === Object.prototype &&
    !('toJSON' in value)
}

/** Tells whether a value is an object, other than those of JavaScript itself, such as a Date, a Map or bytes. */
function isClassInstance (value: unknown): boolean {
  return Object.prototype.toString.call(value) === '[object Object]'
}

function describeType (value: unknown): string {
  if (value === null) return 'null'
  if (value === undefined) return 'nothing'
  if (Array.isArray(value)) return 'an array'
  if (value instanceof Uint8Array) return 'bytes (image(), audio() and embeddedResource() make blocks of them)'
  return typeof value === 'object' ? `a ${Object.prototype.toString.call(value).slice(8, -1)}` : `a ${typeof value}`
}
