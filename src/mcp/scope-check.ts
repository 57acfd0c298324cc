import { InsufficientScopeError } from '../errors/bearer-error.ts'
import type { Principal } from '../tokens/principal.ts'
import type { Catalog } from './catalog/catalog.ts'
import type { PolicyEvaluator } from '../policy/evaluator.ts'

/**
 * What the token of a request lacks, found before anything runs or streams (MCP authorization, scope challenge handling).
 * What other rules refuse is not told of here: to this caller it does not exist.
 *
 * @param messages as they came, not yet judged
 * @throws InsufficientScopeError with the scopes of all messages
 */
export function checkScopes (messages: readonly unknown[], principal: Principal | undefined, catalog: Catalog, policies: PolicyEvaluator): void {
  if (principal === undefined) return
  const missing: string[] = []
  for (const message of messages) {
    const { method, params } = (message ?? {}) as { method?: unknown, params?: unknown }
    for (const policy of method === 'subscriptions/listen' ? subscribedPolicies(params, catalog) : [catalog.policyOf(String(method), params)]) {
      if (policy === undefined) continue
      const { missingScopes, refusals } = policies.evaluate(policy, principal)
      if (refusals.length === 0) missing.push(...missingScopes)
    }
  }
  if (missing.length > 0) throw new InsufficientScopeError(policies.stepUpScopes(principal, missing), [...new Set(missing)])
}

/** The resources that a client wants to be told of (MCP 2026-07-28, subscriptions). */
export function subscribedUris (params: unknown): string[] {
  const { notifications } = (params ?? {}) as { notifications?: { resourceSubscriptions?: unknown } }
  const uris = notifications?.resourceSubscriptions
  return Array.isArray(uris) ? uris.filter((uri) => typeof uri === 'string') : []
}

function subscribedPolicies (params: unknown, catalog: Catalog) {
  return subscribedUris(params).map((uri) => catalog.resources.policyOf(uri))
}
