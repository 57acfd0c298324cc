import type { Test } from 'tap'
import type { Definition } from '../../src/define/definition.ts'
import { encodeHeader } from '../../src/mcp/catalog/param-headers.ts'
import { modern, request, send, startEngines, startSession } from './mcp.ts'
import type { Engines, EnginesOptions, SendOptions, Sent } from './mcp.ts'

export const ERAS = ['legacy', 'modern'] as const
export type Era = typeof ERAS[number]

/** Engines with the test's own definitions, and a sender of requests for each era. */
export interface EngineFixture extends Engines {
  /** Sends one request in one era of the protocol. In the older one, each request is in a session of its own. */
  send (era: Era, method: string, params?: object, options?: SendOptions): Promise<Sent>
}

export function startEngine (t: Test, definitions: readonly Definition[], options: EnginesOptions = {}): EngineFixture {
  const fixture = startEngines(t, { count: 1, definitions, ...options })
  return {
    ...fixture,
    async send (era, method, params = {}, { headers = {}, principal, ...options } = {}) {
      if (era === 'legacy') {
        const session = await startSession(fixture, principal === undefined ? {} : { principal })
        return await session.post(request(method, params), { headers, ...options })
      }
      const [body, own] = modern(
        method,
        params,
        { headers: { ...('uri' in params && { 'mcp-name': encodeHeader(String(params.uri)) }), ...headers } }
      )
      return await send(fixture.engines[0]!, body, { ...own, ...options, principal })
    }
  }
}
