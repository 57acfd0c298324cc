/** Headers of MCP that a proxy must pass on. */
export const MCP_HEADERS = {
  'mcp-session-id': 'session',
  'mcp-method': 'tools/call',
  'mcp-name': 'seed_ping',
  'mcp-protocol-version': '2026-07-28',
  'last-event-id': '7'
}

/** Headers that a client sends: forged forwarding headers, a token with many groups, and the headers of MCP. */
export const SENT_HEADERS = {
  'x-forwarded-for': '203.0.113.7',
  'x-forwarded-proto': 'http',
  'x-forwarded-host': 'evil.example',
  'x-real-ip': '203.0.113.7',
  forwarded: 'for=203.0.113.7;host=evil.example',
  authorization: `Bearer ${'t'.repeat(12_000)}`,
  ...MCP_HEADERS
}
