import type { AccessDeniedError } from '../../../errors/sign-in-errors.ts'
import { OAuthError } from '../../../errors/oauth-error.ts'
import { checkAccess } from '../../../tokens/access-rules.ts'
import type { AccessRules } from '../../../tokens/access-rules.ts'
import type { TokenIssuer } from '../mode.ts'
import type { IssueTokenWithoutGrant } from './tokens-without-grant.ts'

export interface ClientCredentialsOptions {
  issueTokenWithoutGrant: IssueTokenWithoutGrant
  /** The rules of the ACCESS_ settings. */
  access: AccessRules
  /** OIDC_SCOPES */
  scopes: readonly string[]
}

/**
 * Makes the grant type client_credentials (RFC 6749 section 4.4): a client of OAUTH_CLIENTS acts for itself, as the
 * service that the operator wrote down. Its subject is its client id.
 */
export function createClientCredentialsGrant (
  { issueTokenWithoutGrant, access, scopes: commonScopes }: ClientCredentialsOptions
): NonNullable<TokenIssuer['clientCredentials']> {
  return async function clientCredentials ({ scope }, { id, service }) {
    if (service === undefined) throw new OAuthError('unauthorized_client', 'This client is not a service')
    const { scopes, claims } = service
    checkServiceAccess(claims, access)
    return await issueTokenWithoutGrant({
      subject: id,
      clientId: id,
      kind: 'service',
      authentication: undefined,
      grantType: 'client_credentials',
      scope: serviceScopes(scope, scopes, commonScopes).join(' '),
      identity: claims
    })
  }
}

/** A service must fulfil the access rules like a person, with the groups and claims of its entry in OAUTH_CLIENTS. */
function checkServiceAccess (claims: Readonly<Record<string, unknown>>, access: AccessRules): void {
  try {
    checkAccess(claims, access)
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
 * @throws OAuthError invalid_scope for any other scope that the service lacks
 */
function serviceScopes (
  requested: string | undefined, own: readonly string[], common: readonly string[]
): readonly string[] {
  const wanted = (requested ?? '').split(' ').filter((scope) => scope !== '')
  const missing = wanted.filter((scope) => !own.includes(scope) && !common.includes(scope))
  if (missing.length > 0) {
    throw new OAuthError('invalid_scope', 'scope must be within the scopes of this service', {
      detail: `its scope in OAUTH_CLIENTS lacks ${missing.join(' ')}`, causeCode: 'scope_refused'
    })
  }
  const granted = own.filter((scope) => wanted.includes(scope))
  return granted.length > 0 ? granted : own
}
