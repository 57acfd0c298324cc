import { InsufficientScopeError } from '../errors/bearer-error.ts'
import type { PolicyEvaluator } from '../policy/evaluator.ts'
import type { Principal } from '../tokens/principal.ts'
import type { Catalog } from './catalog/catalog.ts'

/**
 * Finds the scopes that a request's token lacks, before anything runs or streams (MCP authorization, scope challenge
 * handling). What another rule of a policy refuses does not exist for this caller, so it is not reported here.
 *
 * @param messages the messages of the request, not validated yet
 * @throws InsufficientScopeError with the missing scopes of all messages
 */
export function checkScopes (
  messages: readonly unknown[],
  principal: Principal | undefined,
  catalog: Catalog,
  policies: PolicyEvaluator
): void {
  if (principal === undefined) return
  const missing: string[] = []
  for (const message of messages) {
    const { method, params } = (message ?? {}) as { method?: unknown, params?: unknown }
    const found = method === 'subscriptions/listen'
      ? subscribedUris(params).map((uri) => catalog.resources.policyOf(uri))
      : [catalog.policyOf(method, params)]
    for (const policy of found) {
      if (policy === undefined) continue
      const { missingScopes, refusals } = policies.evaluate(policy, principal)
      if (refusals.length === 0) missing.push(...missingScopes)
    }
  }
  if (missing.length === 0) return
  throw new InsufficientScopeError(policies.stepUpScopes(principal, missing), [...new Set(missing)])
}

/** The resources that a client wants to subscribe to (MCP 2026-07-28, subscriptions). */
export function subscribedUris (params: unknown): string[] {
  const { notifications } = (params ?? {}) as { notifications?: { resourceSubscriptions?: unknown } }
  const uris = notifications?.resourceSubscriptions
  return Array.isArray(uris) ? uris.filter((uri) => typeof uri === 'string') : []
}
