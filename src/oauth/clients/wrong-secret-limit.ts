import { digest } from '../../crypto/hash.ts'
import { LimitError } from '../../errors/http-error.ts'
import type { Log } from '../../logging/log.ts'
import { clientNetworkKey } from '../../net/addresses.ts'
import { keys } from '../../store/keys.ts'
import { ignoreOutage } from '../../store/store.ts'
import type { Store } from '../../store/store.ts'

const WINDOW_SECONDS = 60

export interface WrongSecretLimitOptions {
  store: Store
  /** Wrong secrets of a client in a minute, from all addresses (OAUTH_LIMIT_PER_ADDRESS). */
  max: number
  log: Pick<Log, 'warn'>
}

export type WrongSecretLimit = ReturnType<typeof createWrongSecretLimit>

/**
 * Limits guesses of a client's secret from many addresses. Beyond the limit, an address (an IPv6 /48) that has sent a
 * wrong secret of this client within the minute must wait. Everybody else may still authenticate, so strangers cannot
 * lock out the client, which has the right secret.
 */
export function createWrongSecretLimit ({ store, max, log }: WrongSecretLimitOptions) {
  const clientKey = (clientId: string) => keys.wrongSecrets(digest(clientId))
  const networkKey = (clientId: string, ip: string) => keys.wrongSecrets(digest(`${clientNetworkKey(ip)} ${clientId}`))

  async function increment (key: string): Promise<number> {
    return (await store.increment(key, WINDOW_SECONDS)).count
  }

  async function read (key: string): Promise<number> {
    return Number(await store.get(key)) || 0
  }

  return {
    /** @throws LimitError where a secret of the client must not be tried now */
    async check (clientId: string, ip: string): Promise<void> {
      const [ofClient, ofNetwork] = await Promise.all([
        read(clientKey(clientId)), read(networkKey(clientId, ip))
      ]).catch((err: unknown) => { ignoreOutage(err); return [0, 0] as const })
      if (ofClient < max || ofNetwork === 0) return
      throw new LimitError(`Too many wrong secrets; try again in ${WINDOW_SECONDS} seconds`, {
        retryAfterSeconds: WINDOW_SECONDS,
        detail: `more than ${max} wrong secrets of the client in a minute, also from here (OAUTH_LIMIT_PER_ADDRESS)`
      })
    },

    async count (clientId: string, ip: string): Promise<void> {
      const [ofClient] = await Promise.all([
        increment(clientKey(clientId)), increment(networkKey(clientId, ip))
      ]).catch((err: unknown) => { ignoreOutage(err); return [0] as const })
      if (ofClient !== max) return
      log.warn({ event: 'client.secret_guessed', client: clientId },
        `${max} wrong secrets of this client within a minute: somebody may be guessing. ` +
        'Addresses that send wrong ones must wait; the client itself is served (OAUTH_CLIENTS)')
    }
  }
}
