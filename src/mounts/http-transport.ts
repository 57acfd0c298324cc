import { StreamableHTTPClientTransport } from '@modelcontextprotocol/client'
import type { JSONRPCMessage, Transport } from '@modelcontextprotocol/client'
import { createLimitedFetch } from './limited-fetch.ts'
import type { Mount } from './mounts-file.ts'
import type { TransportOptions } from './transport-options.ts'

/** The code, outside the range of JSON-RPC, of a request whose response never came (see HttpTransport). */
export const NO_RESPONSE = -39_000

/** The response may be on its way through the client when its stream has ended. */
const LAST_RESPONSE_MS = 50

/** A server that does not answer is not waited for when its session ends. */
const MAX_TERMINATION_MS = 1_000

/** The shortest time between two attempts to open a stream, whatever the server asks for. */
export const MIN_STREAM_RETRY_MS = 1_000

/** Returns the transport of a mount that is reached over Streamable HTTP. */
export function createHttpTransport (
  { url, requestHeaders }: Mount, { maxBytes, onFailure }: TransportOptions
): Transport {
  return new HttpTransport(new URL(url), {
    fetch: createLimitedFetch(maxBytes, onFailure),
    requestInit: { headers: requestHeaders },
    reconnectionOptions: {
      initialReconnectionDelay: MIN_STREAM_RETRY_MS,
      maxReconnectionDelay: 60_000,
      reconnectionDelayGrowFactor: 2,
      maxRetries: Number.MAX_SAFE_INTEGER
    },
    reconnectionScheduler (reconnect, delay) {
      const timer = setTimeout(reconnect, Math.max(delay, MIN_STREAM_RETRY_MS))
      timer.unref()
      return () => { clearTimeout(timer) }
    }
  })
}

type SendOptions = NonNullable<Parameters<StreamableHTTPClientTransport['send']>[1]>

/**
 * Fails a request whose stream has ended without a response: the SDK would wait until the time is up. Closed, it ends
 * the session, if there is one.
 */
class HttpTransport extends StreamableHTTPClientTransport {
  override async send (message: JSONRPCMessage, options: SendOptions = {}): Promise<void> {
    // Requests that are answered by a stream that stays open handle its end themselves.
    if (!('id' in message) || !('method' in message) || options.onRequestStreamEnd !== undefined) {
      await super.send(message, options)
      return
    }
    const { id } = message
    await super.send(message, {
      ...options,
      onRequestStreamEnd: () => {
        const error = { code: NO_RESPONSE, message: 'The stream ended without a response' }
        setTimeout(() => { this.onmessage?.({ jsonrpc: '2.0', id, error }) }, LAST_RESPONSE_MS).unref()
      }
    })
  }

  override async close (): Promise<void> {
    try {
      await Promise.race([this.terminateSession(), delay(MAX_TERMINATION_MS)])
    } catch {
      // The server forgets the session by itself.
    }
    await super.close()
  }
}

async function delay (ms: number): Promise<void> {
  await new Promise((resolve) => { setTimeout(resolve, ms).unref() })
}
