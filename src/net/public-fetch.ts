import { lookup as systemLookup } from 'node:dns/promises'
import type { LookupAddress } from 'node:dns'
import type { ClientRequest, IncomingHttpHeaders, IncomingMessage } from 'node:http'
import { request as httpsRequest } from 'node:https'
import { isIP } from 'node:net'
import type { LookupFunction } from 'node:net'
import { isPublicAddress } from './addresses.ts'
import { FetchError } from './fetch.ts'
import type { FetchLimits } from './fetch.ts'
import { GrowingBuffer } from './growing-buffer.ts'

export interface PublicFetcherOptions {
  /** Resolves a name, as dns.promises.lookup does. */
  lookup?: (hostname: string, options: { all: true }) => Promise<LookupAddress[]>
  /** Returns whether to connect to an address; by default, to those of the public internet. */
  isAllowed?: (address: string) => boolean
  /** Certificate authorities (PEM), instead of those that Node trusts. */
  ca?: string
}

export interface PublicDocument {
  status: number
  headers: IncomingHttpHeaders
  body: string
}

/**
 * Sends one GET over https, without redirects, credentials or compression.
 *
 * @param limits by default 5,000 ms for everything, DNS included, and 5 KiB (5,120 bytes) of body
 * @throws FetchError; `network` tells whether the same URL may work later
 */
export type FetchPublicDocument = (url: string, limits?: FetchLimits) => Promise<PublicDocument>

const REQUEST = {
  // A new connection, on which no other response is still open, and no proxy.
  agent: false,
  // Lookups then ask for all addresses of a name.
  autoSelectFamily: true,
  // Whatever NODE_TLS_REJECT_UNAUTHORIZED says.
  rejectUnauthorized: true,
  headers: { accept: 'application/json', 'accept-encoding': 'identity', 'user-agent': 'Seed' }
} as const

/**
 * Fetches URLs that strangers name, from the public internet only: such a URL may be made to reach what only this
 * machine can reach (SSRF). The address is checked three times: in the URL, in what a name resolves to, and on the
 * connection before a byte is sent. No proxy is used, since it would resolve the name itself.
 */
export function createPublicFetcher (options: PublicFetcherOptions = {}): FetchPublicDocument {
  const { isAllowed = isPublicAddress, ca } = options
  const lookup: NonNullable<PublicFetcherOptions['lookup']> = options.lookup ?? systemLookup

  return async (given, { timeoutMs = 5_000, maxBytes = 5 * 1024 } = {}) => {
    const url = parsePublicUrl(given)
    const target = `${url.origin}${url.pathname}`
    const notPublic = new FetchError(`${target} is not at a public address`)
    const host = url.hostname.replace(/^\[(.*)\]$/, '$1')
    if (isIP(host) !== 0 && !isAllowed(host)) throw notPublic

    const lookupAllowed: LookupFunction = (hostname, _options, callback) => {
      lookup(hostname, { all: true }).then((addresses) => {
        const allowed = addresses.length > 0 && addresses.every(({ address }) => isAllowed(address))
        callback(allowed ? null : notPublic, addresses)
      }, (err: NodeJS.ErrnoException) => { callback(err, []) })
    }

    const request = httpsRequest(url, { ...REQUEST, lookup: lookupAllowed, ...(ca !== undefined && { ca }) })
    checkConnection(request, isAllowed, notPublic)
    return await send(request, { target, timeoutMs, maxBytes })
  }
}

function parsePublicUrl (given: string): URL {
  const url = URL.canParse(given) ? new URL(given) : undefined
  if (url?.protocol !== 'https:' || url.username !== '' || url.password !== '' || given.includes('#')) {
    throw new FetchError('A public document must have an https URL without credentials and without a fragment')
  }
  return url
}

/** Checks the address of the connection ahead of the listener that begins the TLS handshake. */
function checkConnection (
  request: ClientRequest, isAllowed: (address: string) => boolean, notPublic: FetchError
): void {
  request.on('socket', (socket) => {
    socket.prependListener('connect', () => {
      if (!isAllowed(String(socket.remoteAddress))) request.destroy(notPublic)
    })
  })
}

interface SendOptions {
  /** The URL without its query, for messages. */
  target: string
  timeoutMs: number
  maxBytes: number
}

async function send (request: ClientRequest, { target, timeoutMs, maxBytes }: SendOptions): Promise<PublicDocument> {
  return await new Promise((resolve, reject) => {
    const timer = setTimeout(() => {
      fail(new FetchError(`${target} did not answer within ${timeoutMs} ms`, { network: true }))
    }, timeoutMs)

    /** Only the first failure counts; others follow from it. */
    function fail (err: Error): void {
      clearTimeout(timer)
      request.destroy()
      reject(err instanceof FetchError ? err : unreachable(target, err))
    }

    request.on('error', fail)
    // A response that is none, such as one that changes the protocol, ends without an error.
    const onClose = () => { fail(new FetchError(`${target} gave no answer`, { network: true })) }
    request.on('close', onClose)
    request.on('response', (response) => {
      request.off('close', onClose)
      readDocument(response, target, maxBytes).then((document) => {
        clearTimeout(timer)
        resolve(document)
      }, fail)
    })
    request.end()
  })
}

function unreachable (target: string, err: NodeJS.ErrnoException): FetchError {
  return new FetchError(`${target} cannot be reached (${err.code ?? err.name})`, { cause: err, network: true })
}

async function readDocument (response: IncomingMessage, target: string, maxBytes: number): Promise<PublicDocument> {
  const { headers } = response
  const status = response.statusCode!
  const refusal = (what: string) => new FetchError(`${target} answered with ${what}`, { status })
  if (status >= 300 && status < 400) throw refusal('a redirect, which is not followed')
  const encoding = headers['content-encoding'] ?? 'identity'
  if (encoding.toLowerCase() !== 'identity') throw refusal('a content-encoding that was not asked for')
  const body = new GrowingBuffer()
  let bytes = 0
  for await (const chunk of response as AsyncIterable<Buffer>) {
    bytes += chunk.byteLength
    if (bytes > maxBytes) throw refusal(`more than ${maxBytes} bytes`)
    body.append(chunk)
  }
  return { status, headers, body: body.take().toString('utf8') }
}
