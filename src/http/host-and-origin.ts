import type { FastifyReply, FastifyRequest, HookHandlerDoneFunction } from 'fastify'
import { HttpError } from '../errors/http-error.ts'
import { singleHeader } from './single-header.ts'
import { isLoopbackHost } from '../net/addresses.ts'
import type { Config } from '../config/config.ts'

/**
 * Host and Origin checks against DNS rebinding and cross-site requests (MCP transports, security warning).
 * Seed's own names come from the configuration. Loopback names are always accepted: a rebound name never is one.
 */

/** Counts a request that is about to be refused. @throws LimitError when its address had too many of them */
export type CountRefused = (request: FastifyRequest) => Promise<void>

/** Returns an onRequest hook that answers 421 to a Host that is not this server's. */
export function createHostCheck (
  { baseUrl, allowedHosts }: Pick<Config, 'baseUrl' | 'allowedHosts'>, countRefused: CountRefused
) {
  const own = new Set([new URL(baseUrl).host, ...allowedHosts])

  function isOwn (host: string): boolean {
    if (own.has(host)) return true
    const lowerCase = host.toLowerCase()
    return own.has(lowerCase) || isLoopbackHost(lowerCase.replace(/:\d{1,5}$/, ''))
  }

  return function checkHost (request: FastifyRequest, _reply: FastifyReply, done: HookHandlerDoneFunction): void {
    const host = singleHeader(request.raw, 'host')
    if (host === null || !isOwn(host ?? '')) {
      const refusal = new HttpError(
        421,
        'invalid_request',
        'This server is not known by that host name (BASE_URL, ALLOWED_HOSTS)'
      )
      countRefused(request).then(() => { done(refusal) }, done)
    } else done()
  }
}

/**
 * Returns the origins whose pages may call /mcp: Seed's own (every loopback name, if it is one), and
 * CORS_EXTRA_ORIGINS.
 */
export function allowedOrigins ({ baseUrl, corsExtraOrigins }: Pick<Config, 'baseUrl' | 'corsExtraOrigins'>): string[] {
  const { origin, protocol, hostname, port } = new URL(baseUrl)
  const own = isLoopbackHost(hostname)
    ? ['localhost', '127.0.0.1', '[::1]'].map((name) => `${protocol}//${name}${port === '' ? '' : `:${port}`}`)
    : [origin]
  return [...new Set([...own, ...corsExtraOrigins])]
}

/** Response headers that pages of other origins may read. */
const EXPOSED_HEADERS = 'WWW-Authenticate, Mcp-Session-Id, MCP-Protocol-Version, Retry-After, X-Request-Id'

/**
 * Returns an onRequest hook that answers 403 to an Origin that is present and not listed (scheme, host and port). Pages
 * of a listed origin may read the response (Fetch Standard, CORS protocol).
 */
export function createOriginCheck (origins: readonly string[], countRefused: CountRefused) {
  return function checkOrigin (request: FastifyRequest, reply: FastifyReply, done: HookHandlerDoneFunction): void {
    const { origin } = request.headers
    reply.header('vary', 'Origin')
    if (origin === undefined) done()
    else if (origins.includes(origin)) {
      reply.header('access-control-allow-origin', origin).header('access-control-expose-headers', EXPOSED_HEADERS)
      done()
    } else {
      const refusal = new HttpError(
        403,
        'invalid_request',
        'Requests from that origin are not allowed (CORS_EXTRA_ORIGINS)'
      )
      countRefused(request).then(() => { done(refusal) }, done)
    }
  }
}
