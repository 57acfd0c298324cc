import { isSpecType } from '@modelcontextprotocol/server'
import type { CallToolResult, ContentBlock } from '@modelcontextprotocol/server'
import { ToolResult } from '../../define/content.ts'
import type { CompiledTool } from './compiled-tool.ts'
import { describeValidationError } from './validation-message.ts'

/**
 * Converts what a handler returned into a result of tools/call. A tool that declares `output` and returns anything else
 * has failed, as clients rely on the schema.
 *
 * @throws Error, for the tool's author, if no result can be made of it
 */
export function toCallToolResult (returned: unknown, tool: CompiledTool): CallToolResult {
  if (returned instanceof ToolResult) return checkResult(returned.result, tool)
  if (tool.output !== undefined) return toStructuredResult(returned, tool)
  if (typeof returned === 'string') return { content: [{ type: 'text', text: returned }] }
  if (isContentBlock(returned)) return { content: [returned] }
  if (Array.isArray(returned) && returned.length > 0 && returned.every(isContentBlock)) return { content: returned }
  return toStructuredResult(returned, tool)
}

function checkResult (result: CallToolResult, tool: CompiledTool): CallToolResult {
  const { structuredContent, content, isError } = result
  if (tool.output !== undefined && isError !== true) checkStructuredContent(structuredContent, tool)
  if (!content.every(isContentBlock)) {
    throw new Error(`${tool.definition.name} returned something other than content blocks in "content"`)
  }
  const addText = structuredContent !== undefined && content.length === 0
  return addText ? { ...result, content: [toTextBlock(structuredContent)] } : result
}

/** Returns structured content, and the same as text for clients that do not know it (MCP tools, structured content). */
function toStructuredResult (value: unknown, tool: CompiledTool): CallToolResult {
  checkStructuredContent(value, tool)
  return { content: [toTextBlock(value)], structuredContent: value as Record<string, unknown> }
}

function checkStructuredContent (value: unknown, { definition: { name }, output }: CompiledTool): void {
  if (output !== undefined && !output.Check(value)) {
    const reason = describeValidationError(output, value)
    throw new Error(`${name} returned something other than its output schema says: ${reason}`)
  }
  if (typeof value !== 'object' || value === null || Array.isArray(value)) {
    const type = describeType(value)
    throw new Error(`${name} returned ${type}: it must be text, an object, content blocks or a toolResult`)
  }
}

function toTextBlock (value: unknown): ContentBlock {
  return { type: 'text', text: JSON.stringify(value) }
}

function isContentBlock (value: unknown): value is ContentBlock {
  return typeof value === 'object' && value !== null && 'type' in value && isSpecType.ContentBlock(value)
}

function describeType (value: unknown): string {
  if (value === null) return 'null'
  if (value === undefined) return 'nothing'
  return Array.isArray(value) ? 'an array' : `a ${typeof value}`
}
