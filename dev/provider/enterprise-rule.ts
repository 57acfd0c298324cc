/** A rule of the company: this client may reach this server for these people. */
export interface EnterpriseRule {
  /** The client, by its id at this provider. */
  client: string
  /** Issuer of the server's authorization server: the `aud` of ID-JAGs. */
  audience: string
  /** Resource identifier of the MCP server. */
  resource: string
  /** The client's id at that authorization server: the `client_id` of ID-JAGs. */
  clientIdThere: string
  /** Logins; all users if left out. */
  users?: string[]
  /** Scopes that the client may get there; without, ID-JAGs have no `scope`. */
  scopes?: string[]
}
