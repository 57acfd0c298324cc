import type { LoggingLevel } from '@modelcontextprotocol/server'
import type { RequestContext } from '../../define/context.ts'
import type { Session } from '../sessions/session.ts'
import type { Sessions } from '../sessions/sessions.ts'
import type { ClientChannel } from './client-channel.ts'

/** Log levels by increasing severity (RFC 5424 section 6.2.1). */
const SEVERITIES = ['debug', 'info', 'notice', 'warning', 'error', 'critical', 'alert', 'emergency']

/** Returns the function of a handler's context that reports progress, if the request asks for it. */
export function createProgress (
  channel: ClientChannel,
  onerror: (error: Error) => void
): RequestContext['progress'] {
  const progressToken = channel._meta?.progressToken
  return async (progress, total, message) => {
    if (progressToken === undefined) return
    const details = { ...(total !== undefined && { total }), ...(message !== undefined && { message }) }
    const params = { progressToken, progress, ...details }
    await channel.notify({ method: 'notifications/progress', params }).catch(onerror)
  }
}

/**
 * Returns the function of a handler's context that sends log messages to the client.
 *
 * @param session undefined in 2026-07-28, where the SDK knows the log level of the request
 */
export function createClientLog (
  channel: ClientChannel,
  session: Session | undefined,
  sessions: Pick<Sessions, 'logLevel'>,
  onerror: (error: Error) => void
): RequestContext['logToClient'] {
  return async (level, data) => {
    channel.ensureAttached()
    if (session !== undefined && !passes(level, await sessions.logLevel(session))) return
    await channel.log(level, data).catch(onerror)
  }
}

function passes (level: LoggingLevel, minimum: string | undefined): boolean {
  return minimum === undefined || SEVERITIES.indexOf(level) >= SEVERITIES.indexOf(minimum)
}
