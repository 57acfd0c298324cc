import { keys } from '../../../store/keys.ts'
import { OAuthError } from '../../../errors/oauth-error.ts'
import type { Keyring } from '../../../crypto/keyring.ts'
import type { Grant, StoredTokens } from './grant.ts'

/** Seals the provider's tokens for the grant that they are stored in. */
export function createSealedTokens (keyring: Keyring) {
  return {
    seal (grantId: string, tokens: StoredTokens): string {
      return keyring.seal(JSON.stringify(tokens), keys.grant(grantId))
    },

    /** @throws OAuthError when SEED_SECRET no longer opens them */
    open ({ id, upstream }: Grant): StoredTokens {
      const opened = keyring.open(upstream, keys.grant(id))
      if (opened !== undefined) return JSON.parse(opened) as StoredTokens
      throw new OAuthError('invalid_grant', 'The grant can no longer be read: sign in again', {
        causeCode: 'secret_changed',
        detail: 'its upstream tokens are sealed with another SEED_SECRET (SEED_SECRET_PREVIOUS)'
      })
    }
  }
}
