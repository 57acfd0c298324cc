import type {
  CreateMessageRequestParams, CreateMessageResult, CreateMessageResultWithTools, LoggingLevel, Root, ServerEvent
} from '@modelcontextprotocol/server'
import type { Static, TObject } from 'typebox'
import type { Principal } from '../tokens/principal.ts'

/**
 * The second argument of every handler: the caller, the request's lifetime, and everything that a handler can do with
 * its client. Members can be destructured.
 *
 * `elicit`, `elicitUrl`, `sample` and `listRoots` ask the client and wait for its answer. In revision 2026-07-28 asking
 * ends the request; the client's answer arrives with a new request, and **the handler runs again from its start**. So
 * ask first and act afterwards, and ask in the same order each time, or give each question a `key`.
 */
export interface RequestContext {
  /** The verified caller. Undefined with `AUTH_REQUIRED=false`. */
  principal: Principal | undefined

  /** The server's log. Lines carry the request's id, the caller, and the name of the tool, prompt or resource. */
  log: RequestLog

  /**
   * Aborts when the client cancels the request (in 2026-07-28 also when it disconnects), when the time is up, and when
   * the server shuts down. Pass it to everything that waits, such as `fetch`.
   */
  signal: AbortSignal

  /** The client's own description of itself. It is not verified: use `principal` for decisions. */
  client: ClientInfo

  /**
   * Reports progress, if the client asked for it. Await it: it resolves when the client can take more. Of reports that
   * are not awaited, a client that reads slowly gets the newest only.
   *
   * @param done amount of work done; must increase with each call
   * @param total total amount of work, if known
   */
  progress (done: number, total?: number, message?: string): Promise<void>

  /**
   * Sends the client a log message, if its log level allows. Await it, as `progress`.
   *
   * @param data any JSON value
   * @param logger names the part of the server that the message comes from
   */
  logToClient (level: LoggingLevel, data: unknown, logger?: string): Promise<void>

  /**
   * Asks the person at the client to fill in a form.
   *
   * @param form an object of strings, numbers, booleans and choices of strings
   * @returns the person's answer; `content` matches `form`
   * @throws ToolError if the client cannot be asked, answers with something else, or takes longer than
   * `INPUT_TIMEOUT_SECONDS`
   *
   * @example
   * const answer = await elicit('Which city?', Type.Object({ city: Type.String() }))
   * if (answer.action !== 'accept') return 'Nothing was booked.'
   */
  elicit<Form extends TObject> (
    message: string,
    form: Form,
    options?: QuestionOptions
  ): Promise<ElicitedForm<Static<Form>>>

  /**
   * Asks the person at the client to open a page, for anything that must not pass through the client, such as
   * passwords.
   *
   * @returns `action` says whether the person agreed to open the page. Call `completed` when they are done there, if
   * need be after the tool has ended: clients of the 2025 revisions are then notified.
   * @throws ToolError as `elicit` does
   */
  elicitUrl (
    message: string,
    url: string,
    options?: QuestionOptions
  ): Promise<{ action: ElicitAction, completed (): Promise<void> }>

  /** Has the client's model write a message (sampling). @throws ToolError as `elicit` does */
  sample (
    params: CreateMessageRequestParams,
    options?: QuestionOptions
  ): Promise<CreateMessageResult | CreateMessageResultWithTools>

  /** Returns the folders that the client works on (roots). @throws ToolError as `elicit` does */
  listRoots (options?: QuestionOptions): Promise<Root[]>

  /**
   * Notifies all clients, at every replica, of a change.
   *
   * @example
   * announce({ kind: 'resource_updated', uri: 'tickets://7' })
   */
  announce (change: ServerEvent): void

  /**
   * Gets an access token with which to call another API on behalf of the caller (token exchange, RFC 8693). It is
   * cached, encrypted, until shortly before it expires. Needs `OAUTH_MODE=broker`.
   *
   * @param audience the name by which the provider knows the API
   * @throws ToolError if the provider refuses or cannot be reached, or a service calls; Error if nobody is signed in
   * or the mode is another
   */
  tokenFor (audience: string, options?: {
    /** The API's URI, for providers that tell APIs apart by `resource` (RFC 8707). */
    resource?: string
    scopes?: readonly string[]
    /**
     * If a service calls, gets a token of this server itself (client credentials): the API then sees this server, and
     * the tool alone decides what the service may do there. Without it a service gets an error.
     */
    allowServerToken?: boolean
  }): Promise<string>

  /**
   * Tells another API who calls: a JWT that this server signs, about the caller (or about this server, where nobody is
   * signed in), for one minute. Make one for each request. Needs `SEED_SECRET`, and nothing of the identity provider.
   *
   * @param audience the API, as it knows itself: the claim `aud`. Never take it from the model or the client
   * @throws ToolError if it would be too long for a header; Error without `SEED_SECRET`, or if the audience is this
   * server, or a claim is one that this server sets
   */
  assertionFor (audience: string, options?: {
    /** Further claims of the caller's access token, by name, where they are known, such as `email` or `groups`. */
    claims?: readonly string[]
  }): Promise<string>
}

export interface QuestionOptions {
  /** Identifies the question among those of one handler run; its number by default. */
  key?: string
}

export interface ClientInfo {
  name: string | undefined
  version: string | undefined
  /** Capabilities that the client declares, such as `elicitation` or `sampling`. */
  capabilities: Readonly<Record<string, unknown>>
}

export type ElicitAction = 'accept' | 'decline' | 'cancel'

/** A person's answer to a form. */
export type ElicitedForm<Content> = { action: 'accept', content: Content } | { action: 'decline' | 'cancel' }

/** Writes to the server's log. @param fields members of the log line; pass an error as `err` */
export interface RequestLog {
  info (fields: object, message?: string): void
  warn (fields: object, message?: string): void
  error (fields: object, message?: string): void
}
