import type { ContentBlock, Icon, ToolAnnotations } from '@modelcontextprotocol/server'
import type { Static, TObject } from 'typebox'
import type { ToolResult } from './content.ts'
import type { RequestContext } from './context.ts'
import type { Policy } from './policy.ts'

/** A tool as its author declares it; `Result` is what the handler gives. */
export interface ToolDeclaration<Input extends TObject, Result> extends Policy {
  /** What clients call it by: letters, digits, `_`, `-` and `.`, at most 128. */
  name: string
  title?: string
  /** For the model: what it does, and when to use it. */
  description: string
  /** Arguments; checked before the handler runs. */
  input: Input
  /** Hints for clients (MCP, tools); never a promise that anything is enforced. */
  annotations?: ToolAnnotations
  icons?: Icon[]
  /** How long it may run; TOOL_TIMEOUT_SECONDS where absent. */
  timeoutSeconds?: number
  /** For clients, under names of the author's (`example.com/name`). */
  _meta?: Record<string, unknown>
  /**
   * Gives text, an object (structured content), content blocks, or a ToolResult. As a generator it yields its progress
   * and returns the result. Throw a ToolError for what the model should read.
   */
  handler (input: Static<Input>, context: RequestContext): Result | Promise<Result> | AsyncGenerator<ToolProgress, Result, void>
}

/** What a generator yields: how far it is, and the whole where that is known. */
export interface ToolProgress {
  progress: number
  total?: number
  message?: string
}

export type ToolOutput = string | ContentBlock | readonly ContentBlock[] | ToolResult | object

/** A tool as the engine takes it, its types erased. */
export interface ToolDefinition extends ToolDeclaration<TObject, ToolOutput> {
  readonly kind: 'tool'
  /** Structured content; the handler's object is checked against it. */
  output?: TObject
}

/** A failure that the model, or the client, is told in these words. Any other error becomes a fixed text, and its truth goes to the log. */
export class ToolError extends Error {
  override readonly name = 'ToolError'
}

/** Declares a tool. The types of `input` and of the result follow from the schemas. */
export function defineTool<Input extends TObject, Output extends TObject> (tool: ToolDeclaration<Input, Static<Output> | ToolResult> & { output: Output }): ToolDefinition
export function defineTool<Input extends TObject> (tool: ToolDeclaration<Input, ToolOutput> & { output?: never }): ToolDefinition
export function defineTool (tool: object): ToolDefinition {
  return { ...tool, kind: 'tool' } as ToolDefinition
}
