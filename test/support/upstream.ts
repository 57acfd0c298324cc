import { createServer } from 'node:http'
import type { IncomingMessage, Server as HttpServer, ServerResponse } from 'node:http'
import { mkdtemp, writeFile } from 'node:fs/promises'
import { randomUUID } from 'node:crypto'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import {
  InMemoryServerEventBus, ProtocolError, Server, WebStandardStreamableHTTPServerTransport, createMcpHandler
} from '@modelcontextprotocol/server'
import type {
  CacheHint, CallToolResult, ClientCapabilities, GetPromptResult, InputRequest, InputRequiredResult, Prompt,
  ReadResourceResult, Resource, ResourceTemplateType, ServerCapabilities, ServerContext, Tool
} from '@modelcontextprotocol/server'
import type { Test } from 'tap'
import type { MaybePromise } from '../../src/async/maybe-async.ts'
import type { MountsTimings } from '../../plugins/mounts.ts'
import type { Definition } from '../../src/define/definition.ts'
import { freePort } from './free-port.ts'
import { startOpenServer } from './open-server.ts'
import type { OpenServer } from './open-server.ts'

type CacheableMethod = 'tools/list' | 'prompts/list' | 'resources/list' | 'resources/templates/list' | 'resources/read'

/** An MCP server of the SDK, to mount, whose offers a test may change. */
export interface Upstream {
  url: string
  tools: Tool[]
  prompts: Prompt[]
  resources: Resource[]
  templates: ResourceTemplateType[]
  /** The tools for a client that declares this in its session; all by default. */
  toolsFor: (capabilities: ClientCapabilities) => Tool[]
  /** Answers tools/call; echoes the arguments by default. */
  call: (name: string, args: Record<string, unknown>, context: ServerContext) =>
  MaybePromise<CallToolResult | InputRequiredResult>
  /** Answers prompts/get and resources/read instead of the fixture, if it returns something. */
  answer: (context: ServerContext) =>
  MaybePromise<GetPromptResult | ReadResourceResult | InputRequiredResult | undefined>
  /** Answers HTTP requests before MCP gets them, if it returns true. */
  intercept: (request: IncomingMessage, response: ServerResponse) => MaybePromise<boolean>
  /** The capabilities that it declares. */
  capabilities: ServerCapabilities
  /** What it says about keeping the results of a method (2026-07-28). */
  cacheHints: Partial<Record<CacheableMethod, CacheHint>>
  /** Called when the client of a session says that its roots have changed. */
  rootsChanged: (server: Server) => MaybePromise<void>
  /** Headers of all requests so far. */
  requests: Array<IncomingMessage['headers']>
  /** Bodies of all POSTs so far. */
  messages: Array<{ method?: string, params?: any }>
  /** Notifies clients that the list of tools has changed. */
  announce (): Promise<void>
  /** Asks the client of each session, outside of any call. @returns the answers, or the texts of errors */
  ask (question: InputRequest): Promise<unknown[]>
  /** Sends a notification in each session whose client can get it, outside of any call. */
  notify (notification: { method: string, params?: object }): Promise<void>
  /** The number of its sessions. */
  readonly openSessions: number
  /** Notifies clients that a resource has changed. */
  update (uri: string): Promise<void>
  /** Forgets all sessions, as a restart does. */
  forgetSessions (): void
  stop (): Promise<void>
  start (): Promise<void>
}

/** What a server offers itself, for commands that look at mounts alone. */
export const NO_OFFERS = { definitions: [], mounts: [] }

export const ADD: Tool = {
  name: 'add',
  description: 'Adds numbers',
  inputSchema: { type: 'object', properties: { a: { type: 'number' }, b: { type: 'number' } } }
}

export async function startUpstream (
  t: Pick<Test, 'teardown'>, era: 'modern' | 'session' = 'modern', port?: number
): Promise<Upstream> {
  port ??= await freePort()
  const sessions = new Map<string, { transport: WebStandardStreamableHTTPServerTransport, server: Server }>()
  const bus = new InMemoryServerEventBus()
  let http: HttpServer | undefined
  let modern = createModern()

  const upstream: Upstream = {
    url: `http://127.0.0.1:${port}/mcp`,
    tools: [ADD],
    prompts: [{ name: 'greet', description: 'Greets', arguments: [{ name: 'who', required: true }] }],
    resources: [{ uri: 'notes://1', name: 'First note', mimeType: 'text/plain' }],
    templates: [{ uriTemplate: 'notes://{id}', name: 'Note' }],
    toolsFor: () => upstream.tools,
    call: (_name, args) => ({ content: [{ type: 'text', text: JSON.stringify(args) }] }),
    answer: () => undefined,
    intercept: () => false,
    capabilities: {
      tools: { listChanged: true }, prompts: { listChanged: true }, resources: { listChanged: true }, completions: {}
    },
    cacheHints: {},
    rootsChanged () {},
    requests: [],
    messages: [],
    async announce () {
      bus.publish({ kind: 'tools_list_changed' })
      for (const { server } of sessions.values()) await server.sendToolListChanged()
    },
    async ask (question) {
      return await Promise.all([...sessions.values()].map(async ({ server }) =>
        await server.request(question as never).catch((err: Error) => err.message)))
    },
    async notify (notification) {
      await Promise.allSettled([...sessions.values()].map(async ({ server }) => {
        await server.notification(notification as never)
      }))
    },
    async update (uri) {
      bus.publish({ kind: 'resource_updated', uri })
      for (const { server } of sessions.values()) await server.sendResourceUpdated({ uri })
    },
    get openSessions () { return sessions.size },
    forgetSessions () { sessions.clear() },
    async stop () {
      const closed = new Promise<void>((resolve) => { http!.close(() => { resolve() }) })
      http!.closeAllConnections()
      await closed
      sessions.clear()
    },
    async start () {
      modern = createModern()
      http = createServer((request, response) => { handle(request, response) })
      await new Promise<void>((resolve) => { http!.listen(port, '127.0.0.1', resolve) })
    }
  }

  function createModern () {
    return createMcpHandler(() => createProtocolServer(upstream), { legacy: 'reject', bus, keepAliveMs: 0 })
  }

  async function handle (request: IncomingMessage, response: ServerResponse): Promise<void> {
    upstream.requests.push(request.headers)
    const chunks: Buffer[] = []
    for await (const chunk of request as AsyncIterable<Buffer>) chunks.push(chunk)
    const body = chunks.length === 0 ? undefined : Buffer.concat(chunks)
    if (body !== undefined) upstream.messages.push(JSON.parse(body.toString()))
    if (await upstream.intercept(request, response)) return
    const abort = new AbortController()
    response.on('close', () => { abort.abort() })
    const fetchRequest = new Request(upstream.url, {
      method: request.method!,
      headers: request.headers as Record<string, string>,
      signal: abort.signal,
      ...(body !== undefined && { body })
    })
    const answer = era === 'modern' ? await modern.fetch(fetchRequest) : await inSession(fetchRequest)
    response.writeHead(answer.status, Object.fromEntries(answer.headers))
    response.flushHeaders()
    try {
      for await (const chunk of answer.body ?? []) response.write(chunk)
    } catch {}
    response.end()
  }

  async function inSession (request: Request): Promise<Response> {
    const id = request.headers.get('mcp-session-id')
    if (id !== null) {
      const session = sessions.get(id)
      return session === undefined
        ? new Response('{}', { status: 404 })
        : await session.transport.handleRequest(request)
    }
    const server = createProtocolServer(upstream)
    const transport = new WebStandardStreamableHTTPServerTransport({
      sessionIdGenerator: () => randomUUID(),
      onsessioninitialized: (sessionId) => { sessions.set(sessionId, { transport, server }) },
      onsessionclosed: (sessionId) => { sessions.delete(sessionId) }
    })
    await server.connect(transport)
    return await transport.handleRequest(request)
  }

  t.teardown(async () => { await upstream.stop() })
  await upstream.start()
  return upstream
}

function createProtocolServer (upstream: Upstream): Server {
  const { capabilities, cacheHints } = upstream
  const server = new Server({ name: 'upstream', version: '1' }, { capabilities, cacheHints })
  server.setNotificationHandler('notifications/roots/list_changed', async () => { await upstream.rootsChanged(server) })
  if (capabilities.tools !== undefined) {
    server.setRequestHandler('tools/list', () => ({ tools: upstream.toolsFor(server.getClientCapabilities() ?? {}) }))
    server.setRequestHandler('tools/call', async ({ params: { name, arguments: args = {} } }, context) =>
      await upstream.call(name, args, context))
  }
  if (capabilities.prompts === undefined) return server
  server.setRequestHandler('prompts/list', () => ({ prompts: upstream.prompts }))
  server.setRequestHandler('prompts/get', async ({ params: { name, arguments: { who = '' } = {} } }, context) => {
    const answer = await upstream.answer(context)
    if (answer !== undefined) return answer as GetPromptResult
    if (who === 'nobody') throw new ProtocolError(-31050, 'Nobody is here', { who })
    return {
      description: `${name} for ${who}`,
      messages: [
        { role: 'user', content: { type: 'text', text: `Greet ${who}` } },
        { role: 'user', content: { type: 'resource', resource: { uri: 'notes://1', text: 'a note' } } }
      ]
    }
  })
  if (capabilities.completions !== undefined) {
    server.setRequestHandler('completion/complete', ({ params: { argument: { value } } }) =>
      ({ completion: { values: [`${value}1`, `${value}2`] } }))
  }
  if (capabilities.resources?.subscribe === true) {
    server.setRequestHandler('resources/subscribe', () => ({}))
    server.setRequestHandler('resources/unsubscribe', () => ({}))
  }
  server.setRequestHandler('resources/list', () => ({ resources: upstream.resources }))
  server.setRequestHandler('resources/templates/list', () => ({ resourceTemplates: upstream.templates }))
  server.setRequestHandler('resources/read', async ({ params: { uri } }, context) =>
    await upstream.answer(context) as ReadResourceResult | undefined ??
      { contents: [{ uri, mimeType: 'text/plain', text: `content of ${uri}` }] })
  return server
}

/** Writes a file for SEED_MOUNTS into a folder of its own. @returns its path */
export async function writeMounts (mounts: object | string, files: Record<string, string> = {}): Promise<string> {
  const folder = await mkdtemp(join(tmpdir(), 'seed-mounts-'))
  for (const [name, text] of Object.entries(files)) await writeFile(join(folder, name), text)
  const path = join(folder, 'mounts.yaml')
  await writeFile(path, typeof mounts === 'string' ? mounts : JSON.stringify({ mounts }))
  return path
}

/** A server without sign-in, whose start waits for the mounted servers, however busy the machine is. */
export async function startMounted (
  t: Test,
  mounts: Record<string, object>,
  { definitions = [], timings = {}, env = {} }: {
    definitions?: readonly Definition[], timings?: MountsTimings, env?: Record<string, string>
  } = {}
): Promise<OpenServer> {
  const patient = Object.entries(mounts).map(([name, mount]) => [name, { connectTimeoutSeconds: 60, ...mount }])
  const SEED_MOUNTS = await writeMounts(Object.fromEntries(patient))
  const patience = { mountsWaitMs: 60_000, mountsRetryMs: 10, ...timings }
  return await startOpenServer(t, definitions, { SEED_MOUNTS, ...env }, patience)
}
