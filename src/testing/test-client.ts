import type { CallToolResult, GetPromptResult, LoggingLevel, Prompt, ReadResourceResult, Resource, ResourceTemplateType, Tool } from '@modelcontextprotocol/server'
import { VERSION } from '../config/version.ts'
import { createKeyring } from '../crypto/keyring.ts'
import type { RequestLog } from '../define/context.ts'
import type { Definition } from '../define/definition.ts'
import { requirementsOf } from '../policy/requirements.ts'
import { readHeaderParams, toParamHeaders } from '../mcp/catalog/param-headers.ts'
import { createEngine } from '../mcp/engine.ts'
import type { PolicyOptions } from '../policy/evaluator.ts'
import { createMemoryStore } from '../store/memory.ts'
import type { Answering } from './answering.ts'
import { createTestPrincipal } from './principal.ts'
import type { TestPrincipal } from './principal.ts'
import { createModernWire, createSessionWire } from './wire.ts'
import type { Message } from './wire.ts'

/**
 * A client for tests of tools, prompts and resources: it speaks to the engine of the server in this process, without a
 * port, a provider or a store, as whomever the test names.
 */
export interface TestClient {
  /** @throws ProtocolError, InsufficientScopeError (with `scopes`), the reason of the signal */
  callTool (name: string, args?: Record<string, unknown>, options?: CallOptions): Promise<CallToolResult>
  listTools (): Promise<Tool[]>
  getPrompt (name: string, args?: Record<string, string>, options?: CallOptions): Promise<GetPromptResult>
  listPrompts (): Promise<Prompt[]>
  readResource (uri: string, options?: CallOptions): Promise<ReadResourceResult>
  listResources (): Promise<Resource[]>
  listResourceTemplates (): Promise<ResourceTemplateType[]>
  /** Suggestions for an argument of a prompt, or a variable of a template. */
  complete (of: { prompt: string } | { uriTemplate: string }, argument: string, typed: string, given?: Record<string, string>): Promise<string[]>
  /** What handlers told of their progress so far. */
  readonly progress: Array<{ progress: number, total?: number, message?: string }>
  /** What handlers told the client (`context.tell`). */
  readonly messages: Array<{ level: LoggingLevel, data: unknown }>
  /** What went to the server's log: where the truth about a failed handler is. */
  readonly serverLog: Array<{ level: 'info' | 'warn' | 'error', message: string | undefined, fields: Record<string, unknown> }>
  close (): Promise<void>
}

export interface CallOptions {
  /** Cancels the request, as the client would. */
  signal?: AbortSignal
}

export interface TestClientOptions extends Answering {
  /** What the server offers. */
  definitions: readonly Definition[]
  /** Who calls; nobody where absent, as with AUTH_REQUIRED=false. */
  principal?: TestPrincipal
  /** Which revision of the protocol the client speaks; 2026-07-28 where absent. */
  era?: '2026-07-28' | '2025-11-25'
  /** Plays the provider for `context.tokenFor`. */
  tokenFor?: (audience: string, options: { scopes?: readonly string[] }) => string | Promise<string>
  /** SCOPE_HIERARCHY: pairs of a scope and one that it includes. */
  scopeHierarchy?: PolicyOptions['hierarchy']
  /** TOOL_TIMEOUT_SECONDS */
  timeoutSeconds?: number
}

const HOUR_SECONDS = 3_600

/** @throws Error for definitions that cannot be served */
export async function createTestClient ({ definitions, principal: described, era = '2026-07-28', tokenFor, scopeHierarchy = [], timeoutSeconds = 60, ...answering }: TestClientOptions): Promise<TestClient> {
  const principal = described && createTestPrincipal(described)
  const progress: TestClient['progress'] = []
  const messages: TestClient['messages'] = []
  const serverLog: TestClient['serverLog'] = []
  const log = collectLog(serverLog)
  const store = createMemoryStore()
  const headerParams = new Map(definitions.flatMap((definition) => definition.kind === 'tool' ? [[definition.name, readHeaderParams(definition)] as const] : []))
  const engine = createEngine({
    serverInfo: { name: 'seed', version: VERSION },
    definitions,
    policy: { hierarchy: scopeHierarchy, scopes: requirementsOf(definitions, scopeHierarchy, []).scopes },
    tokenFor: tokenFor && (async (_principal, { audience, ...options }) => await tokenFor(audience, options)),
    pageSize: 1_000,
    store,
    keyring: createKeyring(undefined, undefined),
    session: { idleTtlSeconds: HOUR_SECONDS, maxAgeSeconds: HOUR_SECONDS, maxPerPrincipal: 1, maxTotal: 1 },
    tool: { timeoutSeconds, inputTimeoutSeconds: timeoutSeconds },
    limits: { beginCall: unlimited, beginStream: unlimited },
    log
  })

  function hear ({ method, params }: Message): void {
    if (method === 'notifications/progress') {
      const { progressToken, _meta, ...told } = params!
      progress.push(told as (typeof progress)[number])
    }
    if (method === 'notifications/message') messages.push({ level: params!['level'] as LoggingLevel, data: params!['data'] })
  }

  const wire = await (era === '2026-07-28' ? createModernWire : createSessionWire)({ engine, principal, log, answering, hear })

  async function request (method: string, params: Record<string, unknown>, { signal = new AbortController().signal, headers = {} }: CallOptions & { headers?: Record<string, string> } = {}): Promise<unknown> {
    signal.throwIfAborted()
    // The engine keeps no process running; a test that waits for it must.
    const waiting = setInterval(() => {}, 1_000)
    try {
      return await wire.request(method, params, { headers, signal })
    } finally {
      clearInterval(waiting)
    }
  }

  /** A list, whatever number of pages it has. */
  async function list<Item> (method: string, member: string): Promise<Item[]> {
    const items: Item[] = []
    let cursor: string | undefined
    do {
      const result = await request(method, cursor === undefined ? {} : { cursor }) as Record<string, unknown> & { nextCursor?: string }
      items.push(...result[member] as Item[])
      cursor = result.nextCursor
    } while (cursor !== undefined)
    return items
  }

  return {
    progress,
    messages,
    serverLog,
    callTool: async (name, args = {}, options) => await request('tools/call', { name, arguments: args }, { ...options, headers: toParamHeaders(headerParams.get(name) ?? [], args) }) as CallToolResult,
    listTools: async () => await list('tools/list', 'tools'),
    getPrompt: async (name, args = {}, options) => await request('prompts/get', { name, arguments: args }, options) as GetPromptResult,
    listPrompts: async () => await list('prompts/list', 'prompts'),
    readResource: async (uri, options) => await request('resources/read', { uri }, options) as ReadResourceResult,
    listResources: async () => await list('resources/list', 'resources'),
    listResourceTemplates: async () => await list('resources/templates/list', 'resourceTemplates'),
    async complete (of, argument, typed, given = {}) {
      const ref = 'prompt' in of ? { type: 'ref/prompt', name: of.prompt } : { type: 'ref/resource', uri: of.uriTemplate }
      const { completion } = await request('completion/complete', { ref, argument: { name: argument, value: typed }, context: { arguments: given } }) as { completion: { values: string[] } }
      return completion.values
    },
    async close () {
      await engine.close(0)
      await store.close()
    }
  }
}

const unlimited = () => () => {}

function collectLog (lines: TestClient['serverLog']): RequestLog {
  const at = (level: 'info' | 'warn' | 'error') => (fields: object, message?: string): void => { lines.push({ level, message, fields: { ...fields } }) }
  return { info: at('info'), warn: at('warn'), error: at('error') }
}
