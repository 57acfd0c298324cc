import type { Client, McpSubscription } from '@modelcontextprotocol/client'
import { runOutside } from '../../async/run-outside.ts'
import type { RequestLog } from '../../define/context.ts'
import { RareLog } from '../connection/rare-log.ts'

/** Limit of the resources of one mount that clients are subscribed to. */
const MAX_SUBSCRIPTIONS = 1_000

/** Limit of those of them that one person has brought about, with all their clients. */
const MAX_OF_PERSON = 250

/** A change is announced to clients at most this often, whatever the server sends. */
const ANNOUNCE_MS = 200

export interface ResourceSubscriptionsOptions {
  /** The name of the mount, for the log. */
  name: string
  log: RequestLog
  timeoutMs: number
  /** The pause before a stream is opened again. */
  reopenMs: number
  /** The time for which a subscription is kept without a sign of its subscribers, who give one every half minute. */
  leaseMs: number
}

interface Subscription {
  /** Notifies the subscribers. */
  changed: () => void
  expiresAt: number
  /** The person who has subscribed first; undefined if nobody is known. */
  subscriber: string | undefined
}

/**
 * The subscriptions to resources of a mounted server: one for each URI, however many clients have subscribed. They
 * follow the server to the next connection.
 */
export class ResourceSubscriptions {
  readonly #name: string
  readonly #log: RequestLog
  readonly #exhaustions = new RareLog()
  readonly #exhaustionsOfPersons = new RareLog()
  readonly #timeoutMs: number
  readonly #leaseMs: number
  readonly #reopenMs: number
  /** By the server's own URI. */
  readonly #wanted = new Map<string, Subscription>()
  readonly #changed = new Set<string>()
  #client: Client | undefined
  /** The URIs that a server of 2025 knows of. */
  #subscribed = new Set<string>()
  /** The stream of a server of 2026-07-28. */
  #stream: McpSubscription | undefined
  #syncing: Promise<void> | undefined
  #isOutdated = false
  #announceTimer: NodeJS.Timeout | undefined
  #expiryTimer: NodeJS.Timeout | undefined

  constructor ({ name, log, timeoutMs, reopenMs, leaseMs }: ResourceSubscriptionsOptions) {
    this.#name = name
    this.#log = log
    this.#reopenMs = reopenMs
    this.#timeoutMs = timeoutMs
    this.#leaseMs = leaseMs
  }

  /**
   * Subscribes to a resource, or says that somebody still is. Beyond a limit nothing happens, except for a log line.
   *
   * @param subscriber the person; undefined if nobody is known
   */
  subscribe (uri: string, changed: () => void, subscriber: string | undefined): void {
    const known = this.#wanted.get(uri)
    if (known === undefined && !this.#hasRoom(subscriber)) return
    const expiresAt = performance.now() + this.#leaseMs
    this.#wanted.set(uri, { changed, expiresAt, subscriber: known === undefined ? subscriber : known.subscriber })
    this.#expiryTimer ??= setInterval(() => { this.#expire() }, this.#leaseMs / 2).unref()
    if (known === undefined) this.#sync()
  }

  #hasRoom (subscriber: string | undefined): boolean {
    const mount = this.#name
    if (this.#wanted.size >= MAX_SUBSCRIPTIONS) {
      this.#exhaustions.log(() => {
        this.#log.warn({ event: 'mount.subscriptions_exceeded', mount, maxSubscriptions: MAX_SUBSCRIPTIONS },
          'Clients are subscribed to as many resources of a mounted MCP server as Seed allows: those who subscribe to' +
          ' others are not notified of changes')
      })
      return false
    }
    if (subscriber === undefined || this.#countOf(subscriber) < MAX_OF_PERSON) return true
    this.#exhaustionsOfPersons.log(() => {
      this.#log.warn({ event: 'mount.subscriptions_exceeded', mount, maxOfPerson: MAX_OF_PERSON },
        'One person is subscribed to as many resources of a mounted MCP server as Seed allows: they are not notified' +
        ' of changes of others')
    })
    return false
  }

  #countOf (subscriber: string): number {
    let count = 0
    for (const one of this.#wanted.values()) if (one.subscriber === subscriber) count++
    return count
  }

  /** Continues on a new connection. */
  connect (client: Client): void {
    this.#client = client.getServerCapabilities()!.resources?.subscribe === true ? client : undefined
    this.#subscribed = new Set()
    this.#stream = undefined
    client.setNotificationHandler('notifications/resources/updated', ({ params: { uri } }) => {
      runOutside(() => { this.#onUpdated(uri) })
    })
    if (this.#wanted.size > 0) this.#sync()
  }

  close (): void {
    this.#client = undefined
    clearInterval(this.#expiryTimer)
    clearTimeout(this.#announceTimer)
  }

  /** A server may send what nobody has subscribed to, and as often as it likes. */
  #onUpdated (uri: string): void {
    if (!this.#wanted.has(uri)) return
    this.#changed.add(uri)
    this.#announceTimer ??= setTimeout(() => {
      this.#announceTimer = undefined
      for (const one of this.#changed) this.#wanted.get(one)?.changed()
      this.#changed.clear()
    }, ANNOUNCE_MS).unref()
  }

  #expire (): void {
    const now = performance.now()
    const expired = [...this.#wanted].filter(([, { expiresAt }]) => expiresAt <= now)
    for (const [uri] of expired) this.#wanted.delete(uri)
    if (expired.length > 0) this.#sync()
  }

  /** Tells the server what is wanted, once more if that changes meanwhile. */
  #sync (): void {
    this.#isOutdated = true
    this.#syncing ??= runOutside(async () => { await this.#syncAll() }).finally(() => { this.#syncing = undefined })
  }

  async #syncAll (): Promise<void> {
    while (this.#isOutdated && this.#client !== undefined) {
      this.#isOutdated = false
      const client = this.#client
      if (client.getProtocolEra() === 'modern') await this.#listen(client).catch(() => { this.#onStreamEnd(client) })
      else await this.#subscribeAll(client)
    }
  }

  async #subscribeAll (client: Client): Promise<void> {
    const options = { timeout: this.#timeoutMs }
    const subscribed = this.#subscribed
    for (const uri of [...subscribed].filter((one) => !this.#wanted.has(one))) {
      subscribed.delete(uri)
      await client.unsubscribeResource({ uri }, options).catch(() => {})
    }
    for (const uri of [...this.#wanted.keys()].filter((one) => !subscribed.has(one))) {
      subscribed.add(uri)
      // A server that refuses it sends no notifications of this resource.
      await client.subscribeResource({ uri }, options).catch(() => {})
    }
  }

  /** Opens a stream for all resources, then ends the one before, so that nothing is missed. */
  async #listen (client: Client): Promise<void> {
    const before = this.#stream
    const resourceSubscriptions = [...this.#wanted.keys()]
    this.#stream = resourceSubscriptions.length === 0
      ? undefined
      : await client.listen({ resourceSubscriptions }, { timeout: this.#timeoutMs })
    await before?.close()
    this.#stream?.closed.then((cause) => { if (cause !== 'local') this.#onStreamEnd(client) })
  }

  /** Opens the stream again that a proxy or the server has ended, unless there is a new connection. */
  #onStreamEnd (client: Client): void {
    setTimeout(() => { if (this.#client === client) this.#sync() }, this.#reopenMs).unref()
  }
}
