import type { Preset } from '../provider-presets/preset.ts'
import { JWT_BEARER } from '../oauth/protocol/grant-types.ts'
import { ACCESS_TOKEN_TYPE } from './token-response.ts'

/** A request for a token for another API on behalf of a person. */
export interface Delegation {
  /** The API's name at the provider. */
  audience: string
  /** The API's URI, for providers that tell APIs apart by it (RFC 8707 section 2, RFC 8693 section 2.1). */
  resource?: string
  /** None leaves the choice to the provider. */
  scopes: readonly string[]
}

export interface DelegationRequest {
  grantType: string
  parameters: Record<string, string>
}

/**
 * Makes the request to the token endpoint that exchanges the person's access token, in the form that the preset names.
 *
 * @param accessToken undefined for a token of Seed's own
 */
export function delegationRequest (
  form: Preset['delegation'], accessToken: string | undefined, delegation: Delegation
): DelegationRequest {
  if (accessToken === undefined) return clientCredentials(form, delegation)
  return form === 'on-behalf-of' ? onBehalfOf(accessToken, delegation) : tokenExchange(accessToken, delegation)
}

/** RFC 6749 section 4.4 */
function clientCredentials (form: Preset['delegation'], { audience, resource, scopes }: Delegation): DelegationRequest {
  // Entra knows the API by the scope alone, and gives an application all of its permissions or none.
  const parameters = form === 'on-behalf-of'
    ? { scope: `${audience}/.default` }
    : { audience, ...(resource !== undefined && { resource }), ...(scopes.length > 0 && { scope: scopes.join(' ') }) }
  return { grantType: 'client_credentials', parameters }
}

/** RFC 8693 section 2.1 */
function tokenExchange (accessToken: string, { audience, resource, scopes }: Delegation): DelegationRequest {
  return {
    grantType: 'urn:ietf:params:oauth:grant-type:token-exchange',
    parameters: {
      subject_token: accessToken,
      subject_token_type: ACCESS_TOKEN_TYPE,
      requested_token_type: ACCESS_TOKEN_TYPE,
      audience,
      ...(resource !== undefined && { resource }),
      ...(scopes.length > 0 && { scope: scopes.join(' ') })
    }
  }
}

/** Microsoft identity platform, on-behalf-of flow: no audience or resource; each scope is prefixed with its API. */
function onBehalfOf (accessToken: string, { audience, scopes }: Delegation): DelegationRequest {
  const names = scopes.length > 0 ? scopes : ['.default']
  return {
    grantType: JWT_BEARER,
    parameters: {
      assertion: accessToken,
      requested_token_use: 'on_behalf_of',
      scope: names.map((name) => name.startsWith(`${audience}/`) ? name : `${audience}/${name}`).join(' ')
    }
  }
}
