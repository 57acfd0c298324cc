import type { JWTPayload } from 'jose'
import { CLIENT_CLAIMS, providerTokenKind } from '../provider/token-kind.ts'
import { WorkloadTokenError } from './workload-token-error.ts'

/** Claims that come of a sign-in, or describe a person (OpenID Connect Core 1.0 sections 2 and 5.1). */
const PERSON_CLAIMS = ['sid', 'auth_time', 'amr', 'email', 'preferred_username']

/**
 * Refuses tokens of people of an issuer without preset, whatever its rules say: such an issuer may sign in people with
 * the same keys, and a rule that pins a client fits the tokens of everybody who uses it.
 *
 * @throws WorkloadTokenError
 */
export function checkIsService (claims: Readonly<JWTPayload>, { areAccessTokens }: { areAccessTokens: boolean }): void {
  if (providerTokenKind(claims) === 'service') return
  // Platforms for jobs and pods issue tokens to no client: these have nothing to compare with sub.
  const hasClient = areAccessTokens || CLIENT_CLAIMS.some((name) => claims[name] !== undefined)
  const personal = PERSON_CLAIMS.filter((name) => claims[name] !== undefined)
  if (!hasClient && personal.length === 0) return
  const about = hasClient
    ? 'its sub is not its client (client_id, azp, cid, appid) or oid'
    : `it has ${personal.join(', ')}`
  throw new WorkloadTokenError('it must be that of a service', {
    detail: `${about}, and neither idtyp nor gty says that it is an application's: tokens of people of other issuers ` +
      'are not accepted (TRUSTED_ISSUERS)'
  })
}
