import type { Config } from '../config/config.ts'
import type { Endpoint } from '../config/endpoints.ts'
import { canonicalJson } from '../json/canonical-json.ts'
import { isLoopbackHost } from '../net/addresses.ts'
import { boundedFetch, parseJsonObject } from '../net/fetch.ts'
import type { FetchError, FetchedResponse } from '../net/fetch.ts'
import { protectedResource, wellKnownUrl } from '../oauth/endpoints/metadata.ts'
import { question } from './finding.ts'
import { checkFrontProxy } from './front-proxy.ts'
import type { Finding } from './finding.ts'
import { REQUEST_MS } from './within.ts'

const MIB = 1024 * 1024
const CERTIFICATE = /CERT|LEAF_SIGNATURE/

/** Sends requests to BASE_URL as clients would, through whatever stands in front of Seed. */
export async function checkPublicUrl (config: Config): Promise<Finding[]> {
  const { baseUrl, authRequired } = config
  const url = `${baseUrl}/health/live`
  const about = question('public-url.reachable', `GET ${url}`)
  const settings = checkProxySettings(config)
  try {
    const { status, body } = await send(url)
    if (parseJsonObject(body)?.['status'] !== 'ok' && !await hasMetadata(config)) {
      const nobody = about.unknown(`${status}`, 'No Seed answers at BASE_URL yet. Start it, and run seed doctor again')
      return [...await checkBeforeStart(config) ?? [nobody], ...settings]
    }
    return [
      about.ok(`${status}`, 'A Seed answers at BASE_URL'),
      ...authRequired
        ? [...await checkAllMetadata(config), ...await checkAuthorizationServer(config), await checkLogout(config)]
        : [],
      await checkHost(config), await checkBody(config), unknownStreams(), ...settings
    ]
  } catch (err) {
    const finding = unreachable(err as FetchError, about)
    const inFront = finding.severity === 'unknown' ? await checkBeforeStart(config) : undefined
    return [...inFront ?? [finding], ...settings]
  }
}

/** Nothing can stand in front where BASE_URL is the very address that the server listens on. */
async function checkBeforeStart (config: Config): Promise<Finding[] | undefined> {
  const { hostname, port } = new URL(config.baseUrl)
  if (isLoopbackHost(hostname) && Number(port) === config.port) return undefined
  return await checkFrontProxy(config)
}

async function send (url: string, init: RequestInit = {}): Promise<FetchedResponse> {
  return await boundedFetch(url, init, { timeoutMs: REQUEST_MS })
}

/**
 * The health endpoints need not be routed to Seed from outside, and the places of documents outside a path of BASE_URL
 * have checks of their own.
 */
async function hasMetadata ({ baseUrl, resource }: Config): Promise<boolean> {
  const { body } = await send(`${baseUrl}/.well-known/oauth-protected-resource/mcp`)
  return parseJsonObject(body)?.['resource'] === resource
}

function unreachable (err: FetchError, about: ReturnType<typeof question>): Finding {
  const { message, redirectsTo } = err
  if (CERTIFICATE.test(message)) {
    return about.error(message, 'Clients do not trust the certificate of BASE_URL: let the proxy in front send one ' +
      'for ' +
      'this name, with all intermediate certificates', { setting: 'BASE_URL' })
  }
  if (redirectsTo !== undefined) {
    return about.error(message, 'Clients do not follow redirects: BASE_URL must be the address that answers',
      { setting: 'BASE_URL', value: redirectsTo.origin })
  }
  return about.unknown(message, 'No Seed answers at BASE_URL yet, or it cannot be reached from here. Start it, and ' +
    'run ' +
    'seed doctor again')
}

/** Checks the metadata of each MCP endpoint: a proxy may route that of `/mcp` alone. */
async function checkAllMetadata (config: Config): Promise<Finding[]> {
  return await Promise.all(config.endpoints.map(async (endpoint) => await checkMetadata(config, endpoint)))
}

/** Compares the metadata with what the server of these settings makes. */
async function checkMetadata (config: Config, endpoint: Endpoint): Promise<Finding> {
  const { baseUrl, server: names, oauth: { accessTokenIssuers } } = config
  const { resource } = endpoint
  const url = wellKnownUrl('oauth-protected-resource', resource)
  const about = question('public-url.protected-resource-metadata', `GET ${url}`)
  const { status, body } = await send(url)
  const document = parseJsonObject(body)
  if (document === undefined) {
    return about.error(`${status} without a JSON object`, 'Clients find no sign-in: the proxy in front must route ' +
      `${placesToRoute(config, endpoint)} to Seed`, { setting: 'BASE_URL' })
  }
  const expected = protectedResource(endpoint, { baseUrl, names, accessTokenIssuers })
  if (canonicalJson(document) === canonicalJson(expected)) {
    // Seed writes its documents without spaces.
    return body === JSON.stringify(document)
      ? about.ok(`${status}`, 'The document is unchanged')
      : about.warning(`${status} in other bytes`, 'The document means the same, but the proxy in front writes it anew')
  }
  return document['resource'] === resource
    ? about.warning(`${status} with other content`, 'The server there runs with other settings than these',
      { setting: endpoint.name === undefined ? 'OIDC_SCOPES' : 'SEED_ENDPOINTS' })
    : about.error(`"resource" is ${JSON.stringify(document['resource'])}`, 'Clients refuse metadata of another ' +
      'resource: the server there has another BASE_URL, or the proxy changes the document',
    { setting: 'BASE_URL', value: baseUrl })
}

/** Names the addresses that the proxy in front must pass on. */
function placesToRoute ({ baseUrl, basePath }: Config, { resource }: Endpoint): string {
  return basePath === ''
    ? '/.well-known/, /oauth/ and /mcp'
    : `${basePath}/, ${wellKnownUrl('oauth-protected-resource', resource)} and the documents about ${baseUrl}`
}

/** Clients look in several places if the issuer has a path (MCP authorization, authorization server metadata). */
async function checkAuthorizationServer (config: Config): Promise<Finding[]> {
  const { baseUrl, basePath } = config
  const places = ['oauth-authorization-server', 'openid-configuration'].map((name) => wellKnownUrl(name, baseUrl))
  if (basePath === '') return [await checkIssuer(config, places[0]!)]
  const all = [...places, `${baseUrl}/.well-known/openid-configuration`]
  return await Promise.all(all.map(async (url) => await checkIssuer(config, url)))
}

async function checkIssuer (config: Config, url: string): Promise<Finding> {
  const { baseUrl, basePath } = config
  const about = question('public-url.authorization-server-metadata', `GET ${url}`)
  const { status, body } = await send(url)
  const issuer = parseJsonObject(body)?.['issuer']
  return issuer === baseUrl
    ? about.ok(`${status}`, 'The issuer is BASE_URL')
    : about.error(`${status}, "issuer" is ${JSON.stringify(issuer)}`, 'Clients refuse metadata of another issuer: ' +
      `the proxy in front must route ${basePath === '' ? '/.well-known/' : 'this address'} to Seed, whose BASE_URL ` +
      'must be this one',
    { setting: 'BASE_URL', value: baseUrl })
}

/** Sends a logout token that nobody has signed, as the provider would send one. */
async function checkLogout ({ baseUrl }: Config): Promise<Finding> {
  const url = `${baseUrl}/oauth/backchannel-logout`
  const about = question('public-url.back-channel-logout', `POST ${url} with a made-up logout token`)
  const form = new URLSearchParams({ logout_token: 'made-up' })
  try {
    const { status, body } = await send(url, { method: 'POST', body: form })
    return parseJsonObject(body)?.['error'] === undefined
      ? about.warning(`${status} without an OAuth error`, 'Logouts at the provider do not reach Seed, and end ' +
        'nothing here: the proxy in front must route /oauth/ to it', { setting: 'BASE_URL' })
      : about.ok(`${status}`, 'The provider can send its logouts here, if it reaches BASE_URL as this machine does')
  } catch (err) {
    return about.unknown((err as Error).message, 'Whether logouts at the provider reach Seed is not known')
  }
}

/** A proxy that replaces Host makes Seed refuse the request (421). */
async function checkHost ({ baseUrl, resource }: Config): Promise<Finding> {
  const about = question('public-url.host', `GET ${baseUrl}/mcp`)
  const { status, headers } = await send(`${baseUrl}/mcp`, { headers: { accept: 'text/event-stream' } })
  if (status === 421) {
    return about.error('421', 'The proxy in front changes the Host header: let it forward Host (nginx: ' +
      'proxy_set_header ' +
      'Host $host)', { setting: 'ALLOWED_HOSTS' })
  }
  const challenge = headers.get('www-authenticate')
  if (status !== 401) return about.ok(`${status}`, 'Seed is known by this name')
  return challenge?.includes(wellKnownUrl('oauth-protected-resource', resource)) === true
    ? about.ok('401 with a challenge', 'Seed is known by this name, and clients learn where to sign in')
    : about.error('401 without Seed\'s challenge', 'Clients do not learn where to sign in: the proxy in front must ' +
      'pass ' +
      'WWW-Authenticate on, and must not ask for credentials itself')
}

/** Tool calls may be as large as this. */
async function checkBody ({ baseUrl }: Config): Promise<Finding> {
  const about = question('public-url.body-size', `POST ${baseUrl}/mcp with 1 MiB`)
  const text = JSON.stringify({ jsonrpc: '2.0', id: 1, method: 'ping', params: { filler: '' } })
  const body = text.replace('""', `"${'a'.repeat(MIB - text.length)}"`)
  try {
    const { status } = await send(`${baseUrl}/mcp`, {
      method: 'POST',
      body,
      headers: { 'content-type': 'application/json', accept: 'application/json, text/event-stream' }
    })
    return status === 413
      ? about.error('413', 'The proxy in front refuses bodies of 1 MiB, which Seed takes (nginx: ' +
        'client_max_body_size 1m)')
      : about.ok(`${status}`, 'A body of 1 MiB reaches Seed')
  } catch (err) {
    // Who answers before the body has come, and closes the connection, may be Seed or the proxy.
    return about.unknown((err as Error).message, 'Whether a body of 1 MiB reaches Seed is not known')
  }
}

function unknownStreams (): Finding {
  return question('public-url.streams', 'nothing: a stream needs an access token').unknown('nothing',
    'Whether the proxy in front buffers streams is measured while no Seed runs: stop it, and run seed doctor where ' +
    'it would run. It must not (nginx: proxy_buffering off)')
}

/** Judges what BASE_URL says about a proxy in front, without asking it. */
function checkProxySettings ({ baseUrl, trustProxy }: Config): Finding[] {
  const { protocol, hostname } = new URL(baseUrl)
  const about = question('public-url.trust-proxy', 'TRUST_PROXY')
  if (protocol !== 'https:' || isLoopbackHost(hostname)) return []
  return [trustProxy.length > 0
    ? about.ok('set', 'Addresses of clients are taken from X-Forwarded-For of these proxies')
    : about.warning('not set', 'BASE_URL is https, so a proxy stands in front: without TRUST_PROXY all clients seem ' +
      'to ' +
      'come from its address and share the limits of one', { setting: 'TRUST_PROXY', value: "the proxy's address" })]
}
