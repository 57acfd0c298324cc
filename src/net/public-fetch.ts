import { lookup as systemLookup } from 'node:dns/promises'
import type { LookupAddress } from 'node:dns'
import type { ClientRequest, IncomingHttpHeaders, IncomingMessage } from 'node:http'
import { request as httpsRequest } from 'node:https'
import { isIP } from 'node:net'
import type { LookupFunction } from 'node:net'
import { isPublicAddress } from './addresses.ts'
import { FetchError } from './fetch.ts'
import type { FetchLimits } from './fetch.ts'

/**
 * Fetches what a stranger's URL points to, from the public internet only: the URL may be written to reach what only
 * this machine can reach. So the address is judged three times: in the URL (a name is not looked up there), in what the
 * name resolves to, and on the connection before a byte is sent. No proxy is used, since it would resolve the name.
 */
export interface PublicFetcherOptions {
  /** dns.promises.lookup, for all addresses of a name. */
  lookup?: (hostname: string, options: { all: true }) => Promise<LookupAddress[]>
  /** Which addresses may be connected to; those of the public internet by default. */
  isAllowed?: (address: string) => boolean
  /** PEM, instead of the certificate authorities that Node knows. */
  ca?: string
}

export interface PublicDocument {
  status: number
  headers: IncomingHttpHeaders
  body: string
}

/**
 * One GET over https, without redirects, credentials or compression.
 *
 * @param limits 5,000 ms for all of it, looking the name up included, and 5 KiB (5,120 bytes) of body by default
 * @throws OutboundError; `network` tells whether the same URL may work later
 */
export type FetchPublicDocument = (url: string, limits?: FetchLimits) => Promise<PublicDocument>

const REQUEST = {
  /** A connection of its own: none that someone else's answer is still on, and no proxy. */
  agent: false,
  /** Lookups then ask for all addresses of a name. */
  autoSelectFamily: true,
  /** Whatever NODE_TLS_REJECT_UNAUTHORIZED says. */
  rejectUnauthorized: true,
  headers: { accept: 'application/json', 'accept-encoding': 'identity', 'user-agent': 'Seed' }
} as const

export function createPublicFetcher (options: PublicFetcherOptions = {}): FetchPublicDocument {
  const { isAllowed = isPublicAddress, ca } = options
  const lookup: NonNullable<PublicFetcherOptions['lookup']> = options.lookup ?? systemLookup

  return async (given, { timeoutMs = 5_000, maxBytes = 5 * 1024 } = {}) => {
    const url = readUrl(given)
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

    return await new Promise((resolve, reject) => {
      const request = httpsRequest(url, {
        ...REQUEST,
        lookup: lookupAllowed,
        ...(ca !== undefined && { ca })
      })
      const timer = setTimeout(() => { fail(new FetchError(`${target} did not answer within ${timeoutMs} ms`, { network: true })) }, timeoutMs)

      /** The first failure counts; what breaks because of it does not. */
      function fail (err: Error): void {
        clearTimeout(timer)
        request.destroy()
        reject(err instanceof FetchError ? err : new FetchError(`${target} cannot be reached (${(err as NodeJS.ErrnoException).code ?? err.name})`, { cause: err, network: true }))
      }

      checkConnection(request, isAllowed, () => { fail(notPublic) })
      request.on('error', fail)
      // An answer that is none, as one that changes the protocol, ends without an error.
      const closed = () => { fail(new FetchError(`${target} gave no answer`, { network: true })) }
      request.on('close', closed)
      request.on('response', (response) => {
        request.off('close', closed)
        readAnswer(response, target, maxBytes).then((document) => {
          clearTimeout(timer)
          resolve(document)
        }, fail)
      })
      request.end()
    })
  }
}

function readUrl (given: string): URL {
  const url = URL.canParse(given) ? new URL(given) : undefined
  if (url?.protocol !== 'https:' || url.username !== '' || url.password !== '' || given.includes('#')) {
    throw new FetchError('A public document must have an https URL without credentials and without a fragment')
  }
  return url
}

/** Ahead of the listener that begins the TLS handshake. */
function checkConnection (request: ClientRequest, isAllowed: (address: string) => boolean, refuse: () => void): void {
  request.on('socket', (socket) => {
    socket.prependListener('connect', () => {
      if (!isAllowed(String(socket.remoteAddress))) refuse()
    })
  })
}

async function readAnswer (response: IncomingMessage, target: string, maxBytes: number): Promise<PublicDocument> {
  const { headers } = response
  const status = response.statusCode!
  const refuse = (what: string) => new FetchError(`${target} answered with ${what}`, { status })
  if (status >= 300 && status < 400) throw refuse('a redirect, which is not followed')
  if ((headers['content-encoding'] ?? 'identity').toLowerCase() !== 'identity') throw refuse('a content-encoding that was not asked for')
  const chunks: Buffer[] = []
  let bytes = 0
  for await (const chunk of response as AsyncIterable<Buffer>) {
    bytes += chunk.byteLength
    if (bytes > maxBytes) throw refuse(`more than ${maxBytes} bytes`)
    chunks.push(chunk)
  }
  return { status, headers, body: Buffer.concat(chunks).toString('utf8') }
}
