import type { FastifyBaseLogger, FastifyServerOptions } from 'fastify'

/**
 * The logger of each request, made when something is logged for it: most requests log nothing but their line, which needs
 * none, and making one costs a tenth of a tool call.
 */
export const lazyRequestLogger: NonNullable<FastifyServerOptions['childLoggerFactory']> = (log, bindings, options) => new LazyLogger(log, bindings, options)

type Given = Parameters<FastifyBaseLogger['info']>

class LazyLogger implements FastifyBaseLogger {
  readonly #parent: FastifyBaseLogger
  readonly #bindings: object
  readonly #options: object
  #made: FastifyBaseLogger | undefined

  constructor (parent: FastifyBaseLogger, bindings: object, options: object) {
    this.#parent = parent
    this.#bindings = bindings
    this.#options = options
  }

  get #log (): FastifyBaseLogger {
    this.#made ??= this.#parent.child(this.#bindings, this.#options)
    return this.#made
  }

  get level (): string { return this.#log.level }
  get silent (): FastifyBaseLogger['silent'] { return this.#log.silent }

  trace (...given: unknown[]): void { this.#log.trace(...given as Given) }
  debug (...given: unknown[]): void { this.#log.debug(...given as Given) }
  info (...given: unknown[]): void { this.#log.info(...given as Given) }
  warn (...given: unknown[]): void { this.#log.warn(...given as Given) }
  error (...given: unknown[]): void { this.#log.error(...given as Given) }
  fatal (...given: unknown[]): void { this.#log.fatal(...given as Given) }

  child (bindings: object, options?: object): FastifyBaseLogger {
    return this.#log.child(bindings, options)
  }
}
