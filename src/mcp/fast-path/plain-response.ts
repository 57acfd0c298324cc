import { SERVER_INFO_META_KEY } from '@modelcontextprotocol/server'
import type { CacheHint, Implementation, RequestId, Tool } from '@modelcontextprotocol/server'
import type { McpResponse } from '../exchange.ts'
import { countMembers } from './plain-request.ts'

/** Lists of at least this many characters are kept and sent as bytes. */
const LONG_LIST = 65_536

const JSON_HEADERS = Object.freeze({ 'content-type': 'application/json' })

export type PlainResponses = ReturnType<typeof createPlainResponses>

/**
 * Responses to plain requests, member for member as the SDK writes them (test/mcp/fast-path/differential.test.ts). Only
 * results that the SDK passes on unchanged are written here.
 */
export function createPlainResponses (serverInfo: Implementation) {
  const meta = JSON.stringify({ [SERVER_INFO_META_KEY]: serverInfo })
  const modernMembers = `,"resultType":"complete","_meta":${meta}`
  /** The JSON of each list. An unchanged list is always the same array. */
  const listTexts = new WeakMap<readonly Tool[], string>()
  const longLists = new WeakMap<readonly Tool[], Buffer>()

  function textOf (tools: readonly Tool[]): string {
    let text = listTexts.get(tools)
    if (text === undefined) listTexts.set(tools, text = JSON.stringify(tools))
    return text
  }

  function endOf (id: RequestId, isModern: boolean): string {
    return `${isModern ? modernMembers : ''}},"jsonrpc":"2.0","id":${idText(id)}}`
  }

  function respond (id: RequestId, isModern: boolean, result: string): McpResponse {
    return { status: 200, headers: JSON_HEADERS, body: `{"result":{${result}${endOf(id, isModern)}` }
  }

  /** The response up to the list's end, as bytes. Encoding a long list for every response would be most of the work. */
  function bytesOf (tools: readonly Tool[], text: string): Buffer {
    let bytes = longLists.get(tools)
    if (bytes === undefined) longLists.set(tools, bytes = Buffer.from(`{"result":{"tools":${text}`))
    return bytes
  }

  return {
    /** @returns undefined for a result that the SDK must write */
    toolResult (id: RequestId, isModern: boolean, result: object): McpResponse | undefined {
      const { content, structuredContent, isError } =
        result as { content?: unknown, structuredContent?: unknown, isError?: unknown }
      const members = 1 + (structuredContent === undefined ? 0 : 1) + (isError === undefined ? 0 : 1)
      if (countMembers(result) !== members || !isOneText(content)) return undefined
      const text = `"content":[{"type":"text","text":${JSON.stringify(content[0].text)}}]`
      if (structuredContent === undefined) {
        if (isError === undefined) return respond(id, isModern, text)
        return isError === true ? respond(id, isModern, `${text},"isError":true`) : undefined
      }
      if (isError !== undefined || !isPlainObject(structuredContent as object)) return undefined
      return respond(id, isModern, `${text},"structuredContent":${JSON.stringify(structuredContent)}`)
    },

    /** @param hint how long a client of 2026-07-28 may keep the list; undefined in a session */
    toolList (id: RequestId, tools: readonly Tool[], hint: CacheHint | undefined): McpResponse {
      const isModern = hint !== undefined
      const members = isModern ? `,"ttlMs":${hint.ttlMs},"cacheScope":"${hint.cacheScope}"` : ''
      const text = textOf(tools)
      if (text.length < LONG_LIST) return respond(id, isModern, `"tools":${text}${members}`)
      const body = Buffer.concat([bytesOf(tools, text), Buffer.from(`${members}${endOf(id, isModern)}`)])
      return { status: 200, headers: JSON_HEADERS, body }
    }
  }
}

function idText (id: RequestId): string {
  return typeof id === 'number' ? String(id) : JSON.stringify(id)
}

function isOneText (content: unknown): content is [{ type: 'text', text: string }] {
  if (!Array.isArray(content) || content.length !== 1) return false
  const [block] = content as [Record<string, unknown>]
  return block['type'] === 'text' && typeof block['text'] === 'string' && countMembers(block) === 2
}

/** Whether the JSON object of a result serializes the same after a shallow copy, which is what the SDK makes of it. */
function isPlainObject (value: object): boolean {
  const names = Reflect.ownKeys(value)
  return names.length === Object.keys(value).length && !names.includes('__proto__') && !('toJSON' in value)
}
