import type { CreateMessageRequestParams, CreateMessageResult, CreateMessageResultWithTools, LoggingLevel, Root, ServerEvent } from '@modelcontextprotocol/server'
import type { Static, TObject } from 'typebox'
import type { Principal } from '../tokens/principal.ts'

/** What the handler of a tool, prompt or resource is given besides its input. */
export interface RequestContext {
  /** The verified caller; undefined with AUTH_REQUIRED=false. */
  principal: Principal | undefined
  /** Bound to this request and caller: its lines carry the request's id, the caller and what was called. */
  log: RequestLog
  /** Aborts when the client cancels (2026-07-28: or goes away), when the time is up, and when the server shuts down. */
  signal: AbortSignal
  /** What the client says of itself; proves nothing. */
  client: ClientInfo
  /** Tells how far the work is, to clients that asked for it. */
  progress (done: number, total?: number, message?: string): Promise<void>
  /** Sends a log message to the client, if it wants those of this severity. */
  logToClient (level: LoggingLevel, data: unknown): Promise<void>
  /**
   * Asks the person at the client to fill in a form of plain fields.
   *
   * This and the following three wait for the client. In 2026-07-28 that ends the request, and the client's answer
   * begins another, in which the handler runs from its start: what comes before the question is done again, so ask
   * first. They throw a ToolError where the client cannot be asked, refuses, or does not answer in time.
   *
   * Answers belong to the first question, the second and so on, so ask in the same order each time, or give each a name.
   */
  elicit<Form extends TObject> (message: string, form: Form, options?: QuestionOptions): Promise<ElicitedForm<Static<Form>>>
  /**
   * Sends the person to a page, for what must not pass through the client. `accept` says that they agreed to go there;
   * `completed` tells the client that they are done, in the 2025 revisions, and may be called after the tool has ended.
   */
  elicitUrl (message: string, url: string, options?: QuestionOptions): Promise<{ action: ElicitAction, completed (): Promise<void> }>
  /** Has the client's model write a message. */
  sample (params: CreateMessageRequestParams, options?: QuestionOptions): Promise<CreateMessageResult | CreateMessageResultWithTools>
  /** The folders that the client works on. */
  listRoots (options?: QuestionOptions): Promise<Root[]>
  /** Tells all clients, of every replica, that something this server offers has changed. */
  announce (change: ServerEvent): void
  /**
   * A token of the company's provider with which to call another API in the name of the caller (RFC 8693). It is kept,
   * encrypted, until shortly before it expires. Broker mode only. @throws Error where the provider gives none
   *
   * @param audience how the provider knows that API
   */
  tokenFor (audience: string, options?: { scopes?: readonly string[] }): Promise<string>
}

export interface QuestionOptions {
  /** What the question is called in 2026-07-28 (`inputRequests`); its number where absent. */
  key?: string
}

export interface ClientInfo {
  name: string | undefined
  version: string | undefined
  capabilities: Readonly<Record<string, unknown>>
}

export type ElicitAction = 'accept' | 'decline' | 'cancel'

export type ElicitedForm<Content> = { action: 'accept', content: Content } | { action: 'decline' | 'cancel' }

export interface RequestLog {
  info (fields: object, message?: string): void
  warn (fields: object, message?: string): void
  error (fields: object, message?: string): void
}
