import type { FastifyBaseLogger, FastifyServerOptions } from 'fastify'

/**
 * Creates the child logger of a request when something is first logged with it. Most requests log nothing but their
 * own line, which needs none, and creating one costs a tenth of a tool call.
 */
export const lazyRequestLogger: NonNullable<FastifyServerOptions['childLoggerFactory']> = (log, bindings, options) =>
  new LazyLogger(log, bindings, options)

type LogArguments = Parameters<FastifyBaseLogger['info']>

class LazyLogger implements FastifyBaseLogger {
  readonly #parent: FastifyBaseLogger
  readonly #bindings: object
  readonly #options: object
  #child: FastifyBaseLogger | undefined

  constructor (parent: FastifyBaseLogger, bindings: object, options: object) {
    this.#parent = parent
    this.#bindings = bindings
    this.#options = options
  }

  get #log (): FastifyBaseLogger {
    this.#child ??= this.#parent.child(this.#bindings, this.#options)
    return this.#child
  }

  get level (): string { return this.#log.level }
  get silent (): FastifyBaseLogger['silent'] { return this.#log.silent }

  trace (...args: unknown[]): void { this.#log.trace(...args as LogArguments) }
  debug (...args: unknown[]): void { this.#log.debug(...args as LogArguments) }
  info (...args: unknown[]): void { this.#log.info(...args as LogArguments) }
  warn (...args: unknown[]): void { this.#log.warn(...args as LogArguments) }
  error (...args: unknown[]): void { this.#log.error(...args as LogArguments) }
  fatal (...args: unknown[]): void { this.#log.fatal(...args as LogArguments) }

  child (bindings: object, options?: object): FastifyBaseLogger {
    return this.#log.child(bindings, options)
  }
}
