import { isSpecType } from '@modelcontextprotocol/server'
import type { CallToolResult, ContentBlock } from '@modelcontextprotocol/server'
import { ToolResult } from '../../define/content.ts'
import { describeValidationError } from './validation-message.ts'
import type { CompiledTool } from './tools.ts'

/**
 * What a tool gave, as a result of tools/call. What is written down for clients in `output` is checked: a tool that
 * promises a form and gives another has failed.
 *
 * @throws Error for its author
 */
export function render (given: unknown, tool: CompiledTool): CallToolResult {
  if (given instanceof ToolResult) return checked(given.result, tool)
  if (tool.output !== undefined) return structured(given, tool)
  if (typeof given === 'string') return { content: [{ type: 'text', text: given }] }
  if (isBlock(given)) return { content: [given] }
  if (Array.isArray(given) && given.length > 0 && given.every(isBlock)) return { content: given }
  return structured(given, tool)
}

function checked (result: CallToolResult, tool: CompiledTool): CallToolResult {
  const { structuredContent, content, isError } = result
  if (tool.output !== undefined && isError !== true) structured(structuredContent, tool)
  if (!content.every(isBlock)) throw new Error(`${tool.definition.name} returned something other than content blocks in "content"`)
  return structuredContent !== undefined && content.length === 0 ? { ...result, content: [rendering(structuredContent)] } : result
}

/** Clients that do not know structured content read the same as text (MCP tools, structured content). */
function structured (value: unknown, { definition: { name }, output }: CompiledTool): CallToolResult {
  if (output !== undefined && !output.Check(value)) throw new Error(`${name} returned something other than its output schema says: ${describeValidationError(output, value)}`)
  if (typeof value !== 'object' || value === null || Array.isArray(value)) throw new Error(`${name} returned ${describe(value)}: it must be text, an object, content blocks or a toolResult`)
  return { content: [rendering(value)], structuredContent: value as Record<string, unknown> }
}

function rendering (value: unknown): ContentBlock {
  return { type: 'text', text: JSON.stringify(value) }
}

function isBlock (value: unknown): value is ContentBlock {
  return typeof value === 'object' && value !== null && 'type' in value && isSpecType.ContentBlock(value)
}

function describe (value: unknown): string {
  if (value === null) return 'null'
  return Array.isArray(value) ? 'an array' : typeof value === 'undefined' ? 'nothing' : `a ${typeof value}`
}
