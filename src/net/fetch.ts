import { MAX_DEPTH, isDeeperThan } from '../json/depth.ts'
import { GrowingBuffer } from './growing-buffer.ts'
import { fetchByProxy } from './proxy.ts'

export interface FetchLimits {
  /** Limit of the whole exchange, from connection to last byte; 5,000 by default. */
  timeoutMs?: number
  /** Limit of the body after decompression; 256 KiB by default. */
  maxBytes?: number
}

/** A fetch without a usable response. The message is for the log, never for a client. */
export class FetchError extends Error {
  override readonly name = 'FetchError'
  readonly status: number | undefined
  /**
   * There was no complete HTTP response: DNS, refused, unreachable, TLS, cut off or too slow. False if the response or
   * the URL is wrong.
   */
  readonly network: boolean
  /** The target of a redirect that was not followed. */
  readonly redirectsTo: URL | undefined

  constructor (message: string, options: FetchErrorOptions = {}) {
    super(message, { cause: options.cause })
    this.status = options.status
    this.redirectsTo = options.redirectsTo
    this.network = options.network ?? false
  }
}

interface FetchErrorOptions {
  cause?: unknown
  status?: number
  network?: boolean
  redirectsTo?: URL | undefined
}

export interface FetchedResponse {
  status: number
  headers: Headers
  body: string
}

/**
 * Sends one request and reads the whole response, whatever its status. Everything that Seed fetches from the provider
 * goes through here.
 *
 * @throws FetchError when there is no response, or it is a redirect, too slow or too large
 */
export async function boundedFetch (
  url: string | URL,
  init: RequestInit = {},
  { timeoutMs = 5_000, maxBytes = 256 * 1024 }: FetchLimits = {}
): Promise<FetchedResponse> {
  const target = `${new URL(url).origin}${new URL(url).pathname}`
  try {
    const response = await fetchByProxy(url, { ...init, redirect: 'manual', signal: AbortSignal.timeout(timeoutMs) })
    if (response.status >= 300 && response.status < 400) {
      await response.body?.cancel()
      throw notFollowed(target, response)
    }
    return { status: response.status, headers: response.headers, body: await readBounded(response, maxBytes, target) }
  } catch (err) {
    if (err instanceof FetchError) throw err
    const timedOut = err instanceof DOMException && err.name === 'TimeoutError'
    const problem = timedOut ? `did not answer within ${timeoutMs} ms` : `cannot be reached (${causeCode(err)})`
    throw new FetchError(`${target} ${problem}`, { cause: err, network: true })
  }
}

/**
 * Fetches a JSON object.
 *
 * @throws FetchError as boundedFetch does, and for any status but 200 and any body that is not a JSON object
 */
export async function fetchJson (url: string | URL, limits: FetchLimits = {}): Promise<Record<string, unknown>> {
  const { status, body } = await boundedFetch(url, { headers: { accept: 'application/json' } }, limits)
  if (status !== 200) throw new FetchError(`${url} answered ${status}`, { status })
  const value = parseJsonObject(body)
  if (value === undefined) throw new FetchError(`${url} answered with something other than a JSON object`, { status })
  return value
}

/** Parses a JSON object; returns undefined for any other text, and for an object of more than MAX_DEPTH levels. */
export function parseJsonObject (text: string): Record<string, unknown> | undefined {
  try {
    const value: unknown = JSON.parse(text)
    if (typeof value !== 'object' || value === null || Array.isArray(value)) return undefined
    if (isDeeperThan(value, MAX_DEPTH)) return undefined
    return value as Record<string, unknown>
  } catch {
    return undefined
  }
}

function notFollowed (target: string, { status, headers }: Response): FetchError {
  const location = headers.get('location') ?? ''
  const redirectsTo = URL.canParse(location, target) ? new URL(location, target) : undefined
  const where = redirectsTo === undefined ? 'a redirect' : `a redirect to ${redirectsTo.origin}${redirectsTo.pathname}`
  return new FetchError(`${target} answered with ${where}, which is not followed`, { status, redirectsTo })
}

async function readBounded (response: Response, maxBytes: number, target: string): Promise<string> {
  const body = new GrowingBuffer()
  let bytes = 0
  for await (const chunk of response.body ?? []) {
    bytes += chunk.byteLength
    if (bytes > maxBytes) {
      throw new FetchError(`${target} answered with more than ${maxBytes} bytes`, { status: response.status })
    }
    body.append(chunk)
  }
  return body.take().toString('utf8')
}

/** Returns the cause of an error of fetch, for the log. The message would say nothing, or repeat the whole URL. */
export function causeCode (err: unknown): string {
  const cause = (err as Error).cause as NodeJS.ErrnoException | undefined
  // undici, of a proxy that does not let a request through.
  const refusal = (cause?.cause as Error | undefined)?.message
  if (refusal?.startsWith('Proxy ') === true) return `${refusal}: check HTTPS_PROXY, NO_PROXY`
  const code = cause?.code ?? cause?.message ?? (err as Error).name
  if (code === 'ERR_TLS_CERT_ALTNAME_INVALID') return `${code}: its certificate is for another name`
  return UNTRUSTED.includes(code) ? `${code}: set NODE_EXTRA_CA_CERTS to the file of its CA's certificate` : code
}

/** Codes of certificates that no CA has signed that Node.js trusts. */
const UNTRUSTED = [
  'UNABLE_TO_VERIFY_LEAF_SIGNATURE', 'DEPTH_ZERO_SELF_SIGNED_CERT', 'SELF_SIGNED_CERT_IN_CHAIN',
  'UNABLE_TO_GET_ISSUER_CERT', 'UNABLE_TO_GET_ISSUER_CERT_LOCALLY'
]
