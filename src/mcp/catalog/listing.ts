import type { CacheHint } from '@modelcontextprotocol/server'
import { LRUCache } from 'lru-cache'
import { mergeHints } from '../../define/cache-hint.ts'
import type { ListHint } from '../../define/definition.ts'
import { policyOf } from '../../define/policy.ts'
import type { Policy } from '../../define/policy.ts'
import { deepFreeze } from '../../json/deep-freeze.ts'
import { hasPolicy } from '../../policy/evaluator.ts'
import type { PolicyEvaluator } from '../../policy/evaluator.ts'
import type { Principal } from '../../tokens/principal.ts'

/** Distinct selections to keep: each may be long, and the fast path keeps its text. */
const MAX_SELECTIONS = 100

/** The longest time for which clients may keep a list. Those that listen are notified of changes at once. */
export const LIST_TTL_MS = 60_000

export interface ListingEntry<Item> {
  /** The name or URI that the list is sorted by. */
  name: string
  item: Item
  policy: Policy
  /** What the server says whose list it comes from; undefined for what is this server's own. */
  hint?: ListHint | undefined
}

export type Listing<Item extends object> = ReturnType<typeof createListing<Item>>

/**
 * A list of tools, prompts, resources or templates, sorted by name, so that it is the same at every replica. Callers
 * see only what their policies show them.
 */
export function createListing<Item extends object> (
  entries: ReadonlyArray<ListingEntry<Item>>,
  policies: PolicyEvaluator
) {
  const sorted = [...entries].sort((a, b) => a.name < b.name ? -1 : 1)
  for (const { item } of sorted) deepFreeze(item)
  const isSameForAll = !sorted.some(({ policy }) => hasPolicy(policy))
  const ownHint = { ttlMs: LIST_TTL_MS, cacheScope: isSameForAll ? policies.cacheScope() : 'private' } as const
  const allItems = itemsOf(sorted)
  const publicItems = itemsOf(sorted.filter(({ policy }) => !hasPolicy(policy)))
  const sources = new Set(sorted.map(({ hint }) => hint).filter((hint) => hint !== undefined))
  const byPrincipal = new WeakMap<Principal, readonly Item[]>()
  // Callers are many but rules are few, so most callers see the same few selections.
  const selections = new LRUCache<string, readonly Item[]>({ max: MAX_SELECTIONS })

  function select (principal: Principal): readonly Item[] {
    const isListed = sorted.map(({ policy }) => policies.isListed(policy, principal))
    const key = isListed.map(Number).join('')
    const known = selections.get(key)
    if (known !== undefined) return known
    const items = itemsOf(sorted.filter((_entry, index) => isListed[index]))
    selections.set(key, items)
    return items
  }

  return {
    /**
     * Returns for how long clients may keep the list: no longer than those of the servers that it is made of. Shared
     * caches may keep it if all callers see the same, and nobody needs to sign in.
     */
    cacheHint: (): Required<CacheHint> => mergeHints(ownHint, ...[...sources].map((hint) => hint())),

    /** Everything that clients could notice a change of: the items and their policies. */
    all: sorted.map(({ item, policy }) => ({ item, policy: copyJson<Policy>(policyOf(policy)) })),

    /** Returns what a caller sees: frozen, and the same array for all callers who see the same. */
    visible (principal: Principal | undefined): readonly Item[] {
      if (isSameForAll) return allItems
      if (principal === undefined) return publicItems
      const known = byPrincipal.get(principal)
      if (known !== undefined) return known
      const items = select(principal)
      byPrincipal.set(principal, items)
      return items
    }
  }
}

function itemsOf<Item> (entries: ReadonlyArray<ListingEntry<Item>>): readonly Item[] {
  return Object.freeze(entries.map(({ item }) => item))
}

/** Copies what JSON can hold, without undefined members and the hidden members of schema libraries. */
export function copyJson<T> (value: unknown): T {
  return JSON.parse(JSON.stringify(value)) as T
}
