import type { Test } from 'tap'
import type { AppOptions } from '../../src/app.ts'
import type { Definition } from '../../src/define/definition.ts'
import { ERAS } from './engine-fixture.ts'
import type { Era } from './engine-fixture.ts'
import { MODERN_META, modernRequest, startSeed } from './seed.ts'
import type { TestSeed } from './seed.ts'

export interface Answered {
  status: number
  /** The JSON-RPC response: the body, or the last event of a stream. */
  response: { result?: any, error?: { code: number, message: string } }
  /** The messages of a stream before the response. */
  notifications: Array<{ method: string, params: Record<string, unknown> }>
  /** Everything that was received. */
  text: string
}

export interface OpenServer extends TestSeed {
  /** Returns body and headers of a request in one era of the protocol. */
  prepare (era: Era, method: string, params: Record<string, unknown>): { body: string, headers: Record<string, string> }
  /** Sends one such request over HTTP. */
  send (era: Era, method: string, params: Record<string, unknown>): Promise<Answered>
}

export { ERAS }
export type { Era }

/** A server without sign-in, and a client of both eras over real HTTP. */
export async function startOpenServer (
  t: Test,
  definitions: readonly Definition[],
  env: Record<string, string> = {},
  timings: NonNullable<AppOptions['timings']> = {}
): Promise<OpenServer> {
  const seed = await startSeed(t, {
    definitions, timings, env: { AUTH_REQUIRED: 'false', CALLS_PER_PRINCIPAL: '4', ...env }
  })
  const post = async (body: string, headers: Record<string, string>): Promise<Response> =>
    await fetch(`${seed.url}/mcp`, {
      method: 'POST',
      body,
      headers: { 'content-type': 'application/json', accept: 'application/json, text/event-stream', ...headers }
    })
  const clientInfo = { name: 'test', version: '1' }
  const handshake = await post(JSON.stringify({
    jsonrpc: '2.0', id: 0, method: 'initialize', params: { protocolVersion: '2025-11-25', capabilities: {}, clientInfo }
  }), {})
  await handshake.text()
  const session = { 'mcp-session-id': handshake.headers.get('mcp-session-id')! }
  let id = 0

  function prepare (era: Era, method: string, params: Record<string, unknown>) {
    id++
    const common = { 'content-type': 'application/json', accept: 'application/json, text/event-stream' }
    if (era === 'legacy') {
      return { body: JSON.stringify({ jsonrpc: '2.0', id, method, params }), headers: { ...common, ...session } }
    }
    const { headers } = modernRequest(method, params)
    if (typeof params['uri'] === 'string') headers['mcp-name'] = params['uri']
    const _meta = { ...MODERN_META, ...params['_meta'] as object }
    const body = JSON.stringify({ jsonrpc: '2.0', id, method, params: { ...params, _meta } })
    return { body, headers: { ...common, ...headers } }
  }

  return {
    ...seed,
    prepare,
    async send (era, method, params) {
      const { body, headers } = prepare(era, method, params)
      const answer = await post(body, headers)
      const text = await answer.text()
      const messages = answer.headers.get('content-type')!.startsWith('text/event-stream')
        ? [...text.matchAll(/^data: (\{.*)$/gm)].map(([, data]) => JSON.parse(data!) as never)
        : [JSON.parse(text) as never]
      return { status: answer.status, response: messages.at(-1)!, notifications: messages.slice(0, -1), text }
    }
  }
}
