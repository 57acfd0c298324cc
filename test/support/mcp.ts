import { PassThrough } from 'node:stream'
import type { Readable } from 'node:stream'
import type { Test } from 'tap'
import { onAbort } from '../../src/async/on-abort.ts'
import { createKeyring } from '../../src/crypto/keyring.ts'
import type { CallLimits, EventStream, McpRequest, McpResponse } from '../../src/mcp/exchange.ts'
import type { Definition } from '../../src/define/definition.ts'
import { createEngineServices } from '../../src/mcp/engine-services.ts'
import { createEngine } from '../../src/mcp/engine.ts'
import type { Engine, EngineOptions } from '../../src/mcp/engine.ts'
import { toPrincipal } from '../../src/tokens/principal.ts'
import type { Principal } from '../../src/tokens/principal.ts'
import { createMemoryStore } from '../../src/store/memory.ts'
import { StoreUnavailableError } from '../../src/store/store.ts'
import type { Store } from '../../src/store/store.ts'
import { interactiveTools } from './interactive-tools.ts'

/** Engines on one store, as replicas of a server, and clients that send them single messages. */

export interface Engines {
  store: TestStore
  engines: Engine[]
  /** Log lines of the engines and their tools. */
  lines: Array<Record<string, unknown>>
}

export type EnginesOptions = Partial<Omit<EngineOptions, 'services' | 'definitions'>> & {
  count?: number
  definitions?: readonly Definition[]
  store?: TestStore
}

export const SESSIONS = { idleTtlSeconds: 3_600, maxAgeSeconds: 86_400, maxPerPrincipal: 100, maxTotal: 10_000 }
export const NO_LIMITS: CallLimits = {
  beginCall: () => () => {},
  beginStream: () => () => {},
  callerKey: ({ principal }) => principal?.personKey ?? ''
}

const DEFAULTS = {
  serverInfo: { name: 'seed', version: '1.2.3' },
  policy: { hierarchy: [], scopes: [] },
  tokenFor: undefined,
  assertionFor: undefined,
  pageSize: 1_000,
  session: SESSIONS,
  tool: { timeoutSeconds: 60, inputTimeoutSeconds: 60, maxResultBytes: 10_485_760 },
  limits: NO_LIMITS
}

export function startEngines (t: Test, {
  count = 2,
  definitions = interactiveTools,
  store = testStore(t),
  ...options
}: EnginesOptions = {}): Engines {
  stayAwake(t)
  const { lines, log } = captureLog()
  const keyring = createKeyring(undefined, undefined)
  const start = (): Engine => startReplica(store, log, {
    ...DEFAULTS,
    definitions,
    keyring,
    log,
    ...options
  })
  const engines = Array.from({ length: count }, start)
  t.teardown(async () => { await Promise.all(engines.map(async (engine) => { await engine.close(0) })) })
  return { store, engines, lines }
}

/** Starts an engine with services of its own, as on a server with one endpoint. They are closed with it. */
function startReplica (store: Store, log: EngineOptions['log'], options: Omit<EngineOptions, 'services'>): Engine {
  const services = createEngineServices(store, log, options.keyring, options.internals?.pollMs)
  const engine = createEngine({ ...options, services })
  return {
    ...engine,
    async close (graceMs) {
      await engine.close(graceMs)
      await services.close()
    }
  }
}

/** Engines of several MCP endpoints, by path: two replicas of a server, each with an engine for each endpoint. */
export function startEndpoints<Path extends string> (
  t: Test, definitions: Record<Path, readonly Definition[]>, options: Partial<EngineOptions> = {}
): Record<Path, Engines> {
  stayAwake(t)
  const store = testStore(t)
  const { lines, log } = captureLog()
  const keyring = createKeyring(undefined, undefined)
  const replicas = [0, 1].map(() => createEngineServices(store, log, keyring))
  const endpoints = Object.entries<readonly Definition[]>(definitions).map(([endpoint, offered]) => {
    const engines = replicas.map((services) =>
      createEngine({ ...DEFAULTS, keyring, log, ...options, services, endpoint, definitions: offered }))
    return [endpoint, { store, engines, lines }] as const
  })
  t.teardown(async () => {
    await Promise.all(endpoints.flatMap(([, { engines }]) => engines.map(async (engine) => { await engine.close(0) })))
    await Promise.all(replicas.map(async (services) => { await services.close() }))
  })
  return Object.fromEntries(endpoints) as Record<Path, Engines>
}

/** Timers of streams do not keep a process running; a test that waits for one must. */
export function stayAwake (t: Test): void {
  const timer = setInterval(() => {}, 1_000)
  t.teardown(() => { clearInterval(timer) })
}

export function captureLog () {
  const lines: Array<Record<string, unknown>> = []
  const write = (fields: object, message?: string): void => { lines.push({ ...fields, message }) }
  return { lines, log: { info: write, warn: write, error: write } }
}

/** A memory store with outages and lost messages. */
export type TestStore = Store & {
  isDown: boolean
  /** Whether a published message is lost. */
  isLost: (message: { kind: string }) => boolean
  /** Notifies all subscribers that they may have missed messages. */
  notifyGap (): void
  /** All calls so far. */
  calls: Array<[method: string, key: unknown]>
}

export function testStore (t: Test, options: Parameters<typeof createMemoryStore>[0] = {}): TestStore {
  const store = createMemoryStore(options)
  t.teardown(async () => { await store.close() })
  const gapListeners: Array<() => void> = []
  const own = {
    isDown: false,
    isLost: (_message: { kind: string }) => false,
    notifyGap () { for (const onGap of gapListeners) onGap() },
    calls: [] as Array<[string, unknown]>,
    async publish (channel: string, message: string) {
      if (own.isDown) throw new StoreUnavailableError()
      if (!own.isLost(JSON.parse(message) as { kind: string })) await store.publish(channel, message)
    },
    subscribe (channel: string, onMessage: (message: string) => void, onGap: () => void) {
      gapListeners.push(onGap)
      store.subscribe(channel, onMessage, onGap)
    }
  }
  return new Proxy(own as unknown as TestStore, {
    get (target, name: keyof TestStore) {
      if (name in target) return target[name]
      const member = store[name as keyof Store]
      if (typeof member !== 'function') return member
      return async (...args: unknown[]) => {
        own.calls.push([name, args[0]])
        if (own.isDown) throw new StoreUnavailableError()
        return await (member as (...args: unknown[]) => unknown)(...args)
      }
    }
  })
}

export function asPrincipal (sub: string, {
  iss = 'https://id.example',
  client = 'client-1',
  ...claims
}: { iss?: string, client?: string, [claim: string]: unknown } = {}): Principal {
  return toPrincipal(
    { iss, sub, exp: 2_000_000_000, client_id: client, scope: 'openid', ...claims },
    { groupsClaim: 'groups', groupPaths: false }
  )
}

export interface SendOptions {
  method?: McpRequest['method']
  headers?: Record<string, string>
  principal?: Principal | undefined
  acceptsStream?: boolean
  signal?: AbortSignal
}

export interface Sent {
  status: number
  headers: Record<string, string>
  /** The parsed JSON body. */
  body: any
  /** The events of a stream. */
  events: Events
  answer: McpResponse
}

export async function send (engine: Engine, body: unknown, {
  method = 'POST',
  headers = {},
  principal,
  acceptsStream = true,
  signal = new AbortController().signal
}: SendOptions = {}): Promise<Sent> {
  const answer = await engine.handle({
    id: 'request-1',
    method,
    headers: { ...(method === 'POST' && { 'content-type': 'application/json' }), ...headers },
    url: 'http://localhost:3000/mcp',
    // As JSON.parse gives it.
    body: body === undefined ? undefined : JSON.parse(JSON.stringify(body)),
    acceptsStream,
    principal,
    address: '192.0.2.1',
    log: captureLog().log,
    onDisconnect: (listener) => onAbort(signal, listener)
  })
  const isText = answer.body !== null
  let events: Events | undefined
  return {
    status: answer.status,
    headers: answer.headers,
    body: isText ? JSON.parse(String(answer.body)) : undefined,
    get events () {
      events ??= readEvents(throughPipe(answer.stream!))
      return events
    },
    answer
  }
}

export interface SseEvent {
  id?: string
  data?: string
  retry?: string
  comment?: string
}

/** The events of a stream as its client receives them. */
export interface Events {
  /** The next event or comment; undefined when the stream has ended. */
  next (): Promise<SseEvent | undefined>
  /** The next message, with the id of its event as `eventId`. */
  message (): Promise<any>
  /** All messages until the end of the stream. */
  rest (): Promise<any[]>
  /** The id of the last event read. */
  lastEventId: string | undefined
  /** Ids of all events read so far. */
  ids: string[]
  /** Breaks the connection. */
  cut (): Promise<void>
  readonly hasEnded: boolean
}

/** The bytes that a stream writes, without HTTP. */
export function throughPipe (stream: EventStream): Readable {
  const response = new PassThrough()
  stream.pipe(response)
  return response
}

export function readEvents (body: Readable): Events {
  const waiting: Array<() => void> = []
  const events: SseEvent[] = []
  let text = ''
  let hasEnded = false
  const wake = (): void => { for (const resolve of waiting.splice(0)) resolve() }
  body.on('data', (chunk: Buffer | string) => {
    text += chunk.toString()
    const parts = text.split('\n\n')
    text = parts.pop()!
    for (const part of parts) events.push(parseEvent(part))
    wake()
  })
  body.once('close', () => {
    hasEnded = true
    wake()
  })
  const reader: Events = {
    lastEventId: undefined,
    ids: [],
    get hasEnded () { return hasEnded },
    async next () {
      while (events.length === 0 && !reader.hasEnded) await new Promise<void>((resolve) => { waiting.push(resolve) })
      const event = events.shift()
      if (event?.id !== undefined) {
        reader.lastEventId = event.id
        reader.ids.push(event.id)
      }
      return event
    },
    async message () {
      for (let event = await reader.next(); event !== undefined; event = await reader.next()) {
        if (event.data !== undefined && event.data !== '') return JSON.parse(event.data)
      }
    },
    async rest () {
      const messages: any[] = []
      for (let message = await reader.message(); message !== undefined; message = await reader.message()) {
        messages.push(
          message
        )
      }
      return messages
    },
    async cut () {
      const closed = new Promise<void>((resolve) => { hasEnded ? resolve() : body.once('close', resolve) })
      body.destroy()
      await closed
      // The end of a connection is handled in later turns of the event loop.
      await settle()
    }
  }
  return reader
}

function parseEvent (text: string): SseEvent {
  const event: SseEvent = {}
  for (const line of text.split('\n')) {
    const [, name, value = ''] = /^(\w*): ?(.*)$/.exec(line) ?? []
    if (name === '') event.comment = value
    else if (name === 'id' || name === 'data' || name === 'retry') event[name] = value
  }
  return event
}

/** Lets all work proceed that waits for the event loop alone. */
export async function settle (): Promise<void> {
  for (let turns = 0; turns < 20; turns++) await new Promise((resolve) => { setImmediate(resolve) })
}

export function request<Params extends object> (
  method: string,
  params: Params = {} as Params,
  id: string | number = 1
) {
  return { jsonrpc: '2.0', id, method, params }
}

export const call = (name: string, args: object = {}, {
  id = 1,
  ...params
}: { id?: string | number, _meta?: object } = {}) =>
  request('tools/call', { name, arguments: args, ...params }, id)

export const ABLE = { elicitation: { form: {}, url: {} }, sampling: {}, roots: {} }

export function initialize (protocolVersion = '2025-11-25', capabilities: object = ABLE) {
  return request('initialize', { protocolVersion, capabilities, clientInfo: { name: 'test', version: '1' } }, 'init')
}

/** A client of the 2025 revisions with one session, which can use any of the engines. */
export interface SessionClient {
  id: string
  headers: Record<string, string>
  post (message: unknown, options?: SendOptions & { at?: number }): Promise<Sent>
  get (options?: SendOptions & { at?: number, lastEventId?: string | undefined }): Promise<Sent>
  end (options?: SendOptions & { at?: number }): Promise<Sent>
}

export async function startSession ({ engines }: Engines, {
  version = '2025-11-25',
  capabilities = ABLE,
  principal,
  at: home = 0
}: {
  version?: string, capabilities?: object, principal?: Principal, at?: number
} = {}): Promise<SessionClient> {
  const {
    status,
    headers: { 'mcp-session-id': id },
    body
  } = await send(engines[home]!, initialize(version, capabilities), { principal })
  if (id === undefined) throw new Error(`No session: ${status} ${JSON.stringify(body)}`)
  const own = { 'mcp-session-id': id, 'mcp-protocol-version': version }
  const exchange = (method: McpRequest['method']) => async (body: unknown, {
    at = home,
    headers = {},
    ...options
  }: SendOptions & { at?: number } = {}) =>
    await send(engines[at]!, body, { principal, ...options, method, headers: { ...own, ...headers } })
  return {
    id,
    headers: own,
    post: exchange('POST'),
    get: async ({ lastEventId, headers = {}, ...options } = {}) =>
      await exchange('GET')(
        undefined,
        { ...options, headers: { ...headers, ...(lastEventId !== undefined && { 'last-event-id': lastEventId }) } }
      ),
    end: async (options) => await exchange('DELETE')(undefined, options)
  }
}

export const MODERN = '2026-07-28'

/** A request of 2026-07-28 and its headers. */
export function modern (method: string, params: object = {}, {
  id = 1,
  capabilities = ABLE,
  headers = {}
}: { id?: string | number, capabilities?: object, headers?: Record<string, string> } = {}) {
  const _meta = {
    'io.modelcontextprotocol/protocolVersion': MODERN,
    'io.modelcontextprotocol/clientInfo': { name: 'test', version: '1' },
    'io.modelcontextprotocol/clientCapabilities': capabilities,
    ...(params as { _meta?: object })._meta
  }
  return [
    request(method, { ...params, _meta }, id),
    {
      headers: {
        'mcp-protocol-version': MODERN,
        'mcp-method': method,
        ...('name' in params && { 'mcp-name': String(params.name) }),
        ...headers
      }
    }
  ] as const
}
