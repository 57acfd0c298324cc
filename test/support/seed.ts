import type { Test } from 'tap'
import type { FastifyInstance } from 'fastify'
import { startDevProvider } from '../../dev/provider.ts'
import type { DevProvider, DevProviderOptions } from '../../dev/provider.ts'
import { buildApp } from '../../src/app.ts'
import type { AppOptions } from '../../src/app.ts'
import type { FetchPublicDocument } from '../../src/net/public-fetch.ts'
import { loadBuiltInDefinitions } from '../../src/extensions/load.ts'
import { listen } from '../../src/listen.ts'
import { freePort } from './free-port.ts'
import { sharedCompilers } from './schema-compilers.ts'

export interface TestSeed {
  app: FastifyInstance
  /** BASE_URL */
  url: string
  provider: DevProvider
  /** Every log line so far, parsed. */
  logs: LogLine[]
  /** Resolves with the first log line, past or future, that fits. */
  logged (fits: (line: LogLine) => boolean): Promise<LogLine>
}

export type LogLine = Record<string, unknown> & { msg: string, level: number }

/** Seed on a free port next to a development provider, over real HTTP; both end with the test. */
export async function startSeed (t: Test, {
  env = {}, basePath = '', provider: providerOptions, sharedProvider, fetchDocument, definitions, mounts, timings = {}
}: {
  env?: Record<string, string>
  /** The path of BASE_URL. */
  basePath?: string
  /** Instead of the built-in ones. */
  definitions?: AppOptions['definitions']
  mounts?: AppOptions['mounts']
  /** Fetches client metadata documents. Without it they are switched off, as nothing leaves this machine. */
  fetchDocument?: FetchPublicDocument
  provider?: DevProviderOptions
  /** Use this provider, which its owner closes. */
  sharedProvider?: DevProvider
  timings?: NonNullable<AppOptions['timings']>
} = {}): Promise<TestSeed> {
  const provider = sharedProvider ?? await startDevProvider({ algorithm: 'ES256', ...providerOptions })
  if (sharedProvider === undefined) t.teardown(async () => { await provider.close() })
  const port = await freePort()
  const url = `http://127.0.0.1:${port}${basePath}`
  const { logs, logged, stream } = captureLogs()
  const app = await buildApp(
    {
      HOST: '127.0.0.1',
      PORT: String(port),
      BASE_URL: url,
      OIDC_ISSUER: provider.issuer,
      OIDC_AUDIENCE: provider.clientId,
      SHUTDOWN_GRACE_SECONDS: '1',
      CIMD_ENABLED: String(fetchDocument !== undefined),
      OAUTH_LIMIT_PER_ADDRESS: '100000',
      OAUTH_LIMIT_PER_CLIENT: '100000',
      MCP_LIMIT_PER_ADDRESS: '1000000',
      MCP_LIMIT_PER_PRINCIPAL: '1000000',
      MCP_LIMIT_REFUSED: '1000000',
      ...env
    },
    {
      logStream: stream,
      timings,
      compilersFactory: sharedCompilers,
      ...(fetchDocument !== undefined && { fetchDocument }),
      ...(mounts !== undefined && { mounts }),
      definitions: definitions ?? (await loadBuiltInDefinitions()).map(({ definition }) => definition)
    }
  )
  t.teardown(async () => { await app.close() })
  await listen(app)
  return { app, url, provider, logs, logged }
}

/** Waits until Seed has all that it needs: the provider, its keys and the store. */
export async function ready ({ url }: Pick<TestSeed, 'url'>): Promise<void> {
  for (;;) {
    const { status } = await (await fetch(new URL('/health/ready', url))).json() as { status: string }
    if (status === 'ready') return
    await new Promise((resolve) => setTimeout(resolve, 10))
  }
}

export function captureLogs () {
  const logs: LogLine[] = []
  const waiting = new Set<{ fits: (line: LogLine) => boolean, resolve: (line: LogLine) => void }>()
  return {
    logs,
    logged: async (fits: (line: LogLine) => boolean): Promise<LogLine> =>
      logs.find(fits) ?? await new Promise((resolve) => { waiting.add({ fits, resolve }) }),
    stream: {
      write (text: string) {
        const line = JSON.parse(text) as LogLine
        logs.push(line)
        for (const waiter of waiting) {
          if (!waiter.fits(line)) continue
          waiting.delete(waiter)
          waiter.resolve(line)
        }
      }
    }
  }
}

/** The `_meta` that each request of 2026-07-28 carries about its client. */
export const MODERN_META = {
  'io.modelcontextprotocol/protocolVersion': '2026-07-28',
  'io.modelcontextprotocol/clientInfo': { name: 'test', version: '1' },
  'io.modelcontextprotocol/clientCapabilities': {}
}

/** Sends a request of 2026-07-28 as plain HTTP. @param path of the MCP endpoint, below `url` */
export async function sendModern (
  url: string, request: ModernRequest, token?: string, headers: RequestInit['headers'] = {}, path = '/mcp'
): Promise<Response> {
  return await fetch(`${url}${path}`, {
    method: 'POST',
    headers: {
      'content-type': 'application/json',
      accept: 'application/json, text/event-stream',
      ...request.headers,
      ...(token !== undefined && { authorization: `Bearer ${token}` }),
      ...headers
    },
    body: request.body
  })
}

/** A `tools/call` of seed_ping in 2026-07-28, as plain HTTP. */
export async function ping (url: string, token?: string, init: RequestInit = {}): Promise<Response> {
  return await sendModern(url, PING, token, init.headers)
}

/** Opens a subscription to changes of the tool list in 2026-07-28: a stream that stays open until somebody ends it. */
export async function subscribe (url: string, token?: string): Promise<Response> {
  const request = modernRequest('subscriptions/listen', { notifications: { toolsListChanged: true } }, 's')
  return await sendModern(url, request, token)
}

interface ModernRequest {
  body: string
  headers: Record<string, string>
}

/** Makes a request of 2026-07-28: its body, and the headers that repeat it. */
export function modernRequest (
  method: string,
  params: Record<string, unknown> = {},
  id: number | string = 1,
  capabilities: Record<string, unknown> = {}
): ModernRequest {
  return {
    body: JSON.stringify({
      jsonrpc: '2.0',
      id,
      method,
      params: { ...params, _meta: { ...MODERN_META, 'io.modelcontextprotocol/clientCapabilities': capabilities } }
    }),
    headers: {
      'mcp-protocol-version': '2026-07-28',
      'mcp-method': method,
      ...(typeof params['name'] === 'string' && { 'mcp-name': params['name'] })
    }
  }
}

export const PING = modernRequest('tools/call', { name: 'seed_ping', arguments: {} })

interface SentMessage {
  body: string
  headers: Record<string, string>
}

/** Sends one message, or a batch, and reads the answer. */
export async function postMcp (
  { url }: Pick<TestSeed, 'url'>,
  { body, headers }: SentMessage,
  token?: string,
  signal?: AbortSignal
) {
  const response = await fetch(`${url}/mcp`, {
    method: 'POST',
    body,
    ...(signal !== undefined && { signal }),
    headers: {
      'content-type': 'application/json',
      accept: 'application/json, text/event-stream',
      ...(token !== undefined && { authorization: `Bearer ${token}` }),
      ...headers
    }
  })
  const text = await response.text()
  return { status: response.status, headers: response.headers, body: readBody(text) }
}

/** The JSON of an answer, or the last message of its stream. */
function readBody (text: string): any {
  if (text === '') return undefined
  const data = text.startsWith('{') || text.startsWith('[') ? text : text.match(/^data: .+$/gm)!.at(-1)!.slice(6)
  return JSON.parse(data)
}

/** Opens a session of the 2025 revisions. */
export async function openSession (seed: Pick<TestSeed, 'url'>, token?: string, version = '2025-11-25') {
  const params = { protocolVersion: version, capabilities: {}, clientInfo: { name: 'test', version: '1' } }
  const initialize = JSON.stringify({ jsonrpc: '2.0', id: 0, method: 'initialize', params })
  const { headers } = await postMcp(seed, { body: initialize, headers: {} }, token)
  const own = { 'mcp-session-id': headers.get('mcp-session-id')!, 'mcp-protocol-version': version }
  return {
    headers: own,
    request: (method: string, params: object = {}, id: number | string = 1): SentMessage =>
      ({ body: JSON.stringify({ jsonrpc: '2.0', id, method, params }), headers: own })
  }
}
