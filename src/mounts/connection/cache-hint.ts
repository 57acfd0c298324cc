import type { CacheHint } from '@modelcontextprotocol/server'

/** For how long a result may be kept, in milliseconds, and for whom (MCP 2026-07-28, caching). */
export type KnownCacheHint = Required<CacheHint>

/** Returns what a result says about keeping it; undefined if it says nothing, as those of 2025 do. */
export function readCacheHint (result: object): KnownCacheHint | undefined {
  const { ttlMs, cacheScope } = result as { ttlMs?: unknown, cacheScope?: unknown }
  if (!Number.isSafeInteger(ttlMs) || (ttlMs as number) < 0) return undefined
  return { ttlMs: ttlMs as number, cacheScope: cacheScope === 'public' ? 'public' : 'private' }
}

/** Returns the hint for what is made of several results: the shortest time, and nobody else's if one is private. */
export function mergeHints (hints: readonly KnownCacheHint[]): KnownCacheHint | undefined {
  if (hints.length === 0) return undefined
  const isPublic = hints.every(({ cacheScope }) => cacheScope === 'public')
  return { ttlMs: Math.min(...hints.map(({ ttlMs }) => ttlMs)), cacheScope: isPublic ? 'public' : 'private' }
}
