import * as oauth from 'oauth4webapi'
import { withoutControls } from '../json/printable.ts'
import { isLoopbackHost } from '../net/addresses.ts'
import type { FetchError } from '../net/fetch.ts'
import { useProxy } from '../net/proxy.ts'
import type { ProxySettings } from '../net/proxy.ts'
import { fetchWithinLimits } from '../provider/provider-request.ts'
import { UsageError, defineCommand, parseSeconds } from './command.ts'
import { listenForCallback } from './loopback-callback.ts'
import type { LoopbackCallback } from './loopback-callback.ts'
import { openBrowser } from './open-browser.ts'

export const command = defineCommand({
  description: [
    'Signs in at a running MCP server as a client does, in the browser, and prints an access token for curl. Run it ' +
    'on the machine where the browser is. The address to open goes to standard error, only the token to standard ' +
    'output. It needs none of the server\'s settings.'
  ],
  examples: [
    ['TOKEN=$(seed token http://localhost:3000/mcp)', 'Keep the token for curl'],
    ['seed token https://seed.example.com --endpoint sales', 'At the MCP endpoint /mcp/sales'],
    ['seed token https://seed.example.com --scope "openid tickets:read" --json', 'All that the token endpoint answers']
  ],

  declare: (parser) => parser
    .argument('[url]', 'the MCP endpoint; by default that of BASE_URL, or http://localhost:3000/mcp')
    .option('--endpoint <name>', 'another MCP endpoint of that server, by its name or path: sales, /mcp/sales')
    .option('--scope <scopes>', 'scopes to request, instead of those that the server asks for')
    .option('--client-id <id>', 'a client ID, instead of registering a client')
    .option('--redirect-uri <uri>', 'where to wait for the browser; a free port is taken if there is none',
      'http://127.0.0.1/callback')
    .option('--timeout <seconds>', 'how long to wait for the sign-in', parseSeconds, 300)
    .option('--open', 'open the browser', false)
    .option('--json', 'print the whole answer of the token endpoint, with a refresh token if there is one', false),

  async run ({ redirectUri, ...options }, { readSettings, print, printError }, url) {
    const settings = readSettings()
    await useProxy(proxyOf(settings))
    const endpoint = endpointOf(url ?? `${baseUrlOf(settings)}/mcp`, options.endpoint)
    const redirect = parseRedirectUri(redirectUri)
    const server = await discoverServer(endpoint)
    const callback = await listenForCallback(redirect)
    try {
      const signIn = await beginSignIn(server, callback, options)
      const showAddress = async (): Promise<void> => {
        printError(`Open this address in a browser on this machine and sign in:\n\n${signIn.url.href}\n`)
        if (options.open && !await openBrowser(signIn.url)) printError('No browser could be opened here')
      }
      // The answer is awaited before anybody knows the address.
      const [answer] = await Promise.all([redeem(server, callback, options, signIn), showAddress()])
      print(options.json ? JSON.stringify(answer, null, 2) : answer.access_token)
      return 0
    } finally {
      callback.close()
    }
  }
})

interface TokenOptions {
  endpoint?: string | undefined
  scope?: string | undefined
  clientId?: string | undefined
  timeout: number
  json: boolean
}

/** @throws UsageError */
function proxyOf (settings: ReadonlyMap<string, string>): ProxySettings {
  const find = (name: string): string | undefined => settings.get(name) ?? settings.get(name.toLowerCase())
  for (const name of ['HTTPS_PROXY', 'HTTP_PROXY']) {
    const value = find(name)
    if (value !== undefined) toUrl(name, value)
  }
  return { https: find('HTTPS_PROXY'), http: find('HTTP_PROXY'), none: find('NO_PROXY') }
}

function baseUrlOf (settings: ReadonlyMap<string, string>): string {
  return settings.get('BASE_URL')?.replace(/\/$/, '') ?? `http://localhost:${settings.get('PORT') ?? '3000'}`
}

/** @throws UsageError */
function parseRedirectUri (value: string): URL {
  const redirectUri = toUrl('--redirect-uri', value)
  if (redirectUri.protocol !== 'http:' || !isLoopbackHost(redirectUri.hostname)) {
    throw new UsageError('--redirect-uri must be an http address of this machine: http://localhost:8080/callback')
  }
  return redirectUri
}

function toUrl (name: string, value: string): URL {
  if (!URL.canParse(value)) throw new UsageError(`${name} must be an absolute URL (it is "${value}")`)
  return new URL(value)
}

/**
 * Returns the MCP endpoint that a URL names; an origin alone means Seed's.
 *
 * @param name another endpoint of the same server
 */
function endpointOf (given: string, name: string | undefined): URL {
  const url = toUrl('URL', given)
  if (name !== undefined) url.pathname = `${url.pathname.replace(ENDPOINT_PATH, '')}${pathOfEndpoint(name)}`
  else if (url.pathname === '/') url.pathname = '/mcp'
  if (!isSecure(url)) {
    throw new UsageError(`${url.href} must use https: only on this machine may a token travel unencrypted`)
  }
  return url
}

/** `/mcp` or `/mcp/NAME` at the end of a URL. In `/mcp/mcp` the first is the path of BASE_URL. */
const ENDPOINT_PATH = /(?:\/mcp(?:\/(?!mcp\/?$)[a-z][a-z0-9-]*)?)?\/?$/

/** @throws UsageError */
function pathOfEndpoint (name: string): string {
  const [, further] = /^(?:\/mcp\/)?([a-z][a-z0-9-]*)$/.exec(name) ?? []
  if (further !== undefined) return `/mcp/${further}`
  if (name === '/mcp') return name
  throw new UsageError(`--endpoint is the name or the path of an MCP endpoint: sales, /mcp/sales (it is "${name}")`)
}

function isSecure (url: URL): boolean {
  return url.protocol === 'https:' || (url.protocol === 'http:' && isLoopbackHost(url.hostname))
}

/** Options of every request of oauth4webapi: `fetchSecurely` is stricter than its own check, except on loopback. */
const HTTP = { [oauth.allowInsecureRequests]: true, [oauth.customFetch]: fetchSecurely }

async function fetchSecurely (url: string, init: Parameters<typeof fetchWithinLimits>[1]): Promise<Response> {
  if (!isSecure(new URL(url))) {
    throw new Error(`The server names ${url}, which is not https: its operator must set BASE_URL to its https address`)
  }
  try {
    return await fetchWithinLimits(url, init)
  } catch (err) {
    const { message, network } = err as FetchError
    const remedy = network
      ? 'Is the server running there (npm run dev, or npm start)? Otherwise name its address'
      : 'Name the address that does answer'
    throw new Error(`${message}. ${remedy}: seed token https://seed.example.com/mcp`, { cause: err })
  }
}

/** An MCP server that asks for sign-in, and its authorization server. */
interface DiscoveredServer {
  /** The resource indicator (RFC 8707). */
  resource: string
  /** The scopes that the challenge or the metadata names. */
  scope: string | undefined
  authorizationServer: oauth.AuthorizationServer
}

/** Goes from the challenge to the metadata of the resource to that of its authorization server, as a client must. */
async function discoverServer (url: URL): Promise<DiscoveredServer> {
  const challenge = await readChallenge(url)
  const metadataUrl = /resource_metadata="([^"]+)"/.exec(challenge)?.[1]
  const metadata = metadataUrl === undefined
    ? await oauth.resourceDiscoveryRequest(url, HTTP)
    : await fetchSecurely(metadataUrl, { method: 'GET', headers: { accept: 'application/json' } })
  const resource = await readResourceMetadata(url, metadata)
  const issuer = resource.authorization_servers?.[0] ?? url.origin
  const sentence = `${issuer} has no usable authorization server metadata`
  const authorizationServer = await explained(sentence, async () => {
    const response = await oauth.discoveryRequest(new URL(issuer), { ...HTTP, algorithm: 'oauth2' })
    return await oauth.processDiscoveryResponse(new URL(issuer), response)
  })
  return {
    resource: resource.resource,
    scope: /scope="([^"]*)"/.exec(challenge)?.[1] ?? resource.scopes_supported?.join(' '),
    authorizationServer
  }
}

/** Sends a request without a token and returns the WWW-Authenticate header of the 401. */
async function readChallenge (url: URL): Promise<string> {
  const response = await fetchSecurely(url.href, {
    method: 'POST',
    headers: { 'content-type': 'application/json', accept: 'application/json, text/event-stream' },
    body: JSON.stringify({ jsonrpc: '2.0', id: 1, method: 'ping' })
  })
  if (response.status === 401) return response.headers.get('www-authenticate') ?? ''
  throw new Error(`${url.href} answered ${response.status} to a request without a token, and not 401: it needs no ` +
    'token (AUTH_REQUIRED=false), or it is no MCP endpoint. The endpoint of Seed is BASE_URL with /mcp behind it' +
    await describeAnswer(response))
}

/** Quotes the server: at an unknown path Seed names its endpoints. */
async function describeAnswer (response: Response): Promise<string> {
  const { message } = Object(await response.json().catch(() => undefined)) as { message?: unknown }
  return typeof message === 'string' ? `. The server says: ${withoutControls(message).slice(0, 1_000)}` : ''
}

/** @throws Error if the server goes by another address: its tokens would not be for this one (RFC 9728 section 3.3) */
async function readResourceMetadata (url: URL, response: Response): Promise<oauth.ResourceServer> {
  const body: unknown = await response.clone().json().catch(() => undefined)
  const { resource } = (body ?? {}) as { resource?: unknown }
  if (typeof resource === 'string' && URL.canParse(resource) && new URL(resource).href !== url.href) {
    throw new Error(`The server at ${url.href} calls itself ${resource}: run seed token ${resource}, or set its ` +
      'BASE_URL to the address that clients use')
  }
  return await explained(`${url.href} asks for a token, but has no usable protected resource metadata (RFC 9728)`,
    async () => await oauth.processResourceDiscoveryResponse(url, response))
}

/** Runs a step. What fails gets a sentence in front. */
async function explained<Result> (sentence: string, step: () => Promise<Result>): Promise<Result> {
  try {
    return await step()
  } catch (err) {
    const reason = err instanceof oauth.ResponseBodyError
      ? `${err.status} ${describe(err.error, err.error_description)}`
      : (err as Error).message
    throw new Error(`${sentence}: ${reason}`, { cause: err })
  }
}

function describe (error: string, description: string | null | undefined): string {
  return description ? `${error} (${description})` : error
}

/** A sign-in that waits for the browser. */
interface SignIn {
  client: oauth.Client
  url: URL
  state: string
  verifier: string
}

async function beginSignIn (
  { resource, scope: asked, authorizationServer }: DiscoveredServer,
  { redirectUri }: LoopbackCallback,
  { clientId, scope = asked, json }: TokenOptions
): Promise<SignIn> {
  if (authorizationServer.authorization_endpoint === undefined) {
    throw new Error(`${authorizationServer.issuer} has no authorization endpoint: nobody can sign in there`)
  }
  const client = { client_id: clientId ?? await register(authorizationServer, redirectUri, json) }
  const [state, verifier] = [oauth.generateRandomState(), oauth.generateRandomCodeVerifier()]
  const url = new URL(authorizationServer.authorization_endpoint)
  if (!isSecure(url)) throw new Error(`${url.href} is not https: nobody should sign in there`)
  const parameters = {
    response_type: 'code',
    ...client,
    redirect_uri: redirectUri,
    state,
    code_challenge: await oauth.calculatePKCECodeChallenge(verifier),
    code_challenge_method: 'S256',
    resource,
    ...(scope && { scope })
  }
  for (const [name, value] of Object.entries(parameters)) url.searchParams.set(name, value)
  return { client, url, state, verifier }
}

/**
 * Registers a public native client. Its port is no part of the registration (RFC 8252 section 7.3), so that Seed
 * returns the same client ID each time.
 *
 * @param wantsRefreshToken only if it is printed: one that nobody keeps would stay valid at the server
 */
async function register (
  server: oauth.AuthorizationServer, redirectUri: string, wantsRefreshToken: boolean
): Promise<string> {
  if (server.registration_endpoint === undefined) {
    throw new Error(`${server.issuer} registers no clients: name one that it knows with --client-id`)
  }
  const metadata = {
    client_name: 'seed token',
    application_type: 'native',
    redirect_uris: [redirectUri],
    grant_types: ['authorization_code', ...(wantsRefreshToken ? ['refresh_token'] : [])],
    response_types: ['code'],
    token_endpoint_auth_method: 'none'
  }
  return await explained('The server registered no client; --client-id names one without registering', async () => {
    const response = await oauth.dynamicClientRegistrationRequest(server, metadata, HTTP)
    return (await oauth.processDynamicClientRegistrationResponse(response)).client_id
  })
}

async function redeem (
  { resource, authorizationServer }: DiscoveredServer,
  callback: LoopbackCallback,
  { timeout }: TokenOptions,
  { client, state, verifier }: SignIn
): Promise<oauth.TokenEndpointResponse> {
  const parameters = await callback.receive(state, timeout, (given) => {
    try {
      return oauth.validateAuthResponse(authorizationServer, client, given, state)
    } catch (err) {
      throw explainRefusal(err)
    }
  })
  return await explained('The token endpoint gave no token', async () => {
    const response = await oauth.authorizationCodeGrantRequest(authorizationServer, client, oauth.None(), parameters,
      callback.redirectUri, verifier, { ...HTTP, additionalParameters: { resource } })
    return await oauth.processAuthorizationCodeResponse(authorizationServer, client, response)
  })
}

/** Explains an authorization response without a code, or one that is not from this server (RFC 9207). */
function explainRefusal (err: unknown): Error {
  if (err instanceof oauth.AuthorizationResponseError) {
    const { error, error_description: description } = err
    return new Error(error === 'access_denied'
      ? `The sign-in was denied: ${describe(error, description)}. To allow it, run the command again and choose Allow`
      : `The server refused the sign-in: ${describe(error, description)}`, { cause: err })
  }
  return new Error(`The authorization response cannot be used: ${(err as Error).message}. If its "iss" is the ` +
    'identity provider\'s, see "Proxy mode" in docs/providers.md', { cause: err })
}
