import type { ClaimValue, Policy } from '../define/policy.ts'
import { claimAt } from '../tokens/principal.ts'
import type { Principal } from '../tokens/principal.ts'
import { createScopeCheck } from './scope-hierarchy.ts'
import type { ScopeHierarchy } from './scope-hierarchy.ts'

export interface PolicyOptions {
  hierarchy: ScopeHierarchy
  /** Scopes that clients may ask for: OIDC_SCOPES, and those that policies name. */
  scopes: readonly string[]
}

/** The outcome of a policy for a caller: all reasons to refuse. The caller is allowed if there are none. */
export interface Verdict {
  /** Scopes that the token lacks: another token of the same person may have them. */
  missingScopes: readonly string[]
  /** Reasons that no other token of the same person would change, for the operator. */
  refusals: readonly string[]
}

const ALLOWED: Verdict = { missingScopes: [], refusals: [] }
const NONE: readonly string[] = []

export type PolicyEvaluator = ReturnType<typeof createPolicyEvaluator>

/**
 * Decides who may use what (Policy in src/define). One decision serves lists and calls alike: what a caller may not use
 * does not exist for them. The exception is what lacks only scopes that clients may ask for: it is listed, because
 * calling it tells the client which scopes to ask for (MCP authorization, step-up authorization flow).
 */
export function createPolicyEvaluator ({ hierarchy, scopes: obtainable }: PolicyOptions) {
  const hasScope = createScopeCheck(hierarchy)

  function evaluate (policy: Policy, principal: Principal | undefined): Verdict {
    if (!hasPolicy(policy)) return ALLOWED
    if (principal === undefined) return { missingScopes: [], refusals: ['nobody is signed in (AUTH_REQUIRED=false)'] }
    const { scopes = NONE, groups = NONE, claims, principalKind } = policy
    // The common case, on every call, collects nothing.
    const isScopesOnly = groups.length === 0 && claims === undefined && principalKind === undefined
    if (isScopesOnly && scopes.every((scope) => hasScope(principal, scope))) return ALLOWED
    const missingScopes = scopes.filter((scope) => !hasScope(principal, scope))
    const refusals = [
      ...checkKind(principalKind, principal), ...checkGroups(groups, principal), ...checkClaims(claims, principal)
    ]
    return missingScopes.length === 0 && refusals.length === 0 ? ALLOWED : { missingScopes, refusals }
  }

  return {
    evaluate,

    /** Tells whether a caller sees the definition in lists. */
    isListed (policy: Policy, principal: Principal | undefined): boolean {
      const { missingScopes, refusals } = evaluate(policy, principal)
      return refusals.length === 0 && missingScopes.every((scope) => obtainable.includes(scope))
    },

    /** Tells whether a caller may use the definition. */
    isAllowed: (policy: Policy, principal: Principal | undefined): boolean => evaluate(policy, principal) === ALLOWED,

    /**
     * Returns the scopes for a challenge: the missing ones, and those that the token has already, as the new token
     * replaces it (MCP authorization, scope challenge handling).
     */
    stepUpScopes ({ scopes }: Principal, missing: readonly string[]): string[] {
      const kept = obtainable.filter((scope) => scopes.has(scope) && scope !== 'offline_access')
      return [...new Set([...kept, ...missing])]
    }
  }
}

/** Tells whether any rule is set. */
export function hasPolicy ({ scopes = NONE, groups = NONE, claims = {}, principalKind }: Policy): boolean {
  return scopes.length > 0 || groups.length > 0 || Object.keys(claims).length > 0 || principalKind !== undefined
}

function checkKind (kind: Policy['principalKind'], principal: Principal): string[] {
  if (kind === undefined || kind === principal.kind) return []
  return [`the caller must be a ${kind}; it is a ${principal.kind}`]
}

function checkGroups (groups: readonly string[], principal: Principal): string[] {
  if (groups.length === 0 || groups.some((group) => principal.groups.includes(group))) return []
  const actual = principal.groups.join(', ') || 'no groups (OIDC_GROUPS_CLAIM)'
  return [`the caller is in none of the groups ${groups.join(', ')}; the token has ${actual}`]
}

function checkClaims (claims: Policy['claims'] = {}, principal: Principal): string[] {
  return Object.entries(claims).flatMap(([name, expected]) => {
    const accepted: readonly unknown[] = Array.isArray(expected) ? expected : [expected as ClaimValue]
    const value = claimAt(principal.claims, name)
    const values: readonly unknown[] = Array.isArray(value) ? value : [value]
    if (values.some((one) => accepted.includes(one))) return []
    const wanted = accepted.map((one) => JSON.stringify(one)).join(' or ')
    const actual = value === undefined ? 'no such claim' : JSON.stringify(value)
    return [`claim ${name} must be ${wanted}; the token has ${actual}`]
  })
}
