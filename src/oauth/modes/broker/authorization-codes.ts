import { hash } from 'node:crypto'
import { Type } from 'typebox'
import type { Static } from 'typebox'
import type { Endpoint } from '../../../config/endpoints.ts'
import { keys } from '../../../store/keys.ts'
import { defineRecord } from '../../../store/record.ts'
import type { Store } from '../../../store/store.ts'
import type { CauseCode } from '../../../errors/causes.ts'
import { OAuthError } from '../../../errors/oauth-error.ts'
import { digest, randomId, timingSafeEquals } from '../../../crypto/hash.ts'
import type { TraceStep } from '../../../trace/step.ts'
import { checkTarget } from './grant-endpoint.ts'
import { GrantSchema } from './grant.ts'
import type { Grant } from './grant.ts'
import type { Grants } from './grants.ts'

const CodeBindingSchema = Type.Object({
  grant: GrantSchema,
  redirectUri: Type.String(),
  codeChallenge: Type.String()
})
export type CodeBinding = Static<typeof CodeBindingSchema>

/** The parameters of a token request that a code is redeemed with. */
export interface CodeRedemption {
  clientId: string
  redirectUri: string | undefined
  codeVerifier: string
  /** The MCP endpoint that the request names; undefined if it names none. */
  target?: Pick<Endpoint, 'name'> | undefined
}

const UnusedCodeSchema = Type.Object({ used: Type.Literal(false), ...CodeBindingSchema.properties })

/** Remains of a redeemed code: enough to end its grant when it is used again. */
const UsedCodeSchema = Type.Object({
  used: Type.Literal(true),
  grant: Type.Object({ id: Type.String(), clientId: Type.String(), reference: GrantSchema.properties.reference }),
  redirectUri: Type.String(),
  codeChallenge: Type.String()
})
type UsedCode = Static<typeof UsedCodeSchema>

const CodeRecordSchema = Type.Union([UnusedCodeSchema, UsedCodeSchema])
type CodeRecord = Static<typeof CodeRecordSchema>

const codeRecord = defineRecord('authorization code', CodeRecordSchema)

export type AuthorizationCodes = ReturnType<typeof createAuthorizationCodes>

const TTL_SECONDS = 60

/** A used code is remembered for a while, to tell a replay from a code that never existed. */
const USED_TTL_SECONDS = 600

/** Wrong verifiers before the code is deleted. */
const MAX_TRIES = 5

/**
 * Seed's authorization codes (OAuth 2.1 section 4.1.3): single use, 60 seconds, bound to client, redirect URI,
 * challenge and grant. The store holds their SHA-256.
 */
export function createAuthorizationCodes (store: Store, grants: Pick<Grants, 'revoke'>) {
  /**
   * A mismatch does not consume the code, so an eavesdropper cannot revoke a grant; repeated wrong verifiers do.
   *
   * @throws OAuthError invalid_grant, or invalid_target for another resource than that of the sign-in
   */
  async function checkBinding (code: string, record: CodeRecord, presented: CodeRedemption): Promise<void> {
    if (presented.clientId !== record.grant.clientId) {
      throw invalidGrant('it was issued to another client', 'code_not_for_request')
    }
    if (presented.redirectUri !== undefined && presented.redirectUri !== record.redirectUri) {
      throw invalidGrant('redirect_uri is not the one of the authorization request', 'code_not_for_request')
    }
    if (timingSafeEquals(hash('sha256', presented.codeVerifier, 'base64url'), record.codeChallenge)) {
      if (!record.used) checkTarget(presented.target, record.grant)
      return
    }
    const { count } = await store.increment(keys.codeTries(digest(code)), TTL_SECONDS)
    if (count >= MAX_TRIES && !record.used) await store.delete(keys.code(digest(code)))
    throw invalidGrant('code_verifier does not match code_challenge', 'pkce_verifier')
  }

  async function replaceByUsed (key: string, text: string, binding: CodeBinding): Promise<boolean> {
    return await store.compareAndSet(key, text, codeRecord.serialize(toUsedCode(binding)), USED_TTL_SECONDS)
  }

  return {
    async issue (binding: CodeBinding): Promise<string> {
      const code = randomId(32)
      const record: CodeRecord = { ...binding, used: false }
      await store.set(keys.code(digest(code)), codeRecord.serialize(record), TTL_SECONDS)
      return code
    },

    /** @throws OAuthError invalid_grant */
    async redeem (code: string, presented: CodeRedemption, step?: TraceStep): Promise<Grant> {
      const key = keys.code(digest(code))
      const stored = await codeRecord.find(store, key)
      if (stored === undefined) throw invalidGrant('it is unknown, expired or was tried too often', 'code_unknown')
      const { value: record, text } = stored
      step?.belongsTo(record.grant.reference)
      await checkBinding(code, record, presented)
      if (record.used || !await replaceByUsed(key, text, record)) {
        // The right client with the right verifier, for the second time: one of the two stole it.
        await grants.revoke(record.grant.id, 'authorization code used twice')
        throw invalidGrant('it was used before: its tokens are revoked', 'code_replayed')
      }
      return record.grant
    }
  }
}

function toUsedCode (
  { grant: { id, clientId, reference }, redirectUri, codeChallenge }: CodeBinding
): UsedCode {
  return { used: true, grant: { id, clientId, reference }, redirectUri, codeChallenge }
}

function invalidGrant (detail: string, causeCode: CauseCode): OAuthError {
  const message = 'The authorization code is not valid, or not for this request: sign in again'
  return new OAuthError('invalid_grant', message, { detail, causeCode })
}
