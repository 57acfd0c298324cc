import type { CacheHint } from '@modelcontextprotocol/server'

/**
 * Returns for how long a result may be kept, in milliseconds, and for whom (MCP 2026-07-28, caching); undefined if it
 * says nothing, as those of 2025 do.
 */
export function readCacheHint (result: object): Required<CacheHint> | undefined {
  const { ttlMs, cacheScope } = result as { ttlMs?: unknown, cacheScope?: unknown }
  if (!Number.isSafeInteger(ttlMs) || (ttlMs as number) < 0) return undefined
  return { ttlMs: ttlMs as number, cacheScope: cacheScope === 'public' ? 'public' : 'private' }
}
