/** A real MCP client. The runner takes it through sign-in, list, a call and two refreshes. */
export interface RealClient {
  /** The row of the matrix. */
  name: string
  /** At these providers only, which keeps the run short. Default: at all. */
  providers?: string[]
  /** The client's own redirect URI, on a port that is free. Default: one that nobody listens on. */
  redirectUri? (port: number): string
  /** Downloads what is missing. @throws RegistryUnreachable */
  install? (cacheFolder: string): Promise<void>
  /** Signs in and connects. */
  connect (options: ConnectOptions): Promise<ConnectedClient>
}

export interface ConnectOptions {
  /** The MCP endpoint. */
  url: string
  /** To register with. In proxy mode the provider knows it. */
  redirectUri: string
  cacheFolder: string
  /** Plays the browser and the person; the result is the redirect URI with the answer. */
  signIn (authorizationUrl: URL): Promise<URL>
}

/** A client that has signed in. */
export interface ConnectedClient {
  listTools (): Promise<string[]>
  /** Calls `whoami`. @returns its structured content or the JSON of its text */
  whoami (): Promise<Record<string, unknown>>
  /**
   * The access token is useless from now on, as if it had expired: the next call has to refresh. Undefined for a client
   * that keeps no tokens.
   */
  spoilAccessToken? (): void
  /**
   * Sends a request of MCP with these parameters. Undefined for a client that has no interface for it.
   *
   * @throws Error for an error of the server
   */
  request? (method: Method, params: Params): Promise<unknown>
  close (): Promise<void>
}

/** What clients ask servers for. */
export type Method = 'tools/list' | 'tools/call' | 'prompts/list' | 'prompts/get' | 'resources/list' |
  'resources/templates/list' | 'resources/read' | 'completion/complete'

export type Params = Record<string, unknown>
