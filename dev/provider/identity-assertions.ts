import { createPublicKey, randomUUID } from 'node:crypto'
import { jwtVerify } from 'jose'
import type { Context } from 'oidc-provider'
import type { EnterpriseRule } from './enterprise-rule.ts'
import { claimsOf } from './quirks.ts'
import type { DevUser } from './quirks.ts'
import { lifetime, signToken } from './signing.ts'
import { findUser, tokenIssuer } from './state.ts'
import type { ProviderState } from './state.ts'

type Errors = typeof import('oidc-provider').errors

export const ID_JAG = 'urn:ietf:params:oauth:token-type:id-jag'
const ID_TOKEN = 'urn:ietf:params:oauth:token-type:id_token'

/** Lifetime of an ID-JAG. */
const TTL_SECONDS = 300

/**
 * Exchanges the ID token of a person for an ID-JAG, with which the client gets an access token of another server
 * (draft-ietf-oauth-identity-assertion-authz-grant section 4.3). The rules decide, as in a company's provider.
 */
export async function issueIdentityAssertion (
  { oidc: { params, client } }: Context, state: ProviderState, errors: Errors
): Promise<Record<string, unknown>> {
  const { subject_token: idToken = '', subject_token_type: type, audience, resource, scope } = params
  if (type !== ID_TOKEN) throw new errors.InvalidRequest('ID tokens are exchanged for ID-JAGs')
  const user = await findPerson(idToken, client.clientId, state)
  if (user === undefined) throw new errors.InvalidRequest('Invalid token')
  const rule = state.enterpriseRules.find((candidate) => candidate.client === client.clientId &&
    isSameUrl(candidate.audience, audience) && (resource === undefined || isSameUrl(candidate.resource, resource)) &&
    (candidate.users?.includes(user.login) ?? true))
  if (rule === undefined) throw new errors.InvalidTarget()
  const granted = grantedScope(scope, rule)
  const claims = {
    iss: tokenIssuer(state),
    sub: user.login,
    aud: rule.audience,
    client_id: rule.clientIdThere,
    resource: rule.resource,
    scope: granted,
    email: claimsOf(user, new Set(['email']), state.quirks)['email'],
    ...lifetime(TTL_SECONDS),
    jti: randomUUID()
  }
  return {
    access_token: await signToken(state, claims, { typ: 'oauth-id-jag+jwt' }),
    issued_token_type: ID_JAG,
    // RFC 8693 section 2.2.1: it is no access token.
    token_type: 'N_A',
    expires_in: TTL_SECONDS,
    ...(granted !== undefined && { scope: granted })
  }
}

/** Finds the user of an ID token that this provider issued to this client. */
async function findPerson (idToken: string, clientId: string, state: ProviderState): Promise<DevUser | undefined> {
  const getKey = ({ kid }: { kid?: string }) =>
    createPublicKey({ key: { ...state.keys.find((key) => key.kid === kid) }, format: 'jwk' })
  try {
    const { payload } = await jwtVerify(idToken, getKey, { issuer: tokenIssuer(state), audience: clientId })
    return findUser(state, payload.sub!)
  } catch {
    return undefined
  }
}

/** The requested scopes that the rule allows, or all of them. */
function grantedScope (requested: string | undefined, { scopes }: EnterpriseRule): string | undefined {
  const wanted = requested?.split(' ')
  return scopes?.filter((scope) => wanted?.includes(scope) ?? true).join(' ')
}

/** Clients write the URL of a server with or without a slash at its end. */
function isSameUrl (one: string, other: string | undefined): boolean {
  return one.replace(/\/$/, '') === other?.replace(/\/$/, '')
}
