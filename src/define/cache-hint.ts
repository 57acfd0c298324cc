import type { CacheHint } from '@modelcontextprotocol/server'

/** Returns the hint for what is made of several results: the shortest time, and `private` if one of them is. */
export function mergeHints (
  first: Required<CacheHint>, ...others: ReadonlyArray<Required<CacheHint>>
): Required<CacheHint> {
  const hints = [first, ...others]
  const isPublic = hints.every(({ cacheScope }) => cacheScope === 'public')
  return { ttlMs: Math.min(...hints.map(({ ttlMs }) => ttlMs)), cacheScope: isPublic ? 'public' : 'private' }
}
