import type { FastifyError, FastifyReply, FastifyRequest } from 'fastify'
import { BearerError, InsufficientAuthenticationError, InsufficientScopeError } from '../errors/bearer-error.ts'
import { HttpError } from '../errors/http-error.ts'
import type { ErrorCode } from '../errors/http-error.ts'
import { SignInError } from '../errors/sign-in-errors.ts'
import { bearerChallenge } from '../oauth/protocol/bearer-challenge.ts'
import type { ChallengeOptions } from '../oauth/protocol/bearer-challenge.ts'
import { withReference } from '../oauth/protocol/authorization-response.ts'
import { toDescription } from '../oauth/protocol/error-description.ts'
import { renderErrorPage } from '../pages/error.ts'
import { PAGE_HEADERS } from '../pages/layout.ts'

/**
 * One error handler per wire format; each plugin sets its own in its own scope. Fixed text and a reference id go out;
 * the reason goes to the log.
 */

/**
 * Answers `/oauth/token`, `/oauth/register` and the like with JSON (RFC 6749 section 5.2).
 * @param invalidCode the error code for a body that fails its schema
 */
export function oauthErrorHandler (invalidCode: (error: FastifyError) => ErrorCode = () => 'invalid_request') {
  return async function (error: FastifyError | HttpError, request: FastifyRequest, reply: FastifyReply) {
    const { statusCode, code, publicMessage } = handleError(error, request, reply, invalidCode)
    const description = toDescription(withReference(publicMessage, referenceOf(request)))
    // RFC 9110 section 15.5.2: every 401 has a challenge; RFC 6749 section 5.2 asks for the scheme that clients use.
    if (statusCode === 401) reply.header('www-authenticate', 'Basic realm="Seed"')
    return reply.code(statusCode).headers({ 'cache-control': 'no-store', pragma: 'no-cache' })
      .send({ error: code, error_description: description })
  }
}

/** Answers `/oauth/authorize`, `/oauth/consent` and `/oauth/callback` with a page for the person in the browser. */
export const pageErrorHandler = createPageErrorHandler('application')

/** Answers `/connections` with a page that leads back there. */
export const connectionsErrorHandler = createPageErrorHandler('connections')

/** @param origin where the person came from, and can try again; a sign-in that failed knows it better */
function createPageErrorHandler (origin: SignInError['origin']) {
  return async function (
    error: FastifyError | HttpError | SignInError, request: FastifyRequest, reply: FastifyReply
  ) {
    const cause = error instanceof SignInError ? error.cause as HttpError : error
    const texts = PAGE_TEXTS[error instanceof SignInError ? error.origin : origin]
    const href = error instanceof SignInError ? error.returnTo.href : returnPath(origin, request)
    const { statusCode, publicMessage, page } = handleError(cause, request, reply)
    // 401 would ask the browser for a credential (RFC 9110 section 15.5.2).
    return reply.code(statusCode === 401 ? 400 : statusCode).headers(PAGE_HEADERS).send(renderErrorPage({
      title: page?.title ?? pageTitle(statusCode, texts),
      sentence: page?.sentence ?? `${publicMessage}.`,
      advice: page?.advice ?? pageAdvice(statusCode, texts),
      link: href === undefined ? undefined : { href, text: texts.link },
      serverTitle: request.server.config.server.title,
      reference: referenceOf(request)
    }))
  }
}

/** A request that belongs to no sign-in cannot lead back to an application. */
function returnPath (origin: SignInError['origin'], { server }: FastifyRequest): string | undefined {
  return origin === 'connections' ? `${server.config.basePath}/connections` : undefined
}

interface PageTexts {
  failed: string
  unavailable: string
  later: string
  again: string
  link: string
}

const PAGE_TEXTS: Record<SignInError['origin'], PageTexts> = {
  application: {
    failed: 'Sign-in failed',
    unavailable: 'Sign-in is not available right now',
    later: 'Try again in a minute, from the application.',
    again: 'Go back to the application and connect again.',
    link: 'Return to the application'
  },
  connections: {
    failed: 'That did not work',
    unavailable: 'This page is not available right now',
    later: 'Open the page again in a minute.',
    again: 'Open the page again.',
    link: 'Open the page again'
  }
}

/** The reference of the sign-in that a request belongs to, or of the request itself. */
function referenceOf (request: FastifyRequest): string {
  return request.traceStep?.reference ?? request.id
}

function pageTitle (statusCode: number, { unavailable, failed }: PageTexts): string {
  if (statusCode === 429) return 'Too many attempts'
  return statusCode >= 500 ? unavailable : failed
}

function pageAdvice (statusCode: number, { later, again }: PageTexts): string {
  const retry = statusCode >= 500 || statusCode === 429 ? later : again
  return `${retry} If it happens again, give the reference to whoever runs this server.`
}

/**
 * Answers `/mcp` with JSON-RPC 2.0, and with a bearer challenge where the credential is at fault.
 * @param onRefused called for each refused credential
 */
export function mcpErrorHandler (
  challenge: ChallengeOptions, onRefused?: (request: FastifyRequest, error: BearerError) => void
) {
  return async function (error: FastifyError | HttpError, request: FastifyRequest, reply: FastifyReply) {
    const { statusCode, publicMessage } = error instanceof BearerError ? error : handleError(error, request, reply)
    reply.code(statusCode).header('cache-control', 'no-store')
    if (!(error instanceof BearerError)) return reply.send(jsonRpcError(jsonRpcCode(error, statusCode), publicMessage))

    const { reason, challengeCode, causeCode } = error
    onRefused?.(request, error)
    request.logFields = {
      ...request.logFields, refused: reason, reason: error.detail ?? error.message, cause: causeCode
    }
    const isStepUp = error instanceof InsufficientScopeError || error instanceof InsufficientAuthenticationError
    const scopes = isStepUp ? error.scopes : challenge.scopes
    const named = challengeCode === undefined
      ? undefined
      : {
          code: challengeCode,
          description: withReference(publicMessage, request.id),
          authentication: error instanceof InsufficientAuthenticationError ? error.demanded : undefined
        }
    return reply.header('www-authenticate', bearerChallenge({ ...challenge, scopes }, named))
      .send(jsonRpcError(-32001, publicMessage, { reason, reference: request.id }))
  }
}

/** -32700 for what cannot be parsed, -32600 for an invalid request, the server's own range otherwise. */
function jsonRpcCode ({ code }: { code: string }, statusCode: number): number {
  if (code === 'FST_ERR_CTP_INVALID_JSON_BODY' || code === 'FST_ERR_CTP_EMPTY_JSON_BODY') return -32700
  if (statusCode === 400) return -32600
  if (statusCode === 404) return -32001
  return statusCode === 500 ? -32603 : -32000
}

export function jsonRpcError (code: number, message: string, data?: { reason: string, reference: string }) {
  return { jsonrpc: '2.0' as const, id: null, error: { code, message, ...(data !== undefined && { data }) } }
}

/** Answers everything without a protocol of its own: unknown paths, metadata documents, health. */
export async function plainErrorHandler (
  error: FastifyError | HttpError,
  request: FastifyRequest,
  reply: FastifyReply
) {
  const { statusCode, publicMessage } = handleError(error, request, reply)
  return reply.code(statusCode).header('cache-control', 'no-store')
    .send({ error: 'request_failed', message: publicMessage, reference: request.id })
}

/**
 * Answers an unknown path, and names the one that MCP clients look for: people guess /sse and /MCP. Further endpoints
 * are named where the page at `/` may name them (HOME_PAGE).
 */
export async function notFoundHandler (request: FastifyRequest, reply: FastifyReply) {
  const { endpoints, server: { showHomePage } } = request.server.config
  const named = (showHomePage ? endpoints : endpoints.slice(0, 1)).map(({ resource }) => resource)
  const message = `There is nothing at this path. MCP clients connect to ${named.join(' or ')}`
  return reply.code(404).header('cache-control', 'no-store')
    .send({ error: 'not_found', message, reference: request.id })
}

/** Logs the error, sets Retry-After, and returns what every wire format is made from. */
function handleError (
  error: FastifyError | HttpError, request: FastifyRequest, reply: FastifyReply,
  invalidCode: (error: FastifyError) => ErrorCode = () => 'invalid_request'
): HttpError {
  const failure = error instanceof HttpError ? error : toHttpError(error, invalidCode)
  request.failure = failure
  const { code, causeCode, detail, message } = failure
  request.logFields = {
    ...request.logFields,
    error: code,
    reason: detail ?? message,
    ...(causeCode !== undefined && { cause: causeCode }),
    ...(request.traceStep?.isContinued && { signIn: request.traceStep.reference })
  }
  if (failure.retryAfterSeconds !== undefined) reply.header('retry-after', failure.retryAfterSeconds)
  if (failure !== error && failure.statusCode === 500) {
    request.log.error({ event: 'request.failed', err: error }, 'Unexpected error')
  }
  return failure
}

/** Fastify's own errors (`statusCode`), failed schemas (`validation`), and everything unexpected. */
function toHttpError (error: FastifyError, invalidCode: (error: FastifyError) => ErrorCode): HttpError {
  if (error.validation !== undefined) return new HttpError(400, invalidCode(error), describeValidation(error))
  const { statusCode = 500 } = error
  if (statusCode >= 400 && statusCode < 500) {
    return new HttpError(statusCode, 'invalid_request', FASTIFY_MESSAGES[statusCode] ?? 'The request cannot be read')
  }
  return new HttpError(
    500,
    'server_error',
    'The server failed to answer; the reference id leads to the reason in its log'
  )
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
