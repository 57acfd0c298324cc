import { Type } from 'typebox'

/**
 * The MCP endpoint (Streamable HTTP, revisions 2025-03-26 to 2026-07-28). The SDK validates the messages; these schemas
 * describe what HTTP carries.
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

/** JSON text, its bytes, or server-sent events, as the engine has written them. */
export const McpResponseSchema = Type.Unknown()

/** An error that no message caused, or whose message could not be read (JSON-RPC 2.0 section 5.1). */
export const JsonRpcErrorSchema = Type.Object({
  jsonrpc: Type.Literal('2.0'),
  id: Type.Null(),
  error: Type.Object({
    code: Type.Integer(),
    message: Type.String(),
    data: Type.Optional(Type.Object({ reason: Type.String() }))
  })
})
