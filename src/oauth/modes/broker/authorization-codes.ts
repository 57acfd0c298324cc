import { hash } from 'node:crypto'
import { keys } from '../../../store/keys.ts'
import type { Store } from '../../../store/store.ts'
import { OAuthError } from '../../../errors/oauth-error.ts'
import { digest, randomId, timingSafeEquals } from '../../../crypto/hash.ts'
import type { Grant, Grants } from './grants.ts'

/**
 * Seed's authorization codes (OAuth 2.1 section 4.1.3): single use, 60 seconds, bound to client, redirect URI,
 * challenge and grant. The store holds their SHA-256.
 */
export interface AuthorizationCodes {
  issue (binding: CodeBinding): Promise<string>
  /** @throws OAuthError invalid_grant */
  redeem (code: string, presented: { clientId: string, redirectUri: string | undefined, verifier: string }): Promise<Grant>
}

export interface CodeBinding {
  grant: Grant
  redirectUri: string
  codeChallenge: string
}

type CodeRecord = CodeBinding & { used: false } | UsedCode

/** What is left of a redeemed code: enough to tell whose it was. */
interface UsedCode {
  used: true
  grant: Pick<Grant, 'id' | 'clientId'>
  redirectUri: string
  codeChallenge: string
}

const TTL_SECONDS = 60

/** A used code is remembered for a while, so that its replay is told from a code that never was. */
const USED_TTL_SECONDS = 600

/** Wrong verifiers before the code is gone. */
const MOST_TRIES = 5

export function createAuthorizationCodes (store: Store, grants: Pick<Grants, 'revoke'>): AuthorizationCodes {
  return {
    async issue (binding) {
      const code = randomId(32)
      await store.set(keys.code(digest(code)), JSON.stringify({ ...binding, used: false } satisfies CodeRecord), TTL_SECONDS)
      return code
    },

    async redeem (code, presented) {
      const key = keys.code(digest(code))
      const text = await store.get(key)
      if (text === undefined) throw refused('it is unknown, expired or was tried too often')
      const record = JSON.parse(text) as CodeRecord
      await checkBinding(code, record, presented)
      if (record.used || !await store.compareAndSet(key, text, JSON.stringify(spent(record)), USED_TTL_SECONDS)) {
        // The right client with the right verifier, for the second time: one of the two stole it (OAuth 2.1 section 4.1.3).
        await grants.revoke(record.grant.id, 'authorization code used twice')
        throw refused('it was used before: its tokens are revoked')
      }
      return record.grant
    }
  }

  /** What does not fit spends nothing, or a stranger could end a grant with a code he only saw; but guessing has an end. */
  async function checkBinding (code: string, { grant, redirectUri, codeChallenge, used }: CodeRecord, presented: { clientId: string, redirectUri: string | undefined, verifier: string }): Promise<void> {
    if (presented.clientId !== grant.clientId) throw refused('it was issued to another client')
    if (presented.redirectUri !== undefined && presented.redirectUri !== redirectUri) throw refused('redirect_uri is another than at authorization')
    if (timingSafeEquals(hash('sha256', presented.verifier, 'base64url'), codeChallenge)) return
    const { count } = await store.increment(keys.codeTries(digest(code)), TTL_SECONDS)
    if (count >= MOST_TRIES && !used) await store.delete(keys.code(digest(code)))
    throw refused('code_verifier does not fit code_challenge')
  }
}

function spent ({ grant: { id, clientId }, redirectUri, codeChallenge }: CodeBinding): UsedCode {
  return { used: true, grant: { id, clientId }, redirectUri, codeChallenge }
}

function refused (detail: string): OAuthError {
  return new OAuthError('invalid_grant', 'The authorization code is not valid, or not for this request: sign in again', { detail })
}
