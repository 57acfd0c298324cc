import { ProtocolError, ProtocolErrorCode } from '@modelcontextprotocol/server'

/** The longest cursor to parse, in characters; a URI of a resource may be long. */
const MAX_CURSOR = 12_000

/** One page of a list (MCP, pagination). */
export interface Page<Item> {
  items: readonly Item[]
  nextCursor?: string
}

export interface PageOptions<Item> {
  /** The list's name: a cursor of another list is refused. */
  list: string
  /** Returns the name or URI that the list is sorted by. */
  nameOf: (item: Item) => string
  cursor: string | undefined
  /** Items per page (LIST_PAGE_SIZE). */
  pageSize: number
}

/**
 * Returns one page of a sorted list. A cursor holds the name of the last item before the page. So the next page is
 * right at every replica, and also if items were added or removed in between.
 *
 * @throws ProtocolError -32602 for a cursor that is not one of this list
 */
export function paginate<Item> (
  items: readonly Item[],
  { list, nameOf, cursor, pageSize }: PageOptions<Item>
): Page<Item> {
  const after = cursor === undefined ? undefined : readCursor(list, cursor)
  const start = after === undefined ? 0 : items.findIndex((item) => nameOf(item) > after)
  if (start === -1) return { items: [] }
  if (start === 0 && items.length <= pageSize) return { items }
  const page = items.slice(start, start + pageSize)
  const isLast = start + pageSize >= items.length
  return { items: page, ...(!isLast && { nextCursor: toCursor(list, nameOf(page.at(-1)!)) }) }
}

function toCursor (list: string, name: string): string {
  return Buffer.from(JSON.stringify([list, name])).toString('base64url')
}

function readCursor (list: string, cursor: string): string {
  try {
    if (cursor.length > MAX_CURSOR) throw new Error('too long')
    const [ofList, name] = JSON.parse(Buffer.from(cursor, 'base64url').toString()) as unknown[]
    if (ofList === list && typeof name === 'string') return name
  } catch {}
  throw new ProtocolError(ProtocolErrorCode.InvalidParams, 'The cursor is not one of this list')
}
