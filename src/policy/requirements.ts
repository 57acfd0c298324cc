import type { Policy } from '../define/policy.ts'
import type { ScopeHierarchy } from './scope-hierarchy.ts'

/** Contents of access tokens that the policies of all definitions need. */
export interface PolicyRequirements {
  /** Scopes that clients must be able to ask for, besides OIDC_SCOPES. */
  scopes: readonly string[]
  /** Names of claims that access tokens must contain. */
  claims: readonly string[]
}

export const NO_REQUIREMENTS: PolicyRequirements = { scopes: [], claims: [] }

/**
 * Collects the scopes and claims that policies name. Scopes of the hierarchy count as well, as a client may ask for the
 * wider one.
 *
 * @param known OIDC_SCOPES
 */
export function requirementsOf (
  policies: readonly Policy[],
  hierarchy: ScopeHierarchy,
  known: readonly string[]
): PolicyRequirements {
  const scopes = new Set([...policies.flatMap(({ scopes = [] }) => scopes), ...hierarchy.flat()])
  const claims = new Set(policies.flatMap(({ claims = {} }) => Object.keys(claims)))
  return { scopes: [...scopes].filter((scope) => !known.includes(scope)).sort(), claims: [...claims].sort() }
}
