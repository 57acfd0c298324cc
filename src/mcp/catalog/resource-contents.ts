import { isSpecType } from '@modelcontextprotocol/server'
import type { ReadResourceResult } from '@modelcontextprotocol/server'
import type { ResourceContent } from '../../define/resource.ts'
import type { UpstreamResult } from '../../define/upstream.ts'
import { ResultTooLargeError, copyResult, toJson } from '../handlers/result-json.ts'

type Contents = ReadResourceResult['contents']

export interface ContentsOptions {
  /** The URI that was read; contents may name others. */
  uri: string
  /** The resource's; contents may name others. */
  mimeType: string | undefined
  /** Maximum size (MCP_MAX_RESULT_BYTES). */
  maxBytes: number
}

/**
 * Converts what `read` returned into the contents of resources/read.
 *
 * @throws ResultTooLargeError; Error, for the resource's author, if no contents can be made of it
 */
export function toContents (returned: unknown, options: ContentsOptions): Contents {
  const contents = copyResult<unknown>(describeContents(returned, options), options.maxBytes)
  if (isSpecType.ReadResourceResult({ contents })) return contents as Contents
  throw new Error(`${options.uri} gave contents whose uri or mimeType is not text`)
}

/** Returns the result of a server behind this one. @throws ResultTooLargeError; Error for anything else */
export function toUpstreamContents ({ result }: UpstreamResult, maxBytes: number): ReadResourceResult {
  const copy = copyResult<ReadResourceResult>(result, maxBytes)
  if (isSpecType.ReadResourceResult(copy)) return copy
  throw new Error('The server behind this one returned something other than the contents of a resource')
}

function describeContents (returned: unknown, options: ContentsOptions): unknown {
  const { uri, mimeType = 'application/json', maxBytes } = options
  if (typeof returned === 'string' || returned instanceof Uint8Array) return [toContent({ content: returned }, options)]
  if (Array.isArray(returned) && returned.length > 0 && returned.every(isContent)) {
    return returned.map((content) => toContent(content, options))
  }
  if (typeof returned !== 'object' || returned === null) {
    throw new Error(`${uri} gave neither text nor bytes, an object or contents`)
  }
  return [toContent({ content: toJson(returned, maxBytes), mimeType }, options)]
}

function toContent (own: ResourceContent, defaults: ContentsOptions): unknown {
  const { uri = defaults.uri, mimeType = defaults.mimeType, content } = own
  return typeof content === 'string'
    ? { uri, mimeType, text: content }
    : { uri, mimeType, blob: toBase64(content, defaults.maxBytes) }
}

/** @throws ResultTooLargeError before any work is done for it */
function toBase64 ({ buffer, byteOffset, byteLength }: Uint8Array, maxBytes: number): string {
  if (byteLength > maxBytes) throw new ResultTooLargeError(maxBytes)
  return Buffer.from(buffer, byteOffset, byteLength).toString('base64')
}

function isContent (value: unknown): value is ResourceContent {
  if (typeof value !== 'object' || value === null) return false
  const { content } = value as { content?: unknown }
  return typeof content === 'string' || content instanceof Uint8Array
}
