import type { RequestContext } from '../../define/context.ts'
import type { RunContext } from '../../mcp/handlers/execute.ts'
import type { MountedServer } from '../server/mounted-server.ts'

/** Keys of the connection between two neighbours (MCP 2026-07-28, `_meta`). */
const RESERVED_META = 'io.modelcontextprotocol/'
const TRACE_META: readonly string[] = ['traceparent', 'tracestate']

/**
 * Returns the client's `_meta` without what belongs to its own connection: the envelope and the progress token. Where
 * Seed traces requests, the trace goes on in the header `traceparent`, with Seed's own span as the parent.
 */
export function metaOf (context: RequestContext, { isTraced }: MountedServer): Record<string, unknown> | undefined {
  const { requestMeta = {} } = context as Partial<RunContext>
  const own = Object.entries(requestMeta).filter(([name]) =>
    name !== 'progressToken' && !name.startsWith(RESERVED_META) && !(isTraced && TRACE_META.includes(name)))
  return own.length === 0 ? undefined : Object.fromEntries(own)
}

/** Returns a result without `_meta` of the connection to the mounted server, such as its name and version. */
export function withoutOwnMeta<Result extends { _meta?: Record<string, unknown> | undefined }> (
  result: Result
): Result {
  if (result._meta === undefined) return result
  const { _meta: meta, ...others } = result
  const passed = Object.entries(meta!).filter(([name]) => !name.startsWith(RESERVED_META))
  return { ...others, ...(passed.length > 0 && { _meta: Object.fromEntries(passed) }) } as Result
}
