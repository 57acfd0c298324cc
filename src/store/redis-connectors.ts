import { connect as connectPlain } from 'node:net'
import { connect as connectTls } from 'node:tls'
import { AbstractConnector, SentinelConnector } from 'ioredis'
import type { Redis, RedisOptions, StandaloneConnectionOptions } from 'ioredis'
import type { Socket } from 'node:net'

/**
 * ioredis listens for the first error of a socket only, but a TLS socket may have two: after Seed has refused a
 * certificate the server may still answer with an alert. An error without a listener would end the process.
 */
function ignoreFurtherErrors<T extends Socket> (socket: T): T {
  return socket.on('error', () => {})
}

/** Connects to the host and port of the options, which may have changed since the last connection. */
export class ServerConnector extends AbstractConnector {
  readonly #options: StandaloneConnectionOptions

  constructor (options: unknown) {
    super((options as RedisOptions).disconnectTimeout!)
    this.#options = options as StandaloneConnectionOptions
  }

  async connect (): Promise<Socket> {
    const { host, port, tls } = this.#options
    const target = { host: host!, port: port! }
    this.stream = ignoreFurtherErrors(tls ? connectTls({ ...target, ...tls }) : connectPlain(target))
    this.stream.once('error', (err) => { this.firstError = err })
    return this.stream
  }
}

/** Connects to the primary that the sentinels name. */
export class PrimaryConnector extends SentinelConnector {
  constructor (options: unknown) {
    super(options as ConstructorParameters<typeof SentinelConnector>[0])
  }

  override async connect (...args: Parameters<SentinelConnector['connect']>): Promise<Socket> {
    return ignoreFurtherErrors(await super.connect(...args))
  }
}

// Connections to the sentinels need the same connector. Their method is private to TypeScript, and takes more options.
interface SentinelConnections {
  connectToSentinel (address: object, options?: RedisOptions): Redis
}
const { connectToSentinel } = SentinelConnector.prototype as unknown as SentinelConnections
Object.defineProperty(PrimaryConnector.prototype, 'connectToSentinel', {
  value (this: typeof SentinelConnector.prototype, address: object) {
    return connectToSentinel.call(this, address, { Connector: ServerConnector })
  }
})
