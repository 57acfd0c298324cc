import { Type } from 'typebox'
import type { Static } from 'typebox'
import { HttpError } from '../../errors/http-error.ts'
import { keys } from '../../store/keys.ts'
import { OptionalString } from '../../store/record.ts'

const ClientDescriptionSchema = Type.Object({
  clientInfo: Type.Object({ name: Type.String(), version: Type.String() }),
  capabilities: Type.Record(Type.String(), Type.Unknown()),
  /** The negotiated revision. */
  protocolVersion: Type.String()
})
/** The client as initialize described it. */
export type ClientDescription = Static<typeof ClientDescriptionSchema>

export const SessionSchema = Type.Object({
  ...ClientDescriptionSchema.properties,
  /** SHA-256 of the session id: its name in the store, in messages and in logs. */
  digest: Type.String(),
  /** The owner. */
  principalKey: Type.String(),
  /** Key of the caller whose sessions are limited; earlier versions limited them by principal. */
  callerKey: Type.Optional(Type.String()),
  /** The path of its MCP endpoint; absent for `/mcp`. */
  endpoint: OptionalString,
  /** The lowest severity of log messages that the client wants (logging/setLevel). */
  logLevel: Type.Optional(Type.Union([Type.String(), Type.Undefined()])),
  /** URIs of resources (resources/subscribe); absent until the first subscription. */
  subscriptions: Type.Optional(Type.ReadonlyObject(Type.Array(Type.String()))),
  /** Milliseconds since the epoch. */
  createdAt: Type.Number(),
  /** Milliseconds since the epoch; renewed once in a while, not by every request. */
  lastSeenAt: Type.Number()
})
export type Session = Static<typeof SessionSchema>

/** Returns the key of the set that counts a session. */
export function sessionsKey ({ callerKey, principalKey }: Session): string {
  return keys.sessionsOf(callerKey ?? principalKey)
}

/** Returns the key of the person whose client a session belongs to; undefined with AUTH_REQUIRED=false. */
export function subscriberOf ({ callerKey, principalKey }: Session): string | undefined {
  return principalKey === '' ? undefined : callerKey
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
