import { ToolError, Type, defineTool } from 'seed-mcp-server'

/**
 * Calls another API of the company in the name of whoever is signed in: the provider gives a token for that API
 * (RFC 8693), so the API sees the person, and its own access rules hold. Needs OAUTH_MODE=broker, and ORDERS_API_URL.
 */
export const listOrders = defineTool({
  name: 'list_orders',
  title: 'List my orders',
  description: 'Lists the orders of the caller, newest first.',
  input: Type.Object({
    limit: Type.Optional(Type.Integer({ minimum: 1, maximum: 100, description: 'How many at most; 20 where absent' }))
  }, { additionalProperties: false }),
  output: Type.Object({
    orders: Type.Array(Type.Object({ id: Type.String(), total: Type.Number(), placedAt: Type.String() }))
  }),
  annotations: { readOnlyHint: true },
  scopes: ['orders:read'],
  async handler ({ limit = 20 }, { tokenFor, signal, log }) {
    const token = await tokenFor('orders-api', { scopes: ['orders:read'] })
    const response = await fetch(new URL(`/orders?limit=${limit}`, process.env['ORDERS_API_URL']), {
      headers: { authorization: `Bearer ${token}` },
      redirect: 'error',
      signal
    })
    if (response.status === 403) throw new ToolError('You may not see orders: ask the sales team for access')
    if (!response.ok) {
      log.warn({ status: response.status }, 'The orders API refused')
      throw new ToolError('The orders cannot be read at the moment')
    }
    return { orders: await response.json() as Array<{ id: string, total: number, placedAt: string }> }
  }
})
