import { ToolError, Type, defineTool } from 'seed-mcp-server'

/**
 * Calls another API of the company on behalf of the caller. The provider issues a token for that API (RFC 8693), so the
 * API sees the person, and its own access rules apply. Needs `OAUTH_MODE=broker`, and `ORDERS_API_URL`.
 */
export const listOrders = defineTool({
  name: 'list_orders',
  title: 'List my orders',
  description: 'Lists the orders of the caller, newest first.',
  input: Type.Object({
    limit: Type.Optional(Type.Integer({ minimum: 1, maximum: 100, description: 'Maximum number; 20 by default' }))
  }, { additionalProperties: false }),
  output: Type.Object({
    orders: Type.Array(Type.Object({ id: Type.String(), total: Type.Number(), placedAt: Type.String() }))
  }),
  annotations: { readOnlyHint: true },
  scopes: ['orders:read'],
  async handler ({ limit = 20 }, { tokenFor, signal, log }) {
    const token = await tokenFor('orders-api', { scopes: ['orders:read'] })
    const url = new URL(`/orders?limit=${limit}`, process.env['ORDERS_API_URL'])
    const headers = { authorization: `Bearer ${token}` }
    const response = await fetch(url, { headers, redirect: 'error', signal })
    if (response.status === 403) throw new ToolError('You may not see orders: ask the sales team for access')
    if (!response.ok) {
      log.warn({ status: response.status }, 'The orders API answered with an error')
      throw new ToolError('The orders cannot be read at the moment')
    }
    return { orders: await response.json() as Array<{ id: string, total: number, placedAt: string }> }
  }
})
