import { digest } from '../../../crypto/hash.ts'
import { keys } from '../../../store/keys.ts'
import type { Store } from '../../../store/store.ts'

export type IssuedTokens = ReturnType<typeof createIssuedTokens>

/**
 * Remembers which client each access token was issued to. The token itself names Seed's client at the provider only,
 * and just the client that a token was issued to may revoke it (RFC 7009 section 2.1).
 */
export function createIssuedTokens (store: Store) {
  return {
    async add (accessToken: string, clientId: string, ttlSeconds: number): Promise<void> {
      await store.set(keyOf(accessToken), clientId, ttlSeconds)
    },

    async isIssuedTo (accessToken: string, clientId: string): Promise<boolean> {
      return await store.get(keyOf(accessToken)) === clientId
    }
  }
}

/** Digests the signing input alone: an ECDSA signature can be spelled in two ways. */
function keyOf (accessToken: string): string {
  return keys.tokenClient(digest(accessToken.slice(0, accessToken.lastIndexOf('.'))))
}
