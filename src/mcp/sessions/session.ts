import { HttpError } from '../../errors/http-error.ts'

/** The client as initialize described it. */
export interface ClientDescription {
  clientInfo: { name: string, version: string }
  capabilities: Record<string, unknown>
  /** The negotiated revision. */
  protocolVersion: string
}

export interface Session extends ClientDescription {
  /** SHA-256 of the session id: its name in the store, in messages and in logs. */
  digest: string
  principalKey: string
  /** The lowest severity of log messages that the client wants (logging/setLevel). */
  logLevel: string | undefined
  /** URIs of resources (resources/subscribe); absent until the first subscription. */
  subscriptions?: readonly string[]
  /** Milliseconds since the epoch. */
  createdAt: number
  /** Milliseconds since the epoch; renewed once in a while, not by every request. */
  lastSeenAt: number
}

/** A session by its name in the store. */
export type SessionRef = Pick<Session, 'digest'>

export interface SessionOptions {
  idleTtlSeconds: number
  maxAgeSeconds: number
  maxPerPrincipal: number
  maxTotal: number
}

export class SessionNotFoundError extends HttpError {
  override readonly name = 'SessionNotFoundError'

  constructor () {
    super(404, 'invalid_request', 'Session not found')
  }
}

export class TooManySessionsError extends HttpError {
  override readonly name = 'TooManySessionsError'

  /** @param setting the setting to raise, for the log */
  constructor (statusCode: 429 | 503, setting: string, max: number) {
    super(statusCode, 'temporarily_unavailable', statusCode === 429
      ? 'You have too many open sessions; end some of them'
      : 'The server has too many open sessions; try again in a minute',
    { retryAfterSeconds: 60, detail: `${setting} is ${max}` })
  }
}
