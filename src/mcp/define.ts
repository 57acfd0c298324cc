import type { CreateMessageRequestParams, CreateMessageResult, CreateMessageResultWithTools, LoggingLevel, Root, ServerEvent } from '@modelcontextprotocol/server'
import type { Static, TObject } from 'typebox'
import type { Principal } from '../oidc/principal.ts'

/** What a tool's handler is given besides its input. */
export interface ToolContext {
  /** The verified caller; undefined with AUTH_REQUIRED=false. */
  principal: Principal | undefined
  /** Bound to this request: its lines carry the request's id. */
  log: ToolLog
  /** Aborts when the client cancels (2026-07-28: or goes away), when the tool's time is up, and when the server shuts down. */
  signal: AbortSignal
  /** What the client says of itself; proves nothing. */
  client: ClientInfo
  /** Tells how far the work is, to clients that asked for it. */
  progress (done: number, total?: number, message?: string): Promise<void>
  /** Sends a log message to the client, if it wants those of this severity. */
  tell (level: LoggingLevel, data: unknown): Promise<void>
  /**
   * Asks the person at the client to fill in a form of plain fields.
   *
   * This and the following three wait for the client. In 2026-07-28 that ends the request, and the client's answer
   * begins another, in which the handler runs from its start: what comes before the question is done again, so ask
   * first. They throw a ToolError where the client cannot be asked, refuses, or does not answer in time.
   */
  elicit<Form extends TObject> (message: string, form: Form): Promise<ElicitedForm<Static<Form>>>
  /**
   * Sends the person to a page, for what must not pass through the client. `accept` says that they agreed to go there;
   * `completed` tells the client that they are done, in the 2025 revisions, and may be called after the tool has ended.
   */
  elicitUrl (message: string, url: string): Promise<{ action: ElicitAction, completed (): Promise<void> }>
  /** Has the client's model write a message. */
  sample (params: CreateMessageRequestParams): Promise<CreateMessageResult | CreateMessageResultWithTools>
  /** The folders that the client works on. */
  listRoots (): Promise<Root[]>
  /** Tells all clients, of every replica, that something this server offers has changed. */
  announce (change: ServerEvent): void
}

export interface ClientInfo {
  name: string | undefined
  version: string | undefined
  capabilities: Readonly<Record<string, unknown>>
}

export type ElicitAction = 'accept' | 'decline' | 'cancel'

export type ElicitedForm<Content> = { action: 'accept', content: Content } | { action: 'decline' | 'cancel' }

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
  /** How long it may run; TOOL_TIMEOUT_SECONDS where absent. */
  timeoutSeconds?: number
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
