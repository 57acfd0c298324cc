import type { FastifyError, FastifyReply, FastifyRequest } from 'fastify'
import { AccessDeniedError } from '../tokens/access-rules.ts'
import { UnknownClientError } from '../oauth/clients/clients.ts'
import { bearerChallenge } from '../oauth/protocol/bearer-challenge.ts'
import type { ChallengeOptions } from '../oauth/protocol/bearer-challenge.ts'
import { OAuthError } from '../errors/oauth-error.ts'
import type { OAuthErrorCode } from '../errors/oauth-error.ts'
import { LimitError } from '../limits/mcp-limits.ts'
import { InsufficientScopeError } from '../policy/evaluator.ts'
import { SessionNotFoundError, TooManySessionsError } from '../mcp/sessions/sessions.ts'
import { OtherBrowserError, SignInError, SignInExpiredError } from '../oauth/modes/sign-in.ts'
import { ProviderUnavailableError } from '../provider/discovery.ts'
import { StoreUnavailableError } from '../store/store.ts'
import { BearerError } from './bearer.ts'
import { HostOrOriginError } from './host-and-origin.ts'
import { PAGE_HEADERS, renderErrorPage } from '../pages/error.ts'

/**
 * One error handler per wire format; each plugin sets its own in its own scope. Fixed texts and a reference id go
 * out, the reason goes to the log.
 */

/** What every handler reduces an error to before it puts it into its format. */
interface Failure {
  status: number
  code: OAuthErrorCode
  /** Safe to send. */
  message: string
  retryAfterSeconds?: number | undefined
  /** For the log. */
  detail?: string | undefined
}

/** `/oauth/token`, `/oauth/register`: RFC 6749 section 5.2. @param invalidCode what a body that fails its schema is called */
export function oauthErrorHandler (invalidCode: (error: FastifyError) => OAuthErrorCode = () => 'invalid_request') {
  return async function (error: FastifyError, request: FastifyRequest, reply: FastifyReply) {
    const failure = toFailure(error, request, reply)
    if (error.validation !== undefined) failure.code = invalidCode(error)
    // RFC 6749 section 5.2: who tried the Authorization header is told of a scheme for it.
    if (failure.status === 401 && request.headers.authorization !== undefined) reply.header('www-authenticate', 'Basic realm="Seed"')
    return reply.code(failure.status).headers({ 'cache-control': 'no-store', pragma: 'no-cache' })
      .send({ error: failure.code, error_description: failure.message })
  }
}

/** `/oauth/authorize`, `/oauth/consent`, `/oauth/callback`: a page, as a person is looking. */
export async function pageErrorHandler (error: FastifyError | SignInError, request: FastifyRequest, reply: FastifyReply) {
  const cause = error instanceof SignInError ? error.cause : error
  const { status, message } = toFailure(cause as FastifyError, request, reply)
  const unknownClient = cause instanceof UnknownClientError
  // 401 would ask the browser for a credential (RFC 9110 section 15.5.2).
  return reply.code(status === 401 ? 400 : status).headers(PAGE_HEADERS).send(renderErrorPage({
    title: titleFor(status, cause),
    sentence: unknownClient ? 'This application is not registered here any more.' : `${message.replace(/; try again .*$/, '')}.`,
    advice: adviceFor(status, cause),
    link: error instanceof SignInError ? { href: error.returnTo.href, text: 'Return to the application' } : undefined,
    reference: request.id
  }))
}

function titleFor (status: number, cause: Error): string {
  if (cause instanceof AccessDeniedError) return 'You may not use this server'
  if (cause instanceof UnknownClientError) return 'Connect the application again'
  if (cause instanceof SignInExpiredError) return 'This sign-in is over'
  if (cause instanceof OtherBrowserError) return 'You were not signed in'
  if (status === 429) return 'Too many attempts'
  return status >= 500 ? 'Sign-in is not available right now' : 'Sign-in cannot go on'
}

function adviceFor (status: number, cause: Error): string {
  if (cause instanceof AccessDeniedError) {
    return cause.contact === undefined ? 'Ask whoever runs this server for access, and give them the reference.' : `Ask ${cause.contact} for access, and give them the reference.`
  }
  if (cause instanceof UnknownClientError) return 'Go back to the application, sign out of this server there (or remove it) and connect it again.'
  if (cause instanceof SignInExpiredError) return 'Go back to the application and connect again.'
  if (cause instanceof OtherBrowserError) return 'If you started it yourself, connect again from the application and stay in one browser. If somebody sent you here, close this page.'
  if (status >= 500 || status === 429) return 'Try again in a minute, from the application. If it happens again, give the reference to whoever runs this server.'
  return 'Go back to the application and connect again. If it happens again, give the reference to whoever runs this server.'
}

/** `/mcp`: JSON-RPC 2.0, with the bearer challenge where a credential is at fault. */
export function mcpErrorHandler (challenge: ChallengeOptions) {
  return async function (error: FastifyError, request: FastifyRequest, reply: FastifyReply) {
    reply.header('cache-control', 'no-store')
    if (error instanceof BearerError) {
      request.logFields = { ...request.logFields, refused: error.reason, reason: error.detail ?? error.message }
      const named = error.reason === 'missing_token'
        ? undefined
        : { code: error.status === 400 ? 'invalid_request' as const : 'invalid_token' as const, description: error.message }
      return reply.code(error.status).header('www-authenticate', bearerChallenge(challenge, named))
        .send(jsonRpcError(-32001, error.message, { reason: error.reason }))
    }
    if (error instanceof InsufficientScopeError) {
      request.logFields = { ...request.logFields, refused: 'insufficient_scope', reason: error.detail }
      return reply.code(403).header('www-authenticate', bearerChallenge({ ...challenge, scopes: error.scopes }, { code: 'insufficient_scope', description: error.message }))
        .send(jsonRpcError(-32001, error.message, { reason: 'insufficient_scope' }))
    }
    const { status, message } = toFailure(error, request, reply)
    return reply.code(status).send(jsonRpcError(jsonRpcCode(error, status), message))
  }
}

/** -32700 for what cannot be parsed, -32600 for what is no request, and the server's own range otherwise. */
function jsonRpcCode ({ code }: FastifyError, status: number): number {
  if (code === 'FST_ERR_CTP_INVALID_JSON_BODY' || code === 'FST_ERR_CTP_EMPTY_JSON_BODY') return -32700
  if (status === 400) return -32600
  if (status === 404) return -32001
  return status === 500 ? -32603 : -32000
}

export function jsonRpcError (code: number, message: string, data?: { reason: string }) {
  return { jsonrpc: '2.0' as const, id: null, error: { code, message, ...(data !== undefined && { data }) } }
}

/** Everything without a protocol of its own: unknown paths, documents, health. */
export async function plainErrorHandler (error: FastifyError, request: FastifyRequest, reply: FastifyReply) {
  const { status, message } = toFailure(error, request, reply)
  return reply.code(status).header('cache-control', 'no-store').send({ error: 'request_failed', message, reference: request.id })
}

export async function notFoundHandler (request: FastifyRequest, reply: FastifyReply) {
  return reply.code(404).header('cache-control', 'no-store')
    .send({ error: 'not_found', message: 'There is nothing at this path', reference: request.id })
}

function toFailure (error: FastifyError, request: FastifyRequest, reply: FastifyReply): Failure {
  const failure = classify(error)
  request.logFields = { ...request.logFields, error: failure.code, reason: failure.detail ?? failure.message }
  if (failure.retryAfterSeconds !== undefined) reply.header('retry-after', failure.retryAfterSeconds)
  if (failure.status === 500 && !(error instanceof OAuthError)) request.log.error({ err: error }, 'Unexpected error')
  return failure
}

function classify (error: FastifyError): Failure {
  if (error instanceof AccessDeniedError) return { status: 403, code: 'access_denied', message: error.message, detail: `${error.rule}: ${error.detail ?? error.message}` }
  if (error instanceof OAuthError) {
    const { status, code, message, retryAfterSeconds, detail } = error
    return { status, code, message, retryAfterSeconds, detail }
  }
  if (error instanceof StoreUnavailableError || error instanceof ProviderUnavailableError) {
    const what = error instanceof StoreUnavailableError ? "The server's store" : 'The identity provider'
    return { status: 503, code: 'temporarily_unavailable', message: `${what} cannot be reached; try again shortly`, retryAfterSeconds: error.retryAfterSeconds, detail: error.message }
  }
  if (error instanceof TooManySessionsError || error instanceof LimitError) {
    const { status, message, retryAfterSeconds, detail } = error
    return { status, code: 'temporarily_unavailable', message, retryAfterSeconds, detail }
  }
  if (error instanceof SessionNotFoundError) return { status: 404, code: 'invalid_request', message: error.message }
  if (error instanceof HostOrOriginError) return { status: error.statusCode, code: 'invalid_request', message: error.message }
  if (error.validation !== undefined) return { status: 400, code: 'invalid_request', message: describeValidation(error) }
  const { statusCode = 500 } = error
  if (statusCode >= 400 && statusCode < 500) return { status: statusCode, code: 'invalid_request', message: FASTIFY_MESSAGES[statusCode] ?? 'The request cannot be read' }
  return { status: 500, code: 'server_error', message: 'The server failed to answer; the reference id leads to the reason in its log' }
}

const FASTIFY_MESSAGES: Record<number, string> = {
  413: 'The body is too large',
  415: 'The content type is not one that this endpoint takes'
}

/** Names the parameter, never its value. */
function describeValidation (error: FastifyError): string {
  const [first] = error.validation!
  const name = first!.instancePath.split('/')[1] ?? first!.params['missingProperty'] as string | undefined
  return name === undefined ? 'The request is not of the expected form' : `${name} is missing, repeated or malformed`
}
