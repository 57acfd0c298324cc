import { setTimeout as delay } from 'node:timers/promises'
import { parseRedisUrl } from '../config/redis-url.ts'
import { connectCluster } from './redis-cluster.ts'
import type { RedisClientOptions, RedisConnection } from './redis-connection.ts'
import { connectServer } from './redis-server.ts'

const CLOSE_MS = 2000

export interface RedisClient extends Omit<RedisConnection, 'stopRetrying'> {
  /** Prepended to the keys of commands; channels of subscriptions need it prepended. */
  readonly keyPrefix: string
  /** Channels of Redis have no database, so that two installations would share them: the number is part of the name. */
  channelName (channel: string): string
  /** Resolves within two seconds, whatever Redis does. */
  close (): Promise<void>
}

/**
 * Connects in the background, at first and after each loss; until then every command rejects. A failover is such a
 * loss: sentinels and clusters are asked again for the primary. The log has one line for a loss and one for the return.
 */
export function openRedisClient (options: RedisClientOptions): RedisClient {
  const address = parseRedisUrl(options.url)
  const connection = (address.topology === 'cluster' ? connectCluster : connectServer)(address, options)
  const { commands } = connection
  return {
    ...connection,
    keyPrefix: options.keyPrefix,
    channelName: (channel) => address.db === 0 ? channel : `${address.db}:${channel}`,
    async close () {
      connection.stopRetrying()
      await Promise.race([commands.quit().catch(() => {}), delay(CLOSE_MS, undefined, { ref: false })])
      commands.disconnect()
    }
  }
}
