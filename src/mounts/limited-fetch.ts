import { fetchByProxy } from '../net/proxy.ts'

/** A response of a mounted server that is larger than its limit. */
export class ResponseTooLargeError extends Error {
  override readonly name = 'ResponseTooLargeError'

  constructor (maxBytes: number) {
    super(`sent more than ${maxBytes} bytes (maxResponseBytes)`)
  }
}

const LINE_FEED = 10

/**
 * Returns a fetch whose responses have a limited size: a body as a whole, and an event stream for one message. A stream
 * that has sent twice as much is cut off as well; those of changes, which may be open for days, are then opened again.
 *
 * @param onTooLarge gets what the MCP client may report as something else
 */
export function createLimitedFetch (maxBytes: number, onTooLarge: (error: ResponseTooLargeError) => void) {
  return async (url: string | URL, init: RequestInit = {}): Promise<Response> => {
    const response = await fetchByProxy(url, { ...init, headers: Object.fromEntries(new Headers(init.headers)) })
    const { body, status, statusText, headers } = response
    if (body === null) return response
    const isStream = headers.get('content-type')?.startsWith('text/event-stream') === true
    const count = isStream ? countEvents(maxBytes) : countAll(maxBytes)
    const limited = body.pipeThrough(new TransformStream<Uint8Array, Uint8Array>({
      transform (chunk, controller) {
        if (count(chunk)) {
          controller.enqueue(chunk)
          return
        }
        const error = new ResponseTooLargeError(maxBytes)
        onTooLarge(error)
        throw error
      }
    }))
    return new Response(limited, { status, statusText, headers })
  }
}

/** Returns whether a further chunk is within the limit. */
type Count = (chunk: Uint8Array) => boolean

function countAll (maxBytes: number): Count {
  let bytes = 0
  return (chunk) => {
    bytes += chunk.byteLength
    return bytes <= maxBytes
  }
}

function countEvents (maxBytes: number): Count {
  const isWithinAll = countAll(2 * maxBytes)
  let lineBytes = 0
  return (chunk) => {
    // The data of a message is one line; a client keeps no more than the line that has not ended.
    const end = chunk.lastIndexOf(LINE_FEED)
    lineBytes = end === -1 ? lineBytes + chunk.byteLength : chunk.byteLength - end - 1
    return isWithinAll(chunk) && lineBytes <= maxBytes
  }
}
