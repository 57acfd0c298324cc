import type { ReadResourceResult } from '@modelcontextprotocol/server'
import type { ResourceContent } from '../../define/resource.ts'

type Contents = ReadResourceResult['contents']

/**
 * Converts what `read` returned into the contents of resources/read.
 *
 * @param uri the URI that was read; contents may name others
 * @param mimeType the resource's; contents may name others
 * @throws Error, for the resource's author, if no contents can be made of it
 */
export function toContents (returned: unknown, uri: string, mimeType: string | undefined): Contents {
  if (typeof returned === 'string' || returned instanceof Uint8Array) {
    return [toContent({ content: returned }, uri, mimeType)]
  }
  if (Array.isArray(returned) && returned.length > 0 && returned.every(isContent)) {
    return returned.map((content) => toContent(content, uri, mimeType))
  }
  if (typeof returned !== 'object' || returned === null) {
    throw new Error(`${uri} gave neither text nor bytes, an object or contents`)
  }
  return [toContent({ content: JSON.stringify(returned) }, uri, mimeType ?? 'application/json')]
}

function toContent (own: ResourceContent, defaultUri: string, defaultType: string | undefined): Contents[number] {
  const { uri = defaultUri, mimeType = defaultType, content } = own
  const described = { uri, ...(mimeType !== undefined && { mimeType }) }
  return typeof content === 'string'
    ? { ...described, text: content }
    : { ...described, blob: Buffer.from(content.buffer, content.byteOffset, content.byteLength).toString('base64') }
}

function isContent (value: unknown): value is ResourceContent {
  if (typeof value !== 'object' || value === null) return false
  const { content } = value as { content?: unknown }
  return typeof content === 'string' || content instanceof Uint8Array
}
