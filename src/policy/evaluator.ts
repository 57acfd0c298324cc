import type { ClaimValue, Policy } from '../define/policy.ts'
import { describeUnmetAuthentication } from '../tokens/authentication.ts'
import type { AuthenticationRequirement } from '../tokens/authentication.ts'
import { claimAt } from '../tokens/principal.ts'
import type { Principal } from '../tokens/principal.ts'
import { createScopeCheck } from './scope-hierarchy.ts'
import type { ScopeHierarchy } from './scope-hierarchy.ts'

export interface PolicyOptions {
  hierarchy: ScopeHierarchy
  /** Scopes that clients may ask for: OIDC_SCOPES, and those that policies name. */
  scopes: readonly string[]
  /** TOKEN_CLOCK_SKEW_SECONDS, for the provider's clock; none by default. */
  clockSkewSeconds?: number
  /** AUTH_REQUIRED; false by default. */
  authRequired?: boolean
  /** Wall clock in milliseconds. */
  now?: () => number
}

/** The outcome of a policy for a caller: all reasons to refuse. The caller is allowed if there are none. */
export interface Verdict {
  /** Scopes that the token lacks: another token of the same person may have them. */
  missingScopes: readonly string[]
  /** Reasons that another sign-in of the same person may change (`maxAge`, `acr`), for the operator. */
  unmetAuthentication: readonly string[]
  /** Reasons that no other token of the same person would change, for the operator. */
  refusals: readonly string[]
}

const NONE: readonly string[] = []
const ALLOWED: Verdict = { missingScopes: NONE, unmetAuthentication: NONE, refusals: NONE }

export type PolicyEvaluator = ReturnType<typeof createPolicyEvaluator>

/**
 * Decides who may use what (Policy in src/define). One decision serves lists and calls alike: what a caller may not use
 * does not exist for them. The exception is what lacks only scopes that clients may ask for, or another sign-in: it is
 * listed, because calling it tells the client what to do (MCP authorization, step-up authorization flow; RFC 9470).
 */
export function createPolicyEvaluator (options: PolicyOptions) {
  const { hierarchy, scopes: obtainable, clockSkewSeconds = 0, authRequired = false, now = Date.now } = options
  const hasScope = createScopeCheck(hierarchy)

  function evaluate (policy: Policy, principal: Principal | undefined): Verdict {
    if (!hasPolicy(policy)) return ALLOWED
    if (principal === undefined) return { ...ALLOWED, refusals: ['nobody is signed in (AUTH_REQUIRED=false)'] }
    const { scopes = NONE, groups = NONE, claims, principalKind } = policy
    // The common case, on every call, collects nothing.
    const isScopesOnly = groups.length === 0 && claims === undefined && principalKind === undefined &&
      !demandsAuthentication(policy)
    if (isScopesOnly && scopes.every((scope) => hasScope(principal, scope))) return ALLOWED
    const missingScopes = scopes.filter((scope) => !hasScope(principal, scope))
    const unmetAuthentication = unmetBy(policy, principal)
    const refusals = [
      ...checkKind(principalKind, principal), ...checkPerson(policy, principal),
      ...checkGroups(groups, principal), ...checkClaims(claims, principal)
    ]
    const isAllowed = missingScopes.length === 0 && unmetAuthentication.length === 0 && refusals.length === 0
    return isAllowed ? ALLOWED : { missingScopes, unmetAuthentication, refusals }
  }

  function unmetBy (policy: Policy, principal: Principal): readonly string[] {
    if (!demandsAuthentication(policy)) return NONE
    return describeUnmetAuthentication(policy, principal, { now: Math.floor(now() / 1_000), clockSkewSeconds })
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
     * Tells for whom clients may keep what has a policy. `public` lets any intermediary serve it to anybody (MCP
     * 2026-07-28, caching), without asking this server, which alone checks the sign-in and the rules for access.
     */
    cacheScope: (policy: Policy = {}): 'public' | 'private' => authRequired || hasPolicy(policy) ? 'private' : 'public',

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
export function hasPolicy (policy: Policy): boolean {
  const { scopes = NONE, groups = NONE, claims = {}, principalKind } = policy
  return scopes.length > 0 || groups.length > 0 || Object.keys(claims).length > 0 || principalKind !== undefined ||
    demandsAuthentication(policy)
}

/** Tells whether the person's sign-in must be recent or of a level. */
export function demandsAuthentication ({ maxAge, acr }: AuthenticationRequirement): boolean {
  return maxAge !== undefined || acr !== undefined
}

function checkKind (kind: Policy['principalKind'], principal: Principal): string[] {
  if (kind === undefined || kind === principal.kind) return []
  return [`the caller must be a ${kind}; it is a ${principal.kind}`]
}

/** A service does not sign in, so no challenge would help it. */
function checkPerson (policy: Policy, { kind }: Principal): string[] {
  if (kind === 'person' || !demandsAuthentication(policy)) return []
  return ['the caller must be a person, who can sign in again (maxAge, acr); it is a service']
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
