import type { Endpoint } from '../../../config/endpoints.ts'
import { OAuthError } from '../../../errors/oauth-error.ts'
import type { Grant } from './grant.ts'

/**
 * Returns the MCP endpoint that a grant is for. Grants of earlier versions are for `/mcp`.
 *
 * @throws OAuthError invalid_grant if SEED_ENDPOINTS no longer has it
 */
export function findGrantEndpoint (endpoints: readonly Endpoint[], { endpoint }: Pick<Grant, 'endpoint'>): Endpoint {
  const found = endpoints.find(({ name }) => name === endpoint)
  if (found !== undefined) return found
  throw new OAuthError('invalid_grant', 'The MCP endpoint of this sign-in no longer exists', {
    detail: `SEED_ENDPOINTS has no endpoint "${endpoint}"`, causeCode: 'grant_ended'
  })
}

/**
 * Checks that a token request asks for the resource of its grant (RFC 8707 section 2.2).
 *
 * @param target the endpoint that the request names; undefined if it names none
 * @throws OAuthError invalid_target
 */
export function checkTarget (target: Pick<Endpoint, 'name'> | undefined, { endpoint }: Pick<Grant, 'endpoint'>): void {
  if (target === undefined || target.name === endpoint) return
  throw new OAuthError('invalid_target', 'resource must be the one of the sign-in: sign in at this resource first', {
    causeCode: 'resource_wrong',
    detail: `the grant is for ${endpoint ?? 'the main endpoint'}, the request for ${target.name ?? 'the main endpoint'}`
  })
}
