import { OAuthError } from '../../../errors/oauth-error.ts'
import type { AccessRules } from '../../../tokens/access-rules.ts'
import type { TokenIssuer } from '../mode.ts'
import { checkServiceAccess, serviceScopes } from './service-access.ts'
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
  return async function clientCredentials ({ scope, endpoint }, { id, service }) {
    if (service === undefined) throw new OAuthError('unauthorized_client', 'This client is not a service')
    const { scopes, claims } = service
    checkServiceAccess(claims, access, endpoint)
    const common = [...commonScopes, ...endpoint.scopes]
    return await issueTokenWithoutGrant({
      resource: endpoint.resource,
      subject: id,
      clientId: id,
      kind: 'service',
      authentication: undefined,
      grantType: 'client_credentials',
      scope: serviceScopes(scope, scopes, { common, setting: 'OAUTH_CLIENTS' }).join(' '),
      identity: claims
    })
  }
}
