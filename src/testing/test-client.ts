import type {
  CallToolResult, GetPromptResult, LoggingLevel, Prompt, ReadResourceResult, Resource, ResourceTemplateType, Tool
} from '@modelcontextprotocol/server'
import { VERSION } from '../config/version.ts'
import { createKeyring } from '../crypto/keyring.ts'
import type { Keyring } from '../crypto/keyring.ts'
import type { RequestLog } from '../define/context.ts'
import type { Definition } from '../define/definition.ts'
import { readHeaderParams, toParamHeaders } from '../mcp/catalog/param-headers.ts'
import { createEngine } from '../mcp/engine.ts'
import { createEngineServices } from '../mcp/engine-services.ts'
import type { EngineServices } from '../mcp/engine-services.ts'
import type { Engine } from '../mcp/engine.ts'
import { requirementsOf } from '../policy/requirements.ts'
import type { ScopeHierarchy } from '../policy/scope-hierarchy.ts'
import { createMemoryStore } from '../store/memory.ts'
import type { ClientAnswers } from './client-answers.ts'
import { createTestPrincipal } from './principal.ts'
import type { TestPrincipal } from './principal.ts'
import { createModernTransport, createSessionTransport } from './transport.ts'
import type { Message, TestTransport } from './transport.ts'

/**
 * A client for tests of tools, prompts and resources. It talks to the real engine in the same process, without a port,
 * a provider or Redis, as the caller that the test describes.
 *
 * Its methods reject with a ProtocolError if the server answers with an error, with an InsufficientScopeError (and its
 * `scopes`) if the caller lacks scopes, with an InsufficientAuthenticationError (and what it has `demanded`) if the
 * caller must sign in again, and with the signal's reason if the call is cancelled.
 */
export interface TestClient {
  /** Calls a tool. A failure inside the tool is a result with `isError`. @param args none by default */
  callTool (name: string, args?: Record<string, unknown>, options?: CallOptions): Promise<CallToolResult>
  /** Lists the tools that the caller sees, all pages together. */
  listTools (): Promise<Tool[]>
  /** Gets a prompt's messages. @param args none by default */
  getPrompt (name: string, args?: Record<string, string>, options?: CallOptions): Promise<GetPromptResult>
  /** Lists the prompts that the caller sees, all pages together. */
  listPrompts (): Promise<Prompt[]>
  /** Reads a resource, be it declared by itself or one of a template. */
  readResource (uri: string, options?: CallOptions): Promise<ReadResourceResult>
  /** Lists the resources that the caller sees, including those that templates list. */
  listResources (): Promise<Resource[]>
  /** Lists the resource templates that the caller sees. */
  listResourceTemplates (): Promise<ResourceTemplateType[]>
  /**
   * Completes an argument of a prompt, or a variable of a resource template.
   *
   * @param typed what was typed so far
   * @param given the arguments that are filled in already; none by default
   * @returns the suggested values
   */
  complete (
    ref: { prompt: string } | { uriTemplate: string },
    argument: string,
    typed: string,
    given?: Record<string, string>
  ): Promise<string[]>
  /** Progress that handlers reported so far. */
  readonly progress: Array<{ progress: number, total?: number, message?: string }>
  /** Messages that handlers sent with `logToClient` so far. */
  readonly messages: Array<{ level: LoggingLevel, data: unknown }>
  /** Lines of the server's log so far. The real error of a failed handler is here, as `fields.err`. */
  readonly serverLog: Array<{
    level: 'info' | 'warn' | 'error'
    message: string | undefined
    fields: Record<string, unknown>
  }>
  /** Stops the engine. Call it when the test is over. */
  close (): Promise<void>
}

export interface CallOptions {
  /** Cancels the request, as a client would. */
  signal?: AbortSignal
}

export interface TestClientOptions extends ClientAnswers {
  /** Everything that the server offers. */
  definitions: readonly Definition[]
  /** The caller. Nobody is signed in by default, as with `AUTH_REQUIRED=false`. */
  principal?: TestPrincipal
  /** The protocol revision that the client speaks; `2026-07-28` by default. Test both if a handler asks its client. */
  protocolVersion?: '2026-07-28' | '2025-11-25'
  /** Returns what `context.tokenFor` gets from the provider. Without it, `tokenFor` throws. */
  tokenFor?: (
    audience: string, options: { resource?: string, scopes?: readonly string[], allowServerToken?: boolean }
  ) => string | Promise<string>
  /** Returns what `context.assertionFor` signs. Without it, `assertionFor` throws. */
  assertionFor?: (audience: string, options: { claims?: readonly string[] }) => string | Promise<string>
  /** `SCOPE_HIERARCHY`, as pairs of a scope and one that it includes; empty by default. */
  scopeHierarchy?: ScopeHierarchy
  /** `TOOL_TIMEOUT_SECONDS` and `INPUT_TIMEOUT_SECONDS`; 60 seconds by default. */
  timeoutSeconds?: number
  /** `MCP_MAX_RESULT_BYTES`; 10 MiB by default. */
  maxResultBytes?: number
}

const HOUR_SECONDS = 3_600
const MAX_RESULT_BYTES = 10_485_760

/**
 * Creates a client for a test.
 *
 * @throws DefinitionError for a definition that cannot be served
 *
 * @example
 * const client = await createTestClient({ definitions: [closeTicket], principal: { subject: 'ada' } })
 * const { structuredContent } = await client.callTool('close_ticket', { id: 7 })
 * await client.close()
 */
export async function createTestClient (options: TestClientOptions): Promise<TestClient> {
  const { definitions, protocolVersion = '2026-07-28' } = options
  const received: Received = { progress: [], messages: [], serverLog: [] }
  const log = collectLog(received.serverLog)
  const store = createMemoryStore()
  const keyring = createKeyring(undefined, undefined)
  const services = createEngineServices(store, log, keyring)
  const engine = createTestEngine(options, { services, keyring, log })
  const headerParams = new Map(definitions.flatMap((definition) =>
    definition.kind === 'tool' ? [[definition.name, readHeaderParams(definition)] as const] : []))
  const createTransport = protocolVersion === '2026-07-28' ? createModernTransport : createSessionTransport
  const request = createRequest(await createTransport({
    engine,
    principal: options.principal && createTestPrincipal(options.principal),
    log,
    answers: options,
    onNotification: (notification) => { collectNotification(notification, received) }
  }))

  /** Lists all pages. */
  async function list<Item> (method: string, member: string): Promise<Item[]> {
    const items: Item[] = []
    let cursor: string | undefined
    do {
      const page = await request(method, cursor === undefined ? {} : { cursor })
      items.push(...page[member] as Item[])
      cursor = page['nextCursor'] as string | undefined
    } while (cursor !== undefined)
    return items
  }

  return {
    ...received,
    async callTool (name, args = {}, options) {
      const headers = toParamHeaders(headerParams.get(name) ?? [], args)
      return await request('tools/call', { name, arguments: args }, { ...options, headers }) as CallToolResult
    },
    listTools: async () => await list('tools/list', 'tools'),
    getPrompt: async (name, args = {}, options) =>
      await request('prompts/get', { name, arguments: args }, options) as unknown as GetPromptResult,
    listPrompts: async () => await list('prompts/list', 'prompts'),
    readResource: async (uri, options) =>
      await request('resources/read', { uri }, options) as unknown as ReadResourceResult,
    listResources: async () => await list('resources/list', 'resources'),
    listResourceTemplates: async () => await list('resources/templates/list', 'resourceTemplates'),
    async complete (ref, argument, typed, given = {}) {
      const { completion } = await request('completion/complete', {
        ref: toReference(ref),
        argument: { name: argument, value: typed },
        context: { arguments: given }
      })
      return (completion as { values: string[] }).values
    },
    async close () {
      await engine.close(0)
      await services.close()
      await store.close()
    }
  }
}

function toReference (ref: { prompt: string } | { uriTemplate: string }): object {
  return 'prompt' in ref ? { type: 'ref/prompt', name: ref.prompt } : { type: 'ref/resource', uri: ref.uriTemplate }
}

type Received = Pick<TestClient, 'progress' | 'messages' | 'serverLog'>

/** Creates an engine without limits, with everything that policies need. */
function createTestEngine (
  options: TestClientOptions, shared: { services: EngineServices, keyring: Keyring, log: RequestLog }
): Engine {
  const { definitions, tokenFor = lacking('tokenFor'), assertionFor = lacking('assertionFor') } = options
  const { scopeHierarchy = [], timeoutSeconds = 60, maxResultBytes = MAX_RESULT_BYTES } = options
  return createEngine({
    serverInfo: { name: 'seed', version: VERSION },
    definitions,
    policy: { hierarchy: scopeHierarchy, scopes: requirementsOf(definitions, scopeHierarchy, []).scopes },
    tokenFor: async (_principal, { audience, ...options }) => await tokenFor(audience, options),
    assertionFor: (_principal, { audience, ...options }) => assertionFor(audience, options),
    pageSize: 1_000,
    ...shared,
    session: { idleTtlSeconds: HOUR_SECONDS, maxAgeSeconds: HOUR_SECONDS, maxPerPrincipal: 1, maxTotal: 1 },
    tool: { timeoutSeconds, inputTimeoutSeconds: timeoutSeconds, maxResultBytes },
    limits: { beginCall: unlimited, beginStream: unlimited, callerKey: () => '' }
  })
}

/** Stands for an option that the test has not set. */
function lacking (option: 'tokenFor' | 'assertionFor'): () => never {
  return () => {
    throw new Error(`context.${option} needs the option ${option} of createTestClient`)
  }
}

const unlimited = () => () => {}

function createRequest (transport: TestTransport) {
  return async (
    method: string,
    params: Record<string, unknown>,
    { signal = new AbortController().signal, headers = {} }: CallOptions & { headers?: Record<string, string> } = {}
  ): Promise<Record<string, unknown>> => {
    signal.throwIfAborted()
    // The engine does not keep the process running; a test that waits for it must.
    const timer = setInterval(() => {}, 1_000)
    try {
      return await transport.request(method, params, { headers, signal })
    } finally {
      clearInterval(timer)
    }
  }
}

function collectNotification ({ method, params }: Message, { progress, messages }: Received): void {
  if (method === 'notifications/progress') {
    const { progressToken, _meta, ...reported } = params!
    progress.push(reported as (typeof progress)[number])
  }
  if (method === 'notifications/message') {
    messages.push({ level: params!['level'] as LoggingLevel, data: params!['data'] })
  }
}

function collectLog (lines: TestClient['serverLog']): RequestLog {
  const write = (level: 'info' | 'warn' | 'error') => (fields: object, message?: string): void => {
    lines.push({ level, message, fields: { ...fields } })
  }
  return { info: write('info'), warn: write('warn'), error: write('error') }
}
