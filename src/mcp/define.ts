import type { Static, TObject } from 'typebox'
import type { Principal } from '../oidc/principal.ts'

/** What a tool's handler is given besides its input. */
export interface ToolContext {
  /** The verified caller; undefined with AUTH_REQUIRED=false. */
  principal: Principal | undefined
  /** Bound to this request: its lines carry the request's id. */
  log: ToolLog
  /** Aborts when the client goes away or cancels, and when the server shuts down. */
  signal: AbortSignal
}

export interface ToolLog {
  info (fields: object, message?: string): void
  warn (fields: object, message?: string): void
  error (fields: object, message?: string): void
}

/** Hints for clients (MCP tools, ToolAnnotations); never a promise that anything is enforced. */
export interface ToolAnnotations {
  readOnlyHint?: boolean
  destructiveHint?: boolean
  idempotentHint?: boolean
  openWorldHint?: boolean
}

/** A tool as its author declares it; `Result` is what the handler returns. */
export interface ToolDeclaration<Input extends TObject, Result> {
  /** What clients call it by: letters, digits, `_`, `-` and `.`, at most 128. */
  name: string
  title?: string
  /** For the model: what it does, and when to use it. */
  description: string
  /** Arguments; checked before the handler runs. */
  input: Input
  annotations?: ToolAnnotations
  /** Returns text, or with `output` an object of that shape. Throw a ToolError for what the model should read. */
  handler (input: Static<Input>, context: ToolContext): Result | Promise<Result>
}

/** A tool as the engine takes it, its types erased. */
export interface ToolDefinition extends ToolDeclaration<TObject, string | object> {
  /** Structured content; the handler's object is checked against it. */
  output?: TObject
}

/** A failure that the model is told in these words. Any other error becomes a fixed text, and its truth goes to the log. */
export class ToolError extends Error {
  override readonly name = 'ToolError'
}

/** Declares a tool. The types of `input` and of the result follow from the schemas. */
export function defineTool<Input extends TObject, Output extends TObject> (tool: ToolDeclaration<Input, Static<Output>> & { output: Output }): ToolDefinition
export function defineTool<Input extends TObject> (tool: ToolDeclaration<Input, string>): ToolDefinition
export function defineTool (tool: object): ToolDefinition {
  return tool as ToolDefinition
}
