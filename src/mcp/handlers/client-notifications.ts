import type { LoggingLevel } from '@modelcontextprotocol/server'
import type { RequestContext } from '../../define/context.ts'
import { isAsSevereAs } from '../../define/log-level.ts'
import type { Session } from '../sessions/session.ts'
import type { Sessions } from '../sessions/sessions.ts'
import type { ClientChannel } from './client-channel.ts'
import type { NotificationQueue } from './notification-queue.ts'

/** Returns the function of a handler's context that reports progress, if the request asks for it. */
export function createProgress (
  channel: ClientChannel,
  queue: NotificationQueue
): RequestContext['progress'] {
  const progressToken = channel._meta?.progressToken
  return async (progress, total, message) => {
    if (progressToken === undefined) return
    const details = { ...(total !== undefined && { total }), ...(message !== undefined && { message }) }
    const params = { progressToken, progress, ...details }
    await queue.send('progress', async () => { await channel.notify({ method: 'notifications/progress', params }) })
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
  queue: NotificationQueue
): RequestContext['logToClient'] {
  return async (level, data, logger) => {
    channel.ensureAttached()
    if (session !== undefined && !passes(level, await sessions.logLevel(session))) return
    await queue.send('message', async () => { await channel.log(level, data, logger) })
  }
}

function passes (level: LoggingLevel, minimum: string | undefined): boolean {
  return minimum === undefined || isAsSevereAs(level, minimum as LoggingLevel)
}
