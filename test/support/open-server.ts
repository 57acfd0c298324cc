import type { Test } from 'tap'
import type { Definition } from '../../src/define/definition.ts'
import { ERAS } from './engine-fixture.ts'
import type { Era } from './engine-fixture.ts'
import { modernRequest, startSeed } from './seed.ts'
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
  /** Sends one request over HTTP, in one era of the protocol. */
  send (era: Era, method: string, params: Record<string, unknown>): Promise<Answered>
}

export { ERAS }
export type { Era }

/** A server without sign-in, and a client of both eras over real HTTP. */
export async function startOpenServer (
  t: Test,
  definitions: readonly Definition[],
  env: Record<string, string> = {}
): Promise<OpenServer> {
  const seed = await startSeed(t, { definitions, env: { AUTH_REQUIRED: 'false', CALLS_PER_PRINCIPAL: '4', ...env } })
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

  return {
    ...seed,
    async send (era, method, params) {
      id++
      const modern = modernRequest(method, params, id)
      if (params['_meta'] !== undefined) {
        const parsed = JSON.parse(modern.body) as { params: { _meta: object } }
        Object.assign(parsed.params._meta, params['_meta'])
        modern.body = JSON.stringify(parsed)
      }
      if (typeof params['uri'] === 'string') modern.headers['mcp-name'] = params['uri']
      const answer = era === 'modern'
        ? await post(modern.body, modern.headers)
        : await post(JSON.stringify({ jsonrpc: '2.0', id, method, params }), session)
      const text = await answer.text()
      const messages = answer.headers.get('content-type')!.startsWith('text/event-stream')
        ? [...text.matchAll(/^data: (\{.*)$/gm)].map(([, data]) => JSON.parse(data!) as never)
        : [JSON.parse(text) as never]
      return { status: answer.status, response: messages.at(-1)!, notifications: messages.slice(0, -1), text }
    }
  }
}
