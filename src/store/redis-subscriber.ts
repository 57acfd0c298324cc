import { setTimeout as delay } from 'node:timers/promises'
import type { Redis } from 'ioredis'
import type { RedisClient } from './redis-client.ts'

/** A subscriber only receives, so it would not notice that Redis is gone: it pings at this interval. */
const PING_MS = 5000

interface Subscription {
  onMessage: (message: string) => void
  onGap: () => void
}

/** Subscriptions to channels, on a connection of their own that is opened with the first. */
export class RedisSubscriber {
  readonly #client: RedisClient
  readonly #subscriptions = new Map<string, Subscription[]>()
  #connection: Redis | undefined
  #pings: NodeJS.Timeout | undefined

  constructor (client: RedisClient) {
    this.#client = client
  }

  subscribe (channel: string, subscription: Subscription): void {
    this.#subscriptions.set(channel, [...this.#subscriptions.get(channel) ?? [], subscription])
    this.#connection ??= this.#connect()
    if (this.#connection.status === 'ready') this.#listen(this.#connection, channel)
  }

  close (): void {
    clearInterval(this.#pings)
    this.#connection?.disconnect()
  }

  #connect (): Redis {
    const connection = this.#client.openSubscriber()
    connection.on('ready', () => {
      for (const channel of this.#subscriptions.keys()) this.#listen(connection, channel)
    })
    connection.on('message', (channel, message) => {
      for (const { onMessage } of this.#subscriptions.get(channel)!) onMessage(message)
    })
    this.#pings = setInterval(() => { connection.ping().catch(() => {}) }, PING_MS).unref()
    return connection
  }

  /** A subscription that fails ends with its connection; the next connection makes it again. */
  #listen (connection: Redis, channel: string): void {
    const { commands } = this.#client
    connection.subscribe(channel).then(async () => {
      // Whoever is told of a gap reads at once, over the other connection, which may come back later than this one.
      while (connection.status === 'ready' && commands.status !== 'ready') await delay(20, undefined, { ref: false })
      for (const { onGap } of this.#subscriptions.get(channel)!) onGap()
    }, () => {})
  }
}
