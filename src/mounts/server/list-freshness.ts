import type { CacheHint } from '@modelcontextprotocol/server'
import type { ListHint } from '../../define/definition.ts'
import type { ListHints } from '../connection/lists.ts'

const DEFAULT_REFRESH_MS = 300_000
const MAX_REFRESH_MS = 900_000

/** What a server of 2025 says, as those revisions have no hints: this server's own limits hold. */
const NO_LIMITS: Required<CacheHint> = { ttlMs: Infinity, cacheScope: 'public' }

export interface ListFreshnessOptions {
  /** The operator's own time, which takes the place of what the server says. */
  refreshSeconds: number | undefined
  /** The shortest time between two fetches that the server can bring about by its hints. */
  minRefreshMs: number
}

/** For how long the lists of a mounted server may be kept: by Seed until it fetches them again, and by clients. */
export class ListFreshness {
  /** The time of the last fetch (performance.now). */
  fetchedAt = 0
  /** Hints for clients, which count the time since the lists were fetched. */
  readonly hints: Record<keyof ListHints, ListHint> = {
    tools: () => this.#hintOf('tools'),
    prompts: () => this.#hintOf('prompts'),
    resources: () => this.#hintOf('resources'),
    templates: () => this.#hintOf('templates')
  }

  readonly #options: ListFreshnessOptions
  #hints: Partial<ListHints> = {}

  constructor (options: ListFreshnessOptions) {
    this.#options = options
  }

  /** Remembers what the server says of the lists that were fetched now. */
  fetched (hints: ListHints): void {
    this.fetchedAt = performance.now()
    this.#hints = hints
  }

  /** The time after a fetch until the next one. */
  get refreshMs (): number {
    const { refreshSeconds, minRefreshMs } = this.#options
    if (refreshSeconds !== undefined) return refreshSeconds * 1_000
    const times = Object.values(this.#hints).flatMap((hint) => hint === undefined ? [] : [hint.ttlMs])
    if (times.length === 0) return DEFAULT_REFRESH_MS
    return Math.min(MAX_REFRESH_MS, Math.max(minRefreshMs, Math.min(...times)))
  }

  #hintOf (list: keyof ListHints): Required<CacheHint> {
    const { ttlMs, cacheScope } = this.#hints[list] ?? NO_LIMITS
    return { ttlMs: Math.max(0, Math.floor(ttlMs - (performance.now() - this.fetchedAt))), cacheScope }
  }
}
