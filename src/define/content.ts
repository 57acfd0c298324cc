import type { Annotations, CallToolResult, ContentBlock, Icon, PromptMessage } from '@modelcontextprotocol/server'

/** Content blocks (MCP, content types), made where a tool or prompt returns more than plain text. */

interface BlockOptions {
  /** For whom it is, and how important. */
  annotations?: Annotations
}

export function text (content: string, options: BlockOptions = {}): ContentBlock {
  return { type: 'text', text: content, ...options }
}

/** @param data bytes, or base64 */
export function image (data: Uint8Array | string, mimeType: string, options: BlockOptions = {}): ContentBlock {
  return { type: 'image', data: base64(data), mimeType, ...options }
}

/** @param data bytes, or base64 */
export function audio (data: Uint8Array | string, mimeType: string, options: BlockOptions = {}): ContentBlock {
  return { type: 'audio', data: base64(data), mimeType, ...options }
}

/** A resource that the client may read (resources/read); nothing of it is sent yet. */
export function resourceLink (link: { uri: string, name: string, title?: string, description?: string, mimeType?: string, size?: number, icons?: Icon[] }, options: BlockOptions = {}): ContentBlock {
  return { type: 'resource_link', ...link, ...options }
}

/** A resource with its content. @param content text, or bytes */
export function embeddedResource (uri: string, content: string | Uint8Array, mimeType?: string, options: BlockOptions = {}): ContentBlock {
  const described = { uri, ...(mimeType !== undefined && { mimeType }) }
  return {
    type: 'resource',
    resource: typeof content === 'string' ? { ...described, text: content } : { ...described, blob: base64(content) },
    ...options
  }
}

/** A message of a prompt, in the words of the user. */
export function user (content: string | ContentBlock): PromptMessage {
  return { role: 'user', content: typeof content === 'string' ? text(content) : content }
}

/** A message of a prompt, in the words of the model. */
export function assistant (content: string | ContentBlock): PromptMessage {
  return { role: 'assistant', content: typeof content === 'string' ? text(content) : content }
}

/** A result of which the tool decides every part. */
export class ToolResult {
  readonly result: CallToolResult

  constructor (result: { content?: ContentBlock[], structuredContent?: Record<string, unknown>, isError?: boolean, _meta?: Record<string, unknown> }) {
    this.result = { ...result, content: result.content ?? [] }
  }
}

/**
 * Structured content together with content blocks of the tool's own choice, instead of the JSON that is made of it.
 * With `output` the structured content is checked as ever.
 */
export function toolResult (result: ConstructorParameters<typeof ToolResult>[0]): ToolResult {
  return new ToolResult(result)
}

function base64 (data: Uint8Array | string): string {
  return typeof data === 'string' ? data : Buffer.from(data.buffer, data.byteOffset, data.byteLength).toString('base64')
}
