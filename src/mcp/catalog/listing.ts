import { ProtocolError, ProtocolErrorCode } from '@modelcontextprotocol/server'
import type { Policy } from '../../define/policy.ts'
import type { Principal } from '../../tokens/principal.ts'
import { hasPolicy } from '../../policy/evaluator.ts'
import type { PolicyEvaluator } from '../../policy/evaluator.ts'
import { deepFreeze } from '../../json/deep-freeze.ts'

/**
 * What is listed, in the order of its names, which is the same at every replica. Each caller sees what they may use;
 * what a caller sees is worked out once and remembered with the caller.
 */
export interface Listing<Item extends object> {
  /** Frozen, and the same array for all who see the same: it is shared by requests, and so is what is made of it. */
  visible (principal: Principal | undefined): readonly Item[]
  /** Whether all callers see the same, so that caches may share it. */
  readonly isPublic: boolean
  /** Everything, with what decides who sees it. */
  readonly all: ReadonlyArray<{ item: Item, policy: Policy }>
}

/** What is made of one may be large. */
const MAX_SELECTIONS = 100

/** @param entries in no order */
export function createListing<Item extends object> (entries: ReadonlyArray<{ name: string, item: Item, policy: Policy }>, policies: PolicyEvaluator): Listing<Item> {
  const sorted = [...entries].sort((a, b) => a.name < b.name ? -1 : 1)
  for (const { item } of sorted) deepFreeze(item)
  const isPublic = !sorted.some(({ policy }) => hasPolicy(policy))
  const everything = Object.freeze(sorted.map(({ item }) => item))
  const open = Object.freeze(sorted.filter(({ policy }) => !hasPolicy(policy)).map(({ item }) => item))
  const seen = new WeakMap<Principal, readonly Item[]>()
  /** By which entries they have: there are few, as there are few rules, and many callers. */
  const selections = new Map<string, readonly Item[]>()

  function select (principal: Principal): readonly Item[] {
    const listed = sorted.map(({ policy }) => policies.isListed(policy, principal))
    const name = listed.map(Number).join('')
    const known = selections.get(name)
    if (known !== undefined) return known
    const items = Object.freeze(sorted.filter((_entry, index) => listed[index]).map(({ item }) => item))
    if (selections.size >= MAX_SELECTIONS) selections.clear()
    selections.set(name, items)
    return items
  }

  return {
    isPublic,
    all: sorted.map(({ item, policy: { scopes, groups, claims } }) => ({ item, policy: plain<Policy>({ scopes, groups, claims }) })),
    visible (principal) {
      if (isPublic) return everything
      if (principal === undefined) return open
      const known = seen.get(principal)
      if (known !== undefined) return known
      const items = select(principal)
      seen.set(principal, items)
      return items
    }
  }
}

/** One page of a list (MCP, pagination). */
export interface Page<Item> {
  items: readonly Item[]
  nextCursor?: string
}

/**
 * A cursor names the last item of the page before, so a page that follows is right on every replica, and also when
 * something was added or taken away meanwhile.
 *
 * @param what the list's name, so that a cursor of another list is refused
 * @throws ProtocolError -32602 for a cursor that is none of this list's
 */
export function page<Item> (what: string, items: readonly Item[], nameOf: (item: Item) => string, cursor: string | undefined, size: number): Page<Item> {
  const after = cursor === undefined ? undefined : readCursor(what, cursor)
  const start = after === undefined ? 0 : items.findIndex((item) => nameOf(item) > after)
  if (start === -1) return { items: [] }
  if (start === 0 && items.length <= size) return { items }
  const taken = items.slice(start, start + size)
  return {
    items: taken,
    ...(start + size < items.length && { nextCursor: Buffer.from(JSON.stringify([what, nameOf(taken.at(-1)!)])).toString('base64url') })
  }
}

const MAX_CURSOR = 12_000

function readCursor (what: string, cursor: string): string {
  try {
    if (cursor.length > MAX_CURSOR) throw new Error('too long')
    const [list, name] = JSON.parse(Buffer.from(cursor, 'base64url').toString()) as unknown[]
    if (list === what && typeof name === 'string') return name
  } catch {}
  throw new ProtocolError(ProtocolErrorCode.InvalidParams, 'The cursor is not one of this list')
}

/** A copy of what an author gave, without what JSON cannot hold and without a schema library's own hidden members. */
export function plain<T> (value: unknown): T {
  return JSON.parse(JSON.stringify(value)) as T
}
