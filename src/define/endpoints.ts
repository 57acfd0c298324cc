/** Says at which MCP endpoints a tool, prompt or resource is offered. It says nothing about who may use it. */
export interface EndpointChoice {
  /**
   * Paths of the MCP endpoints: `['/mcp/sales']`. All of the server where absent. `SEED_ENDPOINTS`, which declares the
   * endpoints, can leave out more.
   */
  endpoints?: readonly string[]
}
