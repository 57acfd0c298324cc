import type { Policy } from '../define/policy.ts'
import { claimAt } from '../tokens/principal.ts'
import type { Principal } from '../tokens/principal.ts'

/**
 * Who may use what (src/define/policy.ts). One judgement for lists and calls: what a caller may not use does not exist
 * for them. What only lacks scopes that clients may ask for is listed, as a call of it tells the client which to ask for
 * (MCP authorization, step-up).
 */
export interface PolicyEvaluator {
  evaluate (policy: Policy, principal: Principal | undefined): Verdict
  /** Whether a caller is shown it. */
  isListed (policy: Policy, principal: Principal | undefined): boolean
  isAllowed (policy: Policy, principal: Principal | undefined): boolean
  /** All scopes that a client must ask for at once: what it has, and what is missing. */
  stepUpScopes (principal: Principal, missing: readonly string[]): string[]
}

export interface Verdict {
  /** Scopes that the token lacks. */
  missingScopes: readonly string[]
  /** What no other token of the same person would change, in words for the operator. */
  refusals: readonly string[]
}

export interface PolicyOptions {
  /** SCOPE_HIERARCHY: pairs of a scope and one that it includes. */
  hierarchy: ReadonlyArray<readonly [wider: string, narrower: string]>
  /** OIDC_SCOPES: what clients may ask for. */
  scopes: readonly string[]
}

const ALLOWED: Verdict = { missingScopes: [], refusals: [] }
const NONE: readonly string[] = []

export function hasPolicy ({ scopes = NONE, groups = NONE, claims }: Policy): boolean {
  return scopes.length > 0 || groups.length > 0 || (claims !== undefined && Object.keys(claims).length > 0)
}

export function createPolicyEvaluator ({ hierarchy, scopes: obtainable }: PolicyOptions): PolicyEvaluator {
  const widerThan = new Map<string, Set<string>>()

  function widerOf (scope: string): Set<string> {
    const known = widerThan.get(scope)
    if (known !== undefined) return known
    const wider = new Set<string>()
    collect(scope, wider)
    widerThan.set(scope, wider)
    return wider
  }

  /** A scope is added once, so a circle ends. */
  function collect (scope: string, wider: Set<string>): void {
    for (const [wide, narrow] of hierarchy) {
      if (narrow !== scope || wider.has(wide)) continue
      wider.add(wide)
      collect(wide, wider)
    }
  }

  function hasScope ({ scopes }: Principal, needed: string): boolean {
    if (scopes.has(needed)) return true
    for (const wider of widerOf(needed)) if (scopes.has(wider)) return true
    return false
  }

  function evaluate (policy: Policy, principal: Principal | undefined): Verdict {
    if (!hasPolicy(policy)) return ALLOWED
    if (principal === undefined) return { missingScopes: [], refusals: ['nobody is signed in (AUTH_REQUIRED=false)'] }
    const { scopes = NONE, groups = NONE, claims } = policy
    // The common case, on every call: nothing is collected.
    if (groups.length === 0 && claims === undefined && scopes.every((scope) => hasScope(principal, scope))) return ALLOWED
    const missingScopes = scopes.filter((scope) => !hasScope(principal, scope))
    const refusals: string[] = []
    if (groups.length > 0 && !groups.some((group) => principal.groups.includes(group))) {
      refusals.push(`the caller is in none of the groups ${groups.join(', ')}; the token says ${principal.groups.length === 0 ? 'no groups (OIDC_GROUPS_CLAIM)' : principal.groups.join(', ')}`)
    }
    for (const [name, wanted] of Object.entries(claims ?? {})) {
      const value = claimAt(principal.claims, name)
      const values: unknown[] = Array.isArray(value) ? value : [value]
      const accepted: readonly unknown[] = Array.isArray(wanted) ? wanted : [wanted]
      if (!values.some((one) => accepted.includes(one))) {
        refusals.push(`claim ${name} must be ${accepted.map((one) => JSON.stringify(one)).join(' or ')}; the token says ${value === undefined ? 'nothing of it' : JSON.stringify(value)}`)
      }
    }
    return missingScopes.length === 0 && refusals.length === 0 ? ALLOWED : { missingScopes, refusals }
  }

  return {
    evaluate,
    isListed (policy, principal) {
      const { missingScopes, refusals } = evaluate(policy, principal)
      return refusals.length === 0 && missingScopes.every((scope) => obtainable.includes(scope))
    },
    isAllowed: (policy, principal) => evaluate(policy, principal) === ALLOWED,
    stepUpScopes ({ scopes }, missing) {
      return [...new Set([...obtainable.filter((scope) => scopes.has(scope) && scope !== 'offline_access'), ...missing])]
    }
  }
}
