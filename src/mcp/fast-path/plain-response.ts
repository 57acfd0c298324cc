import { SERVER_INFO_META_KEY } from '@modelcontextprotocol/server'
import type { Implementation, RequestId, Tool } from '@modelcontextprotocol/server'
import type { McpResponse } from '../exchange.ts'
import { countMembers } from './count-members.ts'

/**
 * Answers to plain requests, written as the SDK writes them, member for member (test/mcp/fast-path/differential.test.ts). Only
 * results of a form that the SDK passes on unchanged are written here.
 */
export interface PlainResponses {
  /** @returns undefined for a result that is the SDK's to write */
  call (id: RequestId, isModern: boolean, result: object): McpResponse | undefined
  list (id: RequestId, isModern: boolean, tools: readonly Tool[], isPublic: boolean): McpResponse
}

/** Of a list, in characters. */
const LONG = 65_536

const JSON_HEADERS = Object.freeze({ 'content-type': 'application/json' })

/** @param listTtlMs what a list's answer says of how long it may be kept (2026-07-28) */
export function createPlainResponses (serverInfo: Implementation, listTtlMs: number): PlainResponses {
  const modernEnd = `,"resultType":"complete","_meta":${JSON.stringify({ [SERVER_INFO_META_KEY]: serverInfo })}`
  /** A list is the same array for as long as it is the same. */
  const texts = new WeakMap<readonly Tool[], string>()
  const beginnings = new WeakMap<readonly Tool[], { session?: Buffer, modern?: Buffer }>()

  function textOf (tools: readonly Tool[]): string {
    let text = texts.get(tools)
    if (text === undefined) texts.set(tools, text = JSON.stringify(tools))
    return text
  }

  /** Of a long list: everything but the id, in bytes. To make a string of it each time, and bytes of that, is most of what such an answer costs. */
  function beginningOf (tools: readonly Tool[], isModern: boolean, result: () => string): Buffer {
    const known = beginnings.get(tools) ?? {}
    beginnings.set(tools, known)
    const era = isModern ? 'modern' : 'session'
    known[era] ??= Buffer.from(`{"result":{${result()}${isModern ? modernEnd : ''}},"jsonrpc":"2.0","id":`)
    return known[era]
  }

  function answer (id: RequestId, isModern: boolean, result: string): McpResponse {
    return { status: 200, headers: JSON_HEADERS, body: `{"result":{${result}${isModern ? modernEnd : ''}},"jsonrpc":"2.0","id":${written(id)}}` }
  }

  return {
    call (id, isModern, result) {
      const { content, structuredContent, isError } = result as { content?: unknown, structuredContent?: unknown, isError?: unknown }
      const members = 1 + (structuredContent === undefined ? 0 : 1) + (isError === undefined ? 0 : 1)
      if (countMembers(result) !== members || !isOneText(content)) return undefined
      const text = `"content":[{"type":"text","text":${JSON.stringify(content[0].text)}}]`
      if (structuredContent === undefined) {
        if (isError === undefined) return answer(id, isModern, text)
        return isError === true ? answer(id, isModern, `${text},"isError":true`) : undefined
      }
      if (isError !== undefined || !isPlainObject(structuredContent)) return undefined
      return answer(id, isModern, `${text},"structuredContent":${JSON.stringify(structuredContent)}`)
    },

    list (id, isModern, tools, isPublic) {
      const hint = isModern ? `,"ttlMs":${listTtlMs},"cacheScope":"${isPublic ? 'public' : 'private'}"` : ''
      const result = (): string => `"tools":${textOf(tools)}${hint}`
      if (textOf(tools).length < LONG) return answer(id, isModern, result())
      return { status: 200, headers: JSON_HEADERS, body: Buffer.concat([beginningOf(tools, isModern, result), Buffer.from(`${written(id)}}`)]) }
    }
  }
}

function written (id: RequestId): string {
  return typeof id === 'number' ? String(id) : JSON.stringify(id)
}

function isOneText (content: unknown): content is [{ type: 'text', text: string }] {
  if (!Array.isArray(content) || content.length !== 1) return false
  const [block] = content as [Record<string, unknown>]
  return block['type'] === 'text' && typeof block['text'] === 'string' && countMembers(block) === 2
}

/** Of which a copy, member by member, is written the same. */
function isPlainObject (value: unknown): value is object {
  if (typeof value !== 'object' || value === null || Object.getPrototypeOf(value) !== Object.prototype) return false
  const names = Reflect.ownKeys(value)
  return names.length === Object.keys(value).length && !names.includes('__proto__') && !('toJSON' in value)
}
