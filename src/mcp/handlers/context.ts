import type { LoggingLevel, ServerEvent } from '@modelcontextprotocol/server'
import type { ClientInfo, RequestContext, RequestLog } from '../../define/context.ts'
import type { Principal } from '../../tokens/principal.ts'
import { clientInput } from './client-input.ts'
import type { AskClient, ClientInput } from './client-input.ts'
import type { ClientChannel } from './client-channel.ts'
import type { Deadline } from './deadline.ts'

/** A token of the provider's for another API, in the name of a principal (src/oauth/modes/broker/token-exchange.ts). */
export type TokenFor = (principal: Principal, request: { audience: string, scopes?: readonly string[] }, signal: AbortSignal) => Promise<string>

export interface HandlerContextOptions {
  principal: Principal | undefined
  log: RequestLog
  client: ClientInfo
  deadline: Deadline
  /** What the handler is of, for the log. */
  of: string
  ask: AskClient
  /** Tells the client that an elicitation by URL is done; undefined in 2026-07-28. */
  complete: ((elicitationId: string) => Promise<void>) | undefined
  /** Undefined where the handler cannot be heard, so that nothing is sent. */
  request: ClientChannel | undefined
  /** Whether the session wants log messages of a severity. */
  wants (level: LoggingLevel): Promise<boolean>
  announce (change: ServerEvent): void
  tokenFor: TokenFor | undefined
  onerror (error: Error): void
}

/** What a handler is given. Each member is made when the handler takes it: most take few. */
export class HandlerContext implements RequestContext {
  readonly #options: HandlerContextOptions
  #input: ClientInput | undefined

  constructor (options: HandlerContextOptions) {
    this.#options = options
  }

  get principal (): Principal | undefined {
    return this.#options.principal
  }

  get log (): RequestLog {
    const { log, principal, of } = this.#options
    return bindLog(log, { of, ...(principal !== undefined && { subject: principal.subject, clientId: principal.clientId }) })
  }

  get signal (): AbortSignal {
    return this.#options.deadline.signal
  }

  get client (): ClientInfo {
    return this.#options.client
  }

  get progress (): RequestContext['progress'] {
    const { request, onerror } = this.#options
    const progressToken = request?._meta?.progressToken
    return async (progress, total, message) => {
      if (progressToken === undefined) return
      await request!.notify({
        method: 'notifications/progress',
        params: { progressToken, progress, ...(total !== undefined && { total }), ...(message !== undefined && { message }) }
      }).catch(onerror)
    }
  }

  get logToClient (): RequestContext['logToClient'] {
    const options = this.#options
    return async (level, data) => {
      options.request?.ensureAttached()
      if (await options.wants(level)) await options.request?.log(level, data).catch(options.onerror)
    }
  }

  get elicit (): RequestContext['elicit'] {
    return this.#asking.elicit
  }

  get elicitUrl (): RequestContext['elicitUrl'] {
    return this.#asking.elicitUrl
  }

  get sample (): RequestContext['sample'] {
    return this.#asking.sample
  }

  get listRoots (): RequestContext['listRoots'] {
    return this.#asking.listRoots
  }

  get announce (): RequestContext['announce'] {
    return this.#options.announce
  }

  get tokenFor (): RequestContext['tokenFor'] {
    const { tokenFor, principal, deadline } = this.#options
    return async (audience, options = {}) => {
      if (tokenFor === undefined || principal === undefined) throw new Error('tokenFor needs a caller who is signed in with OAUTH_MODE=broker')
      return await tokenFor(principal, { audience, ...options }, deadline.signal)
    }
  }

  get #asking (): ClientInput {
    this.#input ??= clientInput(this.#options.ask, this.#options.complete)
    return this.#input
  }
}

function bindLog (log: RequestLog, bound: object): RequestLog {
  return {
    info (fields, message) { log.info({ ...bound, ...fields }, message) },
    warn (fields, message) { log.warn({ ...bound, ...fields }, message) },
    error (fields, message) { log.error({ ...bound, ...fields }, message) }
  }
}
