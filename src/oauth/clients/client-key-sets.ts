import { createLocalJWKSet } from 'jose'
import type { JWK, JWTVerifyGetKey } from 'jose'
import type { ConfiguredClient } from '../../config/clients.ts'
import type { Log } from '../../logging/log.ts'
import { fetchJson } from '../../net/fetch.ts'
import { createJwks } from '../../provider/jwks.ts'
import type { KeysLog } from '../../provider/jwks.ts'
import type { Client } from './clients.ts'

export interface ClientKeySetsOptions {
  configured: readonly ConfiguredClient[]
  log: Log
  /** Shortest time between fetches that unknown keys force; 5 seconds by default. */
  forcedRefreshMs?: number | undefined
  /** Monotonic clock in milliseconds. */
  now?: () => number
}

export type ClientKeySets = ReturnType<typeof createClientKeySets>

const MAX_BYTES = 64 * 1024

/**
 * The keys of clients that authenticate with private_key_jwt (RFC 7591 section 2): those of their entry or metadata
 * document, or of a `jwks_uri` in OAUTH_CLIENTS. The latter are kept like the provider's (src/provider/jwks.ts): an
 * outage of the client's host does not stop the client, and made-up key ids do not cause a flood of fetches.
 */
export function createClientKeySets ({ configured, log, forcedRefreshMs, now }: ClientKeySetsOptions) {
  const fetched = new Map(configured.flatMap(({ id, jwksUri }) => jwksUri === undefined
    ? []
    : [[id, createJwks({
        jwksUri: () => jwksUri,
        fetchJson: async (url) => await fetchJson(url, { maxBytes: MAX_BYTES }),
        log,
        keysLog: createKeysLog(log, id),
        // An assertion is verified each time: nothing has to be forgotten.
        onChange () {},
        forcedRefreshMs,
        ...(now !== undefined && { now })
      })]]))

  return {
    /** Returns the function that finds the key for an assertion of this client. */
    keysOf ({ id, jwks }: Pick<Client, 'id' | 'jwks'>): JWTVerifyGetKey {
      return fetched.get(id)?.getKey ?? createLocalJWKSet(jwks as { keys: JWK[] })
    },

    /** Begins fetching; returns at once. */
    start (): void {
      for (const { start } of fetched.values()) start()
    },

    close (): void {
      for (const { close } of fetched.values()) close()
    }
  }
}

function createKeysLog (log: Log, client: string): KeysLog {
  return {
    changed (kids) {
      log.info({ event: 'client.keys_changed', client, kids }, 'The keys at the jwks_uri of a client have changed')
    },
    unavailable (reason, keysKept) {
      log.error({ event: 'client.keys_unavailable', client, reason, keysKept }, keysKept === 0
        ? 'The keys at the jwks_uri of a client cannot be fetched: it gets no tokens until they can (OAUTH_CLIENTS)'
        : 'The keys at the jwks_uri of a client cannot be fetched; the last good ones stay in use')
    },
    available (uri) {
      log.info({ event: 'client.keys_available', client, uri }, 'The keys of a client can be fetched again')
    }
  }
}
