import { hash } from 'node:crypto'
import { Type } from 'typebox'
import type { Static } from 'typebox'
import { digest } from '../../../crypto/hash.ts'
import type { CauseCode } from '../../../errors/causes.ts'
import { OAuthError } from '../../../errors/oauth-error.ts'
import { keys } from '../../../store/keys.ts'
import { defineRecord } from '../../../store/record.ts'
import { ignoreOutage } from '../../../store/store.ts'
import type { Store } from '../../../store/store.ts'
import type { TraceStep } from '../../../trace/step.ts'
import type { AllowedRequest } from '../sign-in.ts'
import { UnfinishedSignInSchema, uncountUnfinished } from '../unfinished-sign-ins.ts'

const ApprovalSchema = Type.Object({
  clientId: Type.String(),
  redirectUriHash: Type.String(),
  /** Shown on the consent page; space-separated. */
  scope: Type.String(),
  /** Seconds since the epoch. */
  expiresAt: Type.Integer(),
  /** Leads to the steps of the sign-in (src/trace). */
  reference: Type.Optional(Type.String()),
  unfinished: UnfinishedSignInSchema
})
/** A sign-in that a person has allowed on the consent page, and whose code has not been redeemed yet. */
export type Approval = Static<typeof ApprovalSchema>

const approvalRecord = defineRecord('approval of a sign-in', ApprovalSchema)

export type Approvals = ReturnType<typeof createApprovals>

/** Time for signing in at the provider and redeeming the code. */
const TTL_SECONDS = 900

/**
 * The sign-ins that people have allowed. The provider knows all MCP clients as one, so only Seed can tell whether a
 * code belongs to a request that passed the consent page, and to which client (RFC 6749 section 4.1.3). An approval is
 * found by its code challenge: whoever has the verifier made the request.
 *
 * @param now wall clock in milliseconds
 */
export function createApprovals (store: Store, now: () => number = Date.now) {
  const seconds = (): number => Math.floor(now() / 1_000)

  return {
    async add ({ client, redirectUri, codeChallenge, scopes, reference, unfinished }: AllowedRequest): Promise<void> {
      const approval: Approval = {
        clientId: client.id,
        redirectUriHash: digest(redirectUri),
        scope: scopes.join(' '),
        expiresAt: seconds() + TTL_SECONDS,
        ...(reference !== undefined && { reference }),
        unfinished
      }
      await store.set(keyOf(codeChallenge), approvalRecord.serialize(approval), TTL_SECONDS)
    },

    /**
     * Takes the approval of the request that this verifier belongs to; it can be taken once. A wrong client or redirect
     * URI does not use it up.
     *
     * @throws OAuthError invalid_grant
     */
    async take (
      codeVerifier: string, clientId: string, redirectUri: string, step?: TraceStep
    ): Promise<Approval> {
      const key = keyOf(challengeOf(codeVerifier))
      const approval = (await approvalRecord.find(store, key))?.value
      if (approval === undefined) {
        throw notApproved('code_verifier fits no sign-in that was allowed here and not redeemed', 'pkce_verifier')
      }
      step?.belongsTo(approval.reference)
      if (approval.clientId !== clientId) {
        throw notApproved('the sign-in was allowed for another client', 'code_not_for_request')
      }
      if (approval.redirectUriHash !== digest(redirectUri)) {
        throw notApproved('redirect_uri is not the one of the authorization request', 'code_not_for_request')
      }
      if (await store.take(key) === undefined) {
        throw notApproved('the code has been redeemed in the same moment', 'code_replayed')
      }
      return approval
    },

    /** Gives an approval back whose code the provider has not answered for, so that the client can try again. */
    async giveBack (codeVerifier: string, approval: Approval): Promise<void> {
      const ttlSeconds = Math.max(1, approval.expiresAt - seconds())
      const key = keyOf(challengeOf(codeVerifier))
      await store.setIfAbsent(key, approvalRecord.serialize(approval), ttlSeconds).catch(ignoreOutage)
    },

    /** Ends an approval whose code the provider has redeemed. */
    async complete ({ unfinished }: Approval): Promise<void> {
      await uncountUnfinished(store, unfinished)
    }
  }
}

function keyOf (codeChallenge: string): string {
  return keys.approval(digest(codeChallenge))
}

/** S256 (RFC 7636 section 4.6). */
function challengeOf (codeVerifier: string): string {
  return hash('sha256', codeVerifier, 'base64url')
}

function notApproved (detail: string, causeCode: CauseCode): OAuthError {
  const message = 'The authorization code is not valid, or not for this request: sign in again'
  return new OAuthError('invalid_grant', message, { detail, causeCode })
}
