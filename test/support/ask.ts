import type { Test } from 'tap'
import type { Definition } from '../../src/define/definition.ts'
import { encodeHeader } from '../../src/mcp/catalog/param-headers.ts'
import { modern, request, send, startEngines, startSession } from './mcp.ts'
import type { Engines, EnginesOptions, SendOptions, Sent } from './mcp.ts'

/** One request to one engine, in one era of the protocol or the other. */

export const ERAS = ['legacy', 'modern'] as const
export type Era = typeof ERAS[number]

export interface AskHouse extends Engines {
  ask (era: Era, method: string, params?: object, options?: SendOptions): Promise<Sent>
}

/** In the older era, each request is in a session of its own. */
export function startAsking (t: Test, definitions: readonly Definition[], options: EnginesOptions = {}): AskHouse {
  const house = startEngines(t, { count: 1, definitions, ...options })
  return {
    ...house,
    async ask (era, method, params = {}, { headers = {}, principal, ...options } = {}) {
      if (era === 'legacy') {
        const session = await startSession(house, principal === undefined ? {} : { principal })
        return await session.post(request(method, params), { headers, ...options })
      }
      const [body, own] = modern(method, params, { headers: { ...('uri' in params && { 'mcp-name': encodeHeader(String(params.uri)) }), ...headers } })
      return await send(house.engines[0]!, body, { ...own, ...options, principal })
    }
  }
}
