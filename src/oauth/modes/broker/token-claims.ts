import { readGroups } from '../../../tokens/principal.ts'
import type { GroupOptions } from '../../../tokens/principal.ts'

/** Claims by scope (OpenID Connect Core 1.0 section 5.4), and Google's `hd`, which belongs to the address. */
const CLAIMS_OF_SCOPES = new Map([
  ['profile', ['name', 'preferred_username']],
  ['email', ['email', 'email_verified', 'hd']]
])

/**
 * Selects the claims about the person that an access token includes: those of the scopes that the person consented to.
 * Groups are always included, under one name, because they decide what the person may do here; so are claims that
 * policies of tools need.
 *
 * @param claims of the grant
 * @param scope space-separated
 */
export function tokenClaims (
  claims: Record<string, unknown>, scope: string, groupOptions: GroupOptions, policyClaims: readonly string[]
): Record<string, unknown> {
  const groups = readGroups(claims, groupOptions)
  // For a path such as `realm_access.roles` its first member is included.
  const needed = policyClaims.flatMap((name) => [name, name.split('.')[0]!])
  const granted = scope.split(' ').flatMap((name) => CLAIMS_OF_SCOPES.get(name) ?? [])
  const included = [...granted, ...needed].filter((name) => claims[name] !== undefined)
  return { ...Object.fromEntries(included.map((name) => [name, claims[name]])), ...(groups.length > 0 && { groups }) }
}
