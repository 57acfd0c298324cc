import type { Principal } from '../tokens/principal.ts'

/** Pairs of a scope and one that it includes (SCOPE_HIERARCHY). */
export type ScopeHierarchy = ReadonlyArray<readonly [wider: string, narrower: string]>

export type ScopeCheck = ReturnType<typeof createScopeCheck>

/** Returns a function that tells whether a principal has a scope, or one that includes it. */
export function createScopeCheck (hierarchy: ScopeHierarchy) {
  const widerScopes = new Map<string, ReadonlySet<string>>()

  function widerThan (scope: string): ReadonlySet<string> {
    let wider = widerScopes.get(scope)
    if (wider === undefined) widerScopes.set(scope, wider = collectWider(scope, hierarchy, new Set()))
    return wider
  }

  return ({ scopes }: Principal, needed: string): boolean => {
    if (scopes.has(needed)) return true
    for (const wider of widerThan(needed)) if (scopes.has(wider)) return true
    return false
  }
}

/** Adds all scopes that include a scope, directly or through others. Each is added once, so cycles end. */
function collectWider (scope: string, hierarchy: ScopeHierarchy, wider: Set<string>): Set<string> {
  for (const [wide, narrow] of hierarchy) {
    if (narrow !== scope || wider.has(wide)) continue
    wider.add(wide)
    collectWider(wide, hierarchy, wider)
  }
  return wider
}
