/**
 * The one door through which Seed fetches anything. Whatever leaves this process goes through here:
 * no redirects, a time limit over the whole exchange, and a byte limit on what is read.
 */
export interface FetchLimits {
  /** For the whole exchange, connection to last byte. Default 5,000. */
  timeoutMs?: number
  /** For the body, after decompression. Default 256 KiB. */
  maxBytes?: number
}

/** Why a fetch gave nothing usable. The message is for the log, never for a client. */
export class FetchError extends Error {
  override readonly name = 'OutboundError'
  readonly status: number | undefined
  /** There was no whole HTTP answer: DNS, refused, unreachable, TLS, cut off or too slow. False when the answer, or the URL, is what is wrong. */
  readonly network: boolean

  constructor (message: string, options: { cause?: unknown, status?: number, network?: boolean } = {}) {
    super(message, { cause: options.cause })
    this.status = options.status
    this.network = options.network ?? false
  }
}

export interface FetchedResponse {
  status: number
  headers: Headers
  body: string
}

/**
 * Sends one request and reads the whole answer, whatever its status.
 *
 * @throws OutboundError when there was no answer, it was a redirect, too slow or too large
 */
export async function boundedFetch (url: string | URL, init: RequestInit = {}, limits: FetchLimits = {}): Promise<FetchedResponse> {
  const { timeoutMs = 5_000, maxBytes = 256 * 1024 } = limits
  const target = `${new URL(url).origin}${new URL(url).pathname}`
  try {
    const response = await fetch(url, { ...init, redirect: 'manual', signal: AbortSignal.timeout(timeoutMs) })
    if (response.status >= 300 && response.status < 400) {
      await response.body?.cancel()
      throw new FetchError(`${target} answered with a redirect, which is not followed`, { status: response.status })
    }
    return { status: response.status, headers: response.headers, body: await readBounded(response, maxBytes, target) }
  } catch (err) {
    if (err instanceof FetchError) throw err
    const timedOut = err instanceof DOMException && err.name === 'TimeoutError'
    throw new FetchError(timedOut ? `${target} did not answer within ${timeoutMs} ms` : `${target} cannot be reached (${causeCode(err)})`, { cause: err, network: true })
  }
}

/**
 * Fetches a JSON object.
 *
 * @throws OutboundError as `send`, and for any status but 200 and any body that is not a JSON object
 */
export async function fetchJson (url: string | URL, limits: FetchLimits = {}): Promise<Record<string, unknown>> {
  const { status, body } = await boundedFetch(url, { headers: { accept: 'application/json' } }, limits)
  if (status !== 200) throw new FetchError(`${url} answered ${status}`, { status })
  const value = parseJsonObject(body)
  if (value === undefined) throw new FetchError(`${url} answered with something other than a JSON object`, { status })
  return value
}

/** The object that `text` holds as JSON; undefined for anything else. */
export function parseJsonObject (text: string): Record<string, unknown> | undefined {
  try {
    const value: unknown = JSON.parse(text)
    return typeof value === 'object' && value !== null && !Array.isArray(value) ? value as Record<string, unknown> : undefined
  } catch {
    return undefined
  }
}

async function readBounded (response: Response, maxBytes: number, target: string): Promise<string> {
  const chunks: Uint8Array[] = []
  let bytes = 0
  for await (const chunk of response.body ?? []) {
    bytes += chunk.byteLength
    if (bytes > maxBytes) throw new FetchError(`${target} answered with more than ${maxBytes} bytes`, { status: response.status })
    chunks.push(chunk)
  }
  return Buffer.concat(chunks).toString('utf8')
}

/** Never fetch's own message: it repeats the whole URL. */
function causeCode (err: unknown): string {
  const cause = (err as Error).cause as NodeJS.ErrnoException | undefined
  return cause?.code ?? cause?.message ?? (err as Error).name
}
