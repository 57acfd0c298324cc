import { connect as connectPlain } from 'node:net'
import { connect as connectTls } from 'node:tls'
import { AbstractConnector, SentinelConnector } from 'ioredis'
import type { Redis, RedisOptions, StandaloneConnectionOptions } from 'ioredis'
import type { Socket } from 'node:net'

/**
 * How ioredis connects, with one thing added: it listens for the first error of a socket only, but one of TLS may have
 * two. After Seed has refused a certificate the server may still answer with an alert, and an error that nobody listens
 * for ends the process.
 */
function tolerate<T extends Socket> (socket: T): T {
  return socket.on('error', () => {})
}

/** Connects to the host and port of the options, which may have changed since the last time. */
export class ServerConnector extends AbstractConnector {
  readonly #options: StandaloneConnectionOptions

  constructor (options: unknown) {
    super((options as RedisOptions).disconnectTimeout!)
    this.#options = options as StandaloneConnectionOptions
  }

  async connect (): Promise<Socket> {
    const { host, port, tls } = this.#options
    const target = { host: host!, port: port! }
    this.stream = tolerate(tls ? connectTls({ ...target, ...tls }) : connectPlain(target))
    this.stream.once('error', (err) => { this.firstError = err })
    return this.stream
  }
}

/** Asks the sentinels where to connect to. */
export class PrimaryConnector extends SentinelConnector {
  constructor (options: unknown) {
    super(options as ConstructorParameters<typeof SentinelConnector>[0])
  }

  override async connect (...args: Parameters<SentinelConnector['connect']>): Promise<Socket> {
    return tolerate(await super.connect(...args))
  }
}

// The connections to the sentinels: their method is private to TypeScript, and takes more options.
const { connectToSentinel } = SentinelConnector.prototype as unknown as { connectToSentinel (address: object, options?: RedisOptions): Redis }
Object.defineProperty(PrimaryConnector.prototype, 'connectToSentinel', {
  value (this: typeof SentinelConnector.prototype, address: object) {
    return connectToSentinel.call(this, address, { Connector: ServerConnector })
  }
})
