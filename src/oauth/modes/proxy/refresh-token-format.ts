import type { Client } from '../../clients/clients.ts'
import type { FindKeyring } from '../../../crypto/keyring.ts'

/** The contents of a refresh token. */
export interface RefreshToken {
  familyId: string
  /** Each rotation adds one. */
  number: number
  /** The provider's refresh token. */
  upstream: string
}

export type RefreshTokenClient = Pick<Client, 'id' | 'kind' | 'authMethod'>

export type RefreshTokenFormat = ReturnType<typeof createRefreshTokenFormat>

/**
 * Makes and reads refresh tokens: the provider's own, sealed with the number in its family. One opens only for the
 * client that it was issued to, and only while that client authenticates as it did then (RFC 6749 section 6): an id
 * that has lost its secret is another client.
 */
export function createRefreshTokenFormat (findKeyring: FindKeyring) {
  return {
    async seal ({ familyId, number, upstream }: RefreshToken, client: RefreshTokenClient): Promise<string> {
      const keyring = await findKeyring()
      return keyring.seal(JSON.stringify([familyId, number, upstream]), contextOf(client))
    },

    /** @returns undefined for what was not issued here, to this client */
    async open (token: string, client: RefreshTokenClient): Promise<RefreshToken | undefined> {
      const keyring = await findKeyring()
      const opened = keyring.open(token, contextOf(client))
      if (opened === undefined) return undefined
      const [familyId, number, upstream] = JSON.parse(opened) as [string, number, string]
      return { familyId, number, upstream }
    }
  }
}

function contextOf ({ id, kind, authMethod }: RefreshTokenClient): string {
  return `refresh-token:${kind}:${authMethod}:${id}`
}
