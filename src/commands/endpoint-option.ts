import type { Endpoint } from '../config/endpoints.ts'
import { UsageError } from './command.ts'

/**
 * Finds the MCP endpoint that the option --endpoint names.
 *
 * @param name as in the file of SEED_ENDPOINTS or as a path: `sales`, `/mcp/sales`; undefined for `/mcp`
 * @throws UsageError if there is no such endpoint
 */
export function findEndpoint (name: string | undefined, endpoints: readonly Endpoint[]): Endpoint {
  if (name === undefined) return endpoints[0]!
  const found = endpoints.find((endpoint) => endpoint.name === name || endpoint.path === name)
  if (found !== undefined) return found
  throw new UsageError(`--endpoint is one of ${endpoints.map(({ path }) => path).join(', ')}`)
}
