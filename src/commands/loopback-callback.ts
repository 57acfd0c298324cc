import { once } from 'node:events'
import { createServer } from 'node:http'
import type { AddressInfo } from 'node:net'

/** The address at which a native client waits for its authorization response (RFC 8252 section 7.3). */
export interface LoopbackCallback {
  /** The address with its port, for registration and authorization request. */
  redirectUri: string
  /**
   * Waits for a request to the redirect URI with this state. Any other is refused and changes nothing: whatever page
   * the browser shows may send one.
   *
   * @param read reads the response; what it throws is shown as a failed sign-in, and thrown here
   * @throws Error after `timeoutSeconds`
   */
  receive<Result> (state: string, timeoutSeconds: number, read: Read<Result>): Promise<Result>
  close (): void
}

type Read<Result> = (parameters: URLSearchParams) => Result

/**
 * Listens for the browser on this machine, and on no other interface.
 *
 * @param given a loopback URL; port 0 or none takes any free port
 * @throws Error if the port is taken
 */
export async function listenForCallback (given: URL): Promise<LoopbackCallback> {
  const server = createServer()
  server.listen(Number(given.port), given.hostname === '[::1]' ? '::1' : '127.0.0.1')
  try {
    await once(server, 'listening')
  } catch (err) {
    throw new Error(`Port ${given.port} cannot be listened on (${(err as NodeJS.ErrnoException).code}): ` +
      'stop what listens there, or choose another one with --redirect-uri', { cause: err })
  }
  const own = new URL(given)
  own.port = String((server.address() as AddressInfo).port)

  return {
    redirectUri: own.href,

    async receive (state, timeoutSeconds, read) {
      return await new Promise((resolve, reject) => {
        const timer = setTimeout(() => {
          reject(new Error(`Nobody has signed in within ${timeoutSeconds} seconds. Run the command again, and open ` +
            'the address in a browser on this machine; if the browser showed an error, it says what to do'))
        }, timeoutSeconds * 1_000)
        server.on('request', (request, response) => {
          const answer = (status: number, text: string): void => {
            // No code in the address may leave this machine with a Referer header.
            const headers = { 'content-type': 'text/plain', 'referrer-policy': 'no-referrer', connection: 'close' }
            response.writeHead(status, headers).end(`${text}\n`)
          }
          const url = new URL(request.url!, own)
          if (url.pathname !== own.pathname) return answer(404, 'Nothing is here.')
          if (url.searchParams.get('state') !== state) return answer(400, 'This is not the sign-in that was begun.')
          clearTimeout(timer)
          try {
            resolve(read(url.searchParams))
            answer(200, 'Signed in. You can close this tab and go back to the terminal.')
          } catch (err) {
            reject(err)
            answer(400, 'The sign-in has failed. The terminal says why.')
          }
        })
      })
    },

    close () { server.close() }
  }
}
