import type { ContentBlock, Icon, ToolAnnotations } from '@modelcontextprotocol/server'
import type { Static, TObject } from 'typebox'
import type { ToolResult } from './content.ts'
import type { RequestContext } from './context.ts'
import type { EndpointChoice } from './endpoints.ts'
import type { Policy } from './policy.ts'

/** The members of a tool, as `defineTool` takes them. `Result` is what the handler returns. */
export interface ToolDeclaration<Input extends TObject, Result> extends Policy, EndpointChoice {
  /** Unique name by which clients call the tool: 1 to 128 letters, digits, `_`, `-` and `.`. */
  name: string
  /** Name for people. */
  title?: string
  /** Tells the model what the tool does and when to use it. */
  description: string
  /**
   * Schema of the arguments. They are validated before the handler runs. A property with `'x-mcp-header': 'Region'` is
   * repeated by clients in the header `Mcp-Param-Region` (2026-07-28), so that proxies can route by it.
   */
  input: Input
  /** Hints for clients, such as `readOnlyHint`. Nothing enforces them. */
  annotations?: ToolAnnotations
  icons?: Icon[]
  /**
   * Maximum run time in seconds; `TOOL_TIMEOUT_SECONDS` by default. Time that the client takes to answer does not
   * count.
   */
  timeoutSeconds?: number
  /** Metadata for clients, under names with a prefix of your own (`example.com/name`). */
  _meta?: Record<string, unknown>
  /**
   * Runs the tool.
   *
   * @param input the validated arguments
   * @returns text, an object (structured content), content blocks, or a `toolResult`. An async generator yields its
   * progress and returns the result.
   * @throws ToolError to tell the model what went wrong. Any other error is logged, and replaced by a generic message.
   */
  handler (
    input: Static<Input>,
    context: RequestContext
  ): Result | Promise<Result> | AsyncGenerator<ToolProgress, Result, void>
}

/** Progress that a generator yields. */
export interface ToolProgress {
  /** Amount of work done; must increase with each value. */
  progress: number
  /** Total amount of work, if known. */
  total?: number
  message?: string
}

/** The return values of a tool that declares no `output`. */
export type ToolOutput = string | ContentBlock | readonly ContentBlock[] | ToolResult | object

/** A tool, as `defineTool` returns it. */
export interface ToolDefinition extends ToolDeclaration<TObject, ToolOutput> {
  readonly kind: 'tool'
  /** Schema of the structured content. What the handler returns is validated against it. */
  output?: TObject
  /**
   * Set if a server behind this one declared the schemas and checks them itself. Such schemas are listed, but never
   * compiled: they are data from a stranger, whose patterns could take very long to match.
   */
  checkedUpstream?: true
}

/**
 * A failure whose message reaches the model (or, from a prompt or resource, the client). The message of any other error
 * goes to the log only.
 */
export class ToolError extends Error {
  override readonly name = 'ToolError'
}

/**
 * Defines a tool. The types of the handler's input and result follow from the schemas.
 *
 * @example
 * export const closeTicket = defineTool({
 *   name: 'close_ticket',
 *   description: 'Closes a support ticket. Use it when the problem is solved.',
 *   input: Type.Object({ id: Type.Integer({ minimum: 1 }) }),
 *   output: Type.Object({ id: Type.Integer(), closedBy: Type.String() }),
 *   scopes: ['tickets:write'],
 *   async handler ({ id }, { principal, signal }) {
 *     const response = await fetch(`https://tickets.internal/${id}`, { method: 'DELETE', signal })
 *     if (response.status === 404) throw new ToolError(`There is no ticket ${id}`)
 *     return { id, closedBy: principal!.subject }
 *   }
 * })
 */
export function defineTool<Input extends TObject> (
  tool: ToolDeclaration<Input, ToolOutput> & { output?: never }
): ToolDefinition
// TypeScript 7 reports the mismatch with the last overload alone.
export function defineTool<Input extends TObject, Output extends TObject> (
  tool: ToolDeclaration<Input, Static<Output> | ToolResult> & { output: Output }
): ToolDefinition
export function defineTool (tool: object): ToolDefinition {
  return { ...tool, kind: 'tool' } as ToolDefinition
}
