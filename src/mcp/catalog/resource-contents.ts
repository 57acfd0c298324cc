import type { ReadResourceResult } from '@modelcontextprotocol/server'
import type { ResourceContent } from '../../define/resource.ts'

type Contents = ReadResourceResult['contents']

/** What a resource gave, as contents of resources/read. @throws Error for its author */
export function renderContents (given: unknown, uri: string, mimeType: string | undefined): Contents {
  if (typeof given === 'string' || given instanceof Uint8Array) return [content({ content: given }, uri, mimeType)]
  if (Array.isArray(given) && given.length > 0 && given.every(isContent)) return given.map((one) => content(one, uri, mimeType))
  if (typeof given !== 'object' || given === null) throw new Error(`${uri} gave neither text nor bytes, an object or contents`)
  return [content({ content: JSON.stringify(given) }, uri, mimeType ?? 'application/json')]
}

function content ({ uri, mimeType, content }: ResourceContent, ownUri: string, ownMimeType: string | undefined): Contents[number] {
  const type = mimeType ?? ownMimeType
  const described = { uri: uri ?? ownUri, ...(type !== undefined && { mimeType: type }) }
  return typeof content === 'string'
    ? { ...described, text: content }
    : { ...described, blob: Buffer.from(content.buffer, content.byteOffset, content.byteLength).toString('base64') }
}

function isContent (value: unknown): value is ResourceContent {
  if (typeof value !== 'object' || value === null) return false
  const { content } = value as { content?: unknown }
  return typeof content === 'string' || content instanceof Uint8Array
}
