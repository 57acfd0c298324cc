import type { Annotations, CallToolResult, ContentBlock, Icon, PromptMessage } from '@modelcontextprotocol/server'

interface BlockOptions {
  /** Hints for the client: who the block is for (`audience`), how important it is (`priority`, 0 to 1). */
  annotations?: Annotations
}

/** Makes a text block. */
export function text (content: string, options: BlockOptions = {}): ContentBlock {
  return { type: 'text', text: content, ...options }
}

/** Makes an image block. @param data bytes, or base64 */
export function image (data: Uint8Array | string, mimeType: string, options: BlockOptions = {}): ContentBlock {
  return { type: 'image', data: toBase64(data), mimeType, ...options }
}

/** Makes an audio block. @param data bytes, or base64 */
export function audio (data: Uint8Array | string, mimeType: string, options: BlockOptions = {}): ContentBlock {
  return { type: 'audio', data: toBase64(data), mimeType, ...options }
}

/** A resource that the client may read. */
export interface ResourceLink {
  uri: string
  name: string
  title?: string
  description?: string
  mimeType?: string
  /** Size in bytes. */
  size?: number
  icons?: Icon[]
}

/** Makes a link to a resource. Its content is not sent: the client may read it (`resources/read`). */
export function resourceLink (link: ResourceLink, options: BlockOptions = {}): ContentBlock {
  return { type: 'resource_link', ...link, ...options }
}

/** Makes a block with a resource and its content. @param content text, or bytes */
export function embeddedResource (
  uri: string,
  content: string | Uint8Array,
  mimeType?: string,
  options: BlockOptions = {}
): ContentBlock {
  const described = { uri, ...(mimeType !== undefined && { mimeType }) }
  return {
    type: 'resource',
    resource: typeof content === 'string'
      ? { ...described, text: content }
      : { ...described, blob: toBase64(content) },
    ...options
  }
}

/** Makes a prompt's message with the role of the user. @param content text, or a content block */
export function user (content: string | ContentBlock): PromptMessage {
  return { role: 'user', content: typeof content === 'string' ? text(content) : content }
}

/** Makes a prompt's message with the role of the model. @param content text, or a content block */
export function assistant (content: string | ContentBlock): PromptMessage {
  return { role: 'assistant', content: typeof content === 'string' ? text(content) : content }
}

/** The parts of a tool result that `toolResult` takes. */
export interface ToolResultParts {
  /** Blocks for the model and the user; the structured content as JSON text by default. */
  content?: ContentBlock[]
  /** Data for programs. Validated against the tool's `output`, if it declares one. */
  structuredContent?: Record<string, unknown>
  /** Marks a failure that the model should read. */
  isError?: boolean
  /** Metadata for the client, under names with a prefix of your own (`example.com/name`). */
  _meta?: Record<string, unknown>
}

/** A complete tool result, made by `toolResult`. */
export class ToolResult {
  readonly result: CallToolResult

  constructor (parts: ToolResultParts) {
    this.result = { ...parts, content: parts.content ?? [] }
  }
}

/**
 * Makes a tool result of which the handler decides every part, instead of one that is made from its return value.
 *
 * @example
 * return toolResult({
 *   structuredContent: { totalCents: 1250 },
 *   content: [text('The invoice comes to 12.50.'), resourceLink({ uri: 'invoices://7', name: 'Invoice 7' })]
 * })
 */
export function toolResult (parts: ToolResultParts): ToolResult {
  return new ToolResult(parts)
}

function toBase64 (data: Uint8Array | string): string {
  if (typeof data === 'string') return data
  return Buffer.from(data.buffer, data.byteOffset, data.byteLength).toString('base64')
}
