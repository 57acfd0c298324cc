import { SERVER_INFO_META_KEY } from '@modelcontextprotocol/server'
import type { Implementation, RequestId, Tool } from '@modelcontextprotocol/server'
import type { Answer } from '../answer.ts'
import { countMembers } from './count-members.ts'

/**
 * Answers to plain requests, written as the SDK writes them, member for member (test/mcp/differential.test.ts). Only
 * results of a form that the SDK passes on unchanged are written here.
 */
export interface PlainAnswers {
  /** @returns undefined for a result that is the SDK's to write */
  call (id: RequestId, isModern: boolean, result: object): Answer | undefined
  list (id: RequestId, isModern: boolean, tools: readonly Tool[], isPublic: boolean): Answer
}

const JSON_HEADERS = Object.freeze({ 'content-type': 'application/json' })

/** @param listTtlMs what a list's answer says of how long it may be kept (2026-07-28) */
export function createPlainAnswers (serverInfo: Implementation, listTtlMs: number): PlainAnswers {
  const modernEnd = `,"resultType":"complete","_meta":${JSON.stringify({ [SERVER_INFO_META_KEY]: serverInfo })}`
  /** A list is the same array for as long as it is the same. */
  const texts = new WeakMap<readonly Tool[], string>()

  function textOf (tools: readonly Tool[]): string {
    let text = texts.get(tools)
    if (text === undefined) texts.set(tools, text = JSON.stringify(tools))
    return text
  }

  function answer (id: RequestId, isModern: boolean, result: string): Answer {
    const writtenId = typeof id === 'number' ? String(id) : JSON.stringify(id)
    return { status: 200, headers: JSON_HEADERS, body: `{"result":{${result}${isModern ? modernEnd : ''}},"jsonrpc":"2.0","id":${writtenId}}` }
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
      return answer(id, isModern, `"tools":${textOf(tools)}${hint}`)
    }
  }
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
