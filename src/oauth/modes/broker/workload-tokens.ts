import { digest } from '../../../crypto/hash.ts'
import { OAuthError } from '../../../errors/oauth-error.ts'
import { keys } from '../../../store/keys.ts'
import type { Store } from '../../../store/store.ts'
import type { AccessRules } from '../../../tokens/access-rules.ts'
import { clientKey, subjectKey, withoutGrantKey } from '../../../tokens/revocations.ts'
import type { Revocations } from '../../../tokens/revocations.ts'
import type { TrustedIssuers, Workload } from '../../../workloads/trusted-issuers.ts'
import { WorkloadTokenError } from '../../../workloads/workload-token-error.ts'
import { JWT_BEARER } from '../../protocol/grant-types.ts'
import type { WorkloadTokenIssuer } from '../mode.ts'
import { checkServiceAccess, serviceScopes } from './service-access.ts'
import type { IssueTokenWithoutGrant } from './tokens-without-grant.ts'

export interface WorkloadTokensOptions {
  trustedIssuers: Pick<TrustedIssuers, 'verify'>
  /** The rules of the ACCESS_ settings. */
  access: AccessRules
  /** OIDC_SCOPES */
  scopes: readonly string[]
  clockSkewSeconds: number
  store: Store
  revocations: Pick<Revocations, 'isRevoked'>
  issueTokenWithoutGrant: IssueTokenWithoutGrant
}

/** The longest life of an access token for a workload: that of the token which it brings. */
const MAX_TTL_SECONDS = 3_600

/**
 * Makes the grant type jwt-bearer for tokens of workloads (RFC 7523 section 2.1, SEP-1933): the platform's token is the
 * credential, and a rule of TRUSTED_ISSUERS says which service its holder is. There is no client authentication and no
 * refresh token: the workload comes back with a new token of its platform.
 */
export function createWorkloadTokens (options: WorkloadTokensOptions): WorkloadTokenIssuer {
  const { access, store, revocations, issueTokenWithoutGrant } = options

  /** Tokens of the platform end with those of the service: what was issued before a revocation is not accepted. */
  async function checkNotRevoked ({ service, issuedAfter }: Workload): Promise<void> {
    const owners = [subjectKey(service), clientKey(service)]
    if (!await revocations.isRevoked([...owners, ...owners.map(withoutGrantKey)], issuedAfter)) return
    throw invalidToken('access was revoked after it was issued: get another one')
  }

  /** @throws StoreUnavailableError, as a token that may have been used is not accepted */
  async function checkNotUsed (workload: Workload): Promise<void> {
    const used = usedKey(workload)
    if (used !== undefined && await store.get(used) !== undefined) throw replayedToken()
  }

  /** Checks and marks in one step: of two requests at once, one has the token. @throws StoreUnavailableError */
  async function markUsed (workload: Workload): Promise<void> {
    const used = usedKey(workload)
    if (used === undefined) return
    // A NumericDate may have a fraction (RFC 7519 section 2).
    const left = Math.ceil(workload.expiresAt) - Math.floor(Date.now() / 1_000) + options.clockSkewSeconds
    if (!await store.setIfAbsent(used, '1', Math.max(1, left))) throw replayedToken()
  }

  return async function identifyWorkload (assertion) {
    const workload = await options.trustedIssuers.verify(assertion).catch((err: unknown) => {
      throw err instanceof WorkloadTokenError ? invalidToken(err.message, err) : err
    })
    const { service, rights } = workload
    return {
      service,
      async checkUsable () {
        await checkNotRevoked(workload)
        await checkNotUsed(workload)
      },
      async issue ({ scope, endpoint }) {
        checkServiceAccess(rights.claims, access, endpoint)
        const common = [...options.scopes, ...endpoint.scopes]
        const scopes = serviceScopes(scope, rights.scopes, { common, setting: 'TRUSTED_ISSUERS' })
        await markUsed(workload)
        const tokens = await issueTokenWithoutGrant({
          resource: endpoint.resource,
          subject: service,
          clientId: service,
          kind: 'service',
          authentication: undefined,
          grantType: JWT_BEARER,
          scope: scopes.join(' '),
          identity: rights.claims,
          maxTtlSeconds: MAX_TTL_SECONDS
        })
        // A revocation after this sees a token that is older than its mark; one before is seen here.
        await checkNotRevoked(workload)
        return tokens
      }
    }
  }
}

/** Returns the key of the mark that a token was used; undefined for one that may come again. */
function usedKey ({ issuer, jti, singleUse }: Workload): string | undefined {
  if (jti === undefined || !singleUse) return undefined
  return keys.assertion(digest(JSON.stringify(['workload', issuer, jti])))
}

function replayedToken (): OAuthError {
  return new OAuthError('invalid_grant', 'The token of the workload was used before: get another one', {
    detail: 'its jti was used before', causeCode: 'workload_token_replayed'
  })
}

function invalidToken (reason: string, cause?: WorkloadTokenError): OAuthError {
  return new OAuthError('invalid_grant', `The token of the workload is not acceptable: ${reason}`, {
    detail: cause?.detail ?? reason, causeCode: 'workload_token', cause
  })
}
