import { randomBytes } from 'node:crypto'
import { once } from 'node:events'
import { createServer } from 'node:http'
import type { IncomingHttpHeaders, IncomingMessage, Server, ServerResponse } from 'node:http'
import { setTimeout as delay } from 'node:timers/promises'
import type { Config } from '../config/config.ts'
import { timingSafeEquals } from '../crypto/hash.ts'
import { createAddressMatcher } from '../net/addresses.ts'
import { boundedFetch } from '../net/fetch.ts'
import { fetchByProxy } from '../net/proxy.ts'
import { protectedResource, wellKnownUrl } from '../oauth/endpoints/metadata.ts'
import { question } from './finding.ts'
import type { Finding, Question } from './finding.ts'
import { REQUEST_MS } from './within.ts'

const MIB = 1024 * 1024
/** The pause within the stream. Half of it tells a buffered one. */
const PAUSE_MS = 1_000
/** Only requests with this header, and a value that nobody else knows, are answered. */
const KEY_HEADER = 'seed-doctor'

/** A request as it arrived. */
interface Arrival {
  headers: IncomingHttpHeaders
  remoteAddress: string
}

/**
 * Finds out what stands in front of Seed and what it changes, before the first start: for the time of the check the
 * doctor listens where the server would, and sends itself requests by way of BASE_URL.
 *
 * @returns undefined if the port is taken, or if requests for BASE_URL do not arrive here
 */
export async function checkFrontProxy (config: Config): Promise<Finding[] | undefined> {
  const listener = createListener(config)
  try {
    await listen(listener.server, config)
  } catch {
    return undefined
  }
  try {
    const key = { [KEY_HEADER]: listener.key }
    const documents = await checkDocuments(config, listener.document, key)
    // A proxy may route the path of BASE_URL, and not the documents, which are outside it.
    const mayArrive = listener.arrivals.length > 0 || config.basePath !== ''
    const stream = mayArrive ? [await checkStream(config, key)] : []
    const arrival = listener.arrivals[0]
    if (arrival === undefined) return undefined
    return [
      question('public-url.reachable', `GET ${config.baseUrl}`)
        .ok('it arrived', 'Requests for BASE_URL arrive here; no Seed runs yet, so the doctor answered them itself'),
      ...documents,
      checkHost(config, arrival),
      checkForwarded(config, arrival),
      await checkBody(config, key),
      ...stream
    ]
  } finally {
    listener.server.closeAllConnections()
    listener.server.close()
  }
}

function createListener (config: Config) {
  const { baseUrl, server: names, oauth: { accessTokenIssuers } } = config
  const key = randomBytes(16).toString('base64url')
  const arrivals: Arrival[] = []
  const document = JSON.stringify(protectedResource(config.endpoints[0]!, { baseUrl, names, accessTokenIssuers }))

  async function answer (request: IncomingMessage, response: ServerResponse): Promise<void> {
    const { headers, socket, url = '' } = request
    if (!timingSafeEquals(String(headers[KEY_HEADER]), key)) {
      response.writeHead(503).end()
      return
    }
    arrivals.push({ headers, remoteAddress: socket.remoteAddress! })
    if (request.method === 'POST') {
      let bytes = 0
      for await (const chunk of request) bytes += (chunk as Buffer).length
      response.end(JSON.stringify({ bytes }))
    } else if (url.startsWith('/.well-known/')) {
      response.writeHead(200, { 'content-type': 'application/json; charset=utf-8' }).end(document)
    } else {
      response.writeHead(200, { 'content-type': 'text/event-stream', 'cache-control': 'no-store' })
      response.write('data: 1\n\n')
      await delay(PAUSE_MS)
      response.end('data: 2\n\n')
    }
  }

  // A connection that the proxy cuts is what its check finds.
  const server = createServer((request, response) => { answer(request, response).catch(() => response.destroy()) })
  return { server, key, arrivals, document }
}

async function listen (server: Server, { host, port }: Config): Promise<void> {
  server.listen(port, host)
  await once(server, 'listening')
}

type Key = Record<string, string>

/** Checks the documents outside BASE_URL: one of each MCP endpoint and, with a path, those about the issuer too. */
async function checkDocuments (
  { baseUrl, basePath, endpoints }: Config, document: string, key: Key
): Promise<Finding[]> {
  const places = endpoints.map(({ resource }) =>
    ['protected-resource-metadata', wellKnownUrl('oauth-protected-resource', resource)])
  if (basePath !== '') {
    for (const name of ['oauth-authorization-server', 'openid-configuration']) {
      places.push(['authorization-server-metadata', wellKnownUrl(name, baseUrl)])
    }
  }
  return await Promise.all(places.map(async ([check, url]) => await checkDocument(
    url!, question(`public-url.${check}`, `GET ${url}`), document, key)))
}

async function checkDocument (url: string, about: Question, document: string, key: Key): Promise<Finding> {
  try {
    const { status, body } = await boundedFetch(url, { headers: key }, { timeoutMs: REQUEST_MS })
    return status === 200 && body === document
      ? about.ok(`${status}`, 'The document arrives byte for byte as it was sent')
      : about.error(`${status} with other content`, 'The proxy in front changes the document, or does not route ' +
        'this address here: clients find no sign-in, or refuse it', { setting: 'BASE_URL' })
  } catch (err) {
    return about.unknown((err as Error).message, 'The document cannot be fetched')
  }
}

function checkHost ({ baseUrl, allowedHosts }: Config, { headers: { host = '' } }: Arrival): Finding {
  const about = question('public-url.host', 'the Host header that arrives')
  const expected = new URL(baseUrl).host
  return [expected, ...allowedHosts].includes(host)
    ? about.ok(host, 'Seed is known by this name')
    : about.error(host, 'The proxy in front changes the Host header, and Seed refuses such requests (421): let it ' +
      `forward ${expected} (nginx: proxy_set_header Host $host)`, { setting: 'ALLOWED_HOSTS', value: host })
}

/** X-Forwarded-For says who the client is, if the proxy that sends it is one of TRUST_PROXY. */
function checkForwarded ({ baseUrl, trustProxy }: Config, { headers, remoteAddress }: Arrival): Finding {
  const about = question('public-url.forwarded-headers', 'the X-Forwarded- headers that arrive')
  const arrived = Object.entries(headers).filter(([name]) => name.startsWith('x-forwarded-'))
    .map(([name, value]) => `${name}: ${String(value)}`)
  const answered = `${arrived.length === 0 ? 'none' : arrived.join(', ')}; from ${remoteAddress}`
  const isTrusted = createAddressMatcher(trustProxy)
  const chain = String(headers['x-forwarded-for'] ?? '').split(',').map((address) => address.trim())
  if (chain[0] === '') {
    return trustProxy.length > 0 || baseUrl.startsWith('https:')
      ? about.warning(answered, 'The proxy in front sends no X-Forwarded-For: all clients seem to come from its ' +
        'address and share the limits of one (nginx: proxy_set_header X-Forwarded-For $proxy_add_x_forwarded_for)')
      : about.ok(answered, 'No proxy adds the address of clients, and BASE_URL is not https: nothing stands in front')
  }
  if (!isTrusted(remoteAddress)) {
    return about.warning(answered, 'X-Forwarded-For comes from an address that is not trusted: all clients seem to ' +
      'come from it and share the limits of one', { setting: 'TRUST_PROXY', value: remoteAddress })
  }
  const client = chain.findLast((address) => !isTrusted(address)) ?? chain[0]!
  return about.ok(answered, `With TRUST_PROXY the address of this client is ${client}`)
}

async function checkBody ({ baseUrl }: Config, key: Key): Promise<Finding> {
  const about = question('public-url.body-size', `POST ${baseUrl}/mcp with 1 MiB`)
  try {
    const init = { method: 'POST', body: 'a'.repeat(MIB), headers: { ...key, 'content-type': 'application/json' } }
    const { status } = await boundedFetch(`${baseUrl}/mcp`, init, { timeoutMs: REQUEST_MS })
    return status === 200
      ? about.ok(`${status}`, 'A body of 1 MiB arrives')
      : about.error(`${status}`, 'The proxy in front refuses bodies of 1 MiB, which Seed takes (nginx: ' +
        'client_max_body_size 1m)')
  } catch (err) {
    return about.unknown((err as Error).message, 'Whether a body of 1 MiB arrives is not known')
  }
}

/** Sends two events with a pause between them: if they arrive together, something keeps the first back. */
async function checkStream ({ baseUrl }: Config, key: Key): Promise<Finding> {
  const about = question('public-url.streams', `GET ${baseUrl}/mcp with two events, ${PAUSE_MS} ms apart`)
  try {
    const { body } = await fetchByProxy(`${baseUrl}/mcp`, {
      headers: { ...key, accept: 'text/event-stream' }, signal: AbortSignal.timeout(REQUEST_MS)
    })
    const reader = body!.getReader()
    await reader.read()
    const firstAt = performance.now()
    while (!(await reader.read()).done);
    const apart = Math.round(performance.now() - firstAt)
    return apart >= PAUSE_MS / 2
      ? about.ok(`${apart} ms apart`, 'Streams are passed on as they come')
      : about.error(`${apart} ms apart`, 'The proxy in front buffers streams: progress, notifications and questions ' +
        'of tools come late or never. Switch that off for /mcp (nginx: proxy_buffering off)')
  } catch (err) {
    return about.unknown((err as Error).message, 'Whether streams are buffered is not known')
  }
}
