import type { Definition } from '../define/definition.ts'

/** What the policies of all that is offered need to know of a caller. */
export interface PolicyRequirements {
  /** Scopes that clients must be able to ask for, besides OIDC_SCOPES. */
  scopes: readonly string[]
  /** Claims that access tokens must hold. */
  claims: readonly string[]
}

export const NO_REQUIREMENTS: PolicyRequirements = { scopes: [], claims: [] }

/**
 * @param hierarchy SCOPE_HIERARCHY: whoever may ask for a scope may ask for one that includes it
 * @param known OIDC_SCOPES
 */
export function requirementsOf (definitions: readonly Definition[], hierarchy: ReadonlyArray<readonly [wider: string, narrower: string]>, known: readonly string[]): PolicyRequirements {
  const scopes = new Set([...definitions.flatMap(({ scopes = [] }) => scopes), ...hierarchy.flat()])
  const claims = new Set(definitions.flatMap(({ claims = {} }) => Object.keys(claims)))
  return { scopes: [...scopes].filter((scope) => !known.includes(scope)).sort(), claims: [...claims].sort() }
}
