import { Type } from 'typebox'

/**
 * The MCP endpoint. What is inside a message is the SDK's to judge; the schemas hold what HTTP has to say.
 * Streamable HTTP, revisions 2025-03-26 to 2026-07-28.
 */
export const McpHeadersSchema = Type.Object({
  accept: Type.Optional(Type.String()),
  'mcp-protocol-version': Type.Optional(Type.String()),
  'mcp-method': Type.Optional(Type.String()),
  'mcp-name': Type.Optional(Type.String()),
  'mcp-session-id': Type.Optional(Type.String()),
  'last-event-id': Type.Optional(Type.String())
})

/** One message, or a batch (2025-03-26). */
export const McpBodySchema = Type.Union([
  Type.Object({}, { additionalProperties: true }),
  Type.Array(Type.Unknown())
])

/** A message or a stream of them, as the SDK wrote it. */
export const McpAnswerSchema = Type.Unknown()

/** JSON-RPC 2.0 section 5.1. */
export const JsonRpcErrorSchema = Type.Object({
  jsonrpc: Type.Literal('2.0'),
  id: Type.Null(),
  error: Type.Object({
    code: Type.Integer(),
    message: Type.String(),
    data: Type.Optional(Type.Object({ reason: Type.String() }))
  })
})
