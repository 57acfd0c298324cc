import { InsufficientAuthenticationError, InsufficientScopeError } from '../errors/bearer-error.ts'
import type { DemandedAuthentication } from '../errors/bearer-error.ts'
import type { Policy } from '../define/policy.ts'
import type { PolicyEvaluator } from '../policy/evaluator.ts'
import type { Principal } from '../tokens/principal.ts'
import type { Catalog } from './catalog/catalog.ts'
import { MAX_SUBSCRIPTIONS } from './sessions/session-settings.ts'

/**
 * Finds what another token of the same person would change, before anything runs or streams: scopes that the token
 * lacks (MCP authorization, scope challenge handling), and a sign-in that is too old or too weak (RFC 9470). What
 * another rule of a policy refuses does not exist for this caller, so it is not reported here.
 *
 * @param messages the messages of the request, not validated yet
 * @throws InsufficientAuthenticationError or InsufficientScopeError, with what all messages need together
 */
export function checkStepUp (
  messages: readonly unknown[],
  principal: Principal | undefined,
  catalog: Catalog,
  policies: PolicyEvaluator
): void {
  if (principal === undefined) return
  const missing: string[] = []
  const reasons: string[] = []
  const unmet: Policy[] = []
  for (const message of messages) {
    const { method, params } = (message ?? {}) as { method?: unknown, params?: unknown }
    const found = method === 'subscriptions/listen'
      ? subscribedUris(params).map((uri) => catalog.resources.policyOf(uri))
      : [catalog.policyOf(method, params)]
    for (const policy of found) {
      if (policy === undefined) continue
      const { missingScopes, unmetAuthentication, refusals } = policies.evaluate(policy, principal)
      if (refusals.length > 0) continue
      missing.push(...missingScopes)
      if (unmetAuthentication.length === 0) continue
      unmet.push(policy)
      reasons.push(...unmetAuthentication)
    }
  }
  if (unmet.length > 0) {
    const scopes = policies.stepUpScopes(principal, missing)
    throw new InsufficientAuthenticationError(toDemand(unmet), scopes, [...new Set(reasons)])
  }
  if (missing.length === 0) return
  throw new InsufficientScopeError(policies.stepUpScopes(principal, missing), [...new Set(missing)])
}

/**
 * Returns the demand of several policies in one: the shortest age, and the levels that all of them accept. Policies
 * that have no level in common need one sign-in after the other; the first is demanded.
 */
function toDemand (policies: readonly Policy[]): DemandedAuthentication {
  const ages = policies.flatMap(({ maxAge }) => maxAge ?? [])
  const levels = policies.flatMap(({ acr }) => acr === undefined ? [] : [acr])
  const common = levels[0]?.filter((value) => levels.every((accepted) => accepted.includes(value)))
  return {
    maxAge: ages.length === 0 ? undefined : Math.min(...ages),
    acr: common?.length === 0 ? levels[0] : common
  }
}

/**
 * Returns the resources that a client wants to subscribe to (MCP 2026-07-28, subscriptions), up to the limit of one
 * stream. Further ones are not honored: the acknowledgement does not name them.
 */
export function subscribedUris (params: unknown): string[] {
  const { notifications } = (params ?? {}) as { notifications?: { resourceSubscriptions?: unknown } }
  const uris = notifications?.resourceSubscriptions
  if (!Array.isArray(uris)) return []
  return [...new Set<string>(uris.filter((uri) => typeof uri === 'string'))].slice(0, MAX_SUBSCRIPTIONS)
}
