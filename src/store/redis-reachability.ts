import type { RedisAddress } from '../config/redis-url.ts'
import type { RedisLog } from './redis-connection.ts'

/** Logs an outage once when it begins and once when it is over. */
export class RedisReachability {
  readonly #host: string
  readonly #log: RedisLog
  readonly #listeners: { onLost?: () => void, onBack?: () => void }
  #reachable = true
  #closed = false

  constructor ({ nodes }: RedisAddress, log: RedisLog, listeners: { onLost?: () => void, onBack?: () => void }) {
    this.#host = nodes.map(({ host, port }) => `${host}:${port}`).join(',')
    this.#log = log
    this.#listeners = listeners
  }

  /** @param reason a code, never an error: that of a refused login carries the password among its arguments */
  markLost (reason: string): void {
    if (!this.#reachable || this.#closed) return
    this.#reachable = false
    const fields = { host: this.#host, reason }
    this.#log.error({ event: 'redis.unreachable', ...fields },
      'Redis is unreachable; requests that need it get 503 until it is back')
    this.#listeners.onLost?.()
  }

  /** Ends the outage if there is one and `isBack` says that it is over. */
  async checkRecovery (isBack: () => Promise<boolean>): Promise<void> {
    if (this.#reachable || !await isBack() || this.#reachable || this.#closed) return
    this.#reachable = true
    this.#log.info({ event: 'redis.reachable', host: this.#host }, 'Redis is reachable again')
    this.#listeners.onBack?.()
  }

  /** Logs nothing more. */
  close (): void {
    this.#closed = true
  }
}
