import type { Endpoint } from '../../../config/endpoints.ts'
import type { AccessDeniedError } from '../../../errors/sign-in-errors.ts'
import { OAuthError } from '../../../errors/oauth-error.ts'
import { checkAccess, endpointRules } from '../../../tokens/access-rules.ts'
import type { AccessRules } from '../../../tokens/access-rules.ts'

/**
 * Checks that a service fulfils the access rules, and those of the endpoint, as people must, with the groups and claims
 * that the operator gave it.
 *
 * @throws OAuthError unauthorized_client
 */
export function checkServiceAccess (
  claims: Readonly<Record<string, unknown>>, access: AccessRules, endpoint: Endpoint
): void {
  try {
    checkAccess(claims, access)
    checkAccess(claims, endpointRules(endpoint, access))
  } catch (err) {
    const { rule, detail, causeCode } = err as AccessDeniedError
    throw new OAuthError('unauthorized_client', `This service does not fulfil ${rule}`, {
      detail, causeCode, cause: err
    })
  }
}

/**
 * Returns the scopes to grant (RFC 6749 section 3.3): those that are asked for, or all of the service. MCP clients ask
 * for OIDC_SCOPES unless told otherwise; these are about people, so they are ignored where the service lacks them.
 *
 * @param common OIDC_SCOPES, and the scopes of the endpoint
 * @param setting the setting that has the scopes of the service
 * @throws OAuthError invalid_scope for any other scope that the service lacks
 */
export function serviceScopes (
  requested: string | undefined,
  own: readonly string[],
  { common, setting }: { common: readonly string[], setting: 'OAUTH_CLIENTS' | 'TRUSTED_ISSUERS' }
): readonly string[] {
  const wanted = (requested ?? '').split(' ').filter((scope) => scope !== '')
  const missing = wanted.filter((scope) => !own.includes(scope) && !common.includes(scope))
  if (missing.length > 0) {
    throw new OAuthError('invalid_scope', 'scope must be within the scopes of this service', {
      detail: `its scope in ${setting} lacks ${missing.join(' ')}`, causeCode: 'scope_refused'
    })
  }
  const granted = own.filter((scope) => wanted.includes(scope))
  return granted.length > 0 ? granted : own
}
