/** A later version than 00 may have more at its end. */
const TRACEPARENT =
  /^\s?(?:00(?=.{53}\s?$)|(?!00|ff)[0-9a-f]{2})-(?!0{32})([0-9a-f]{32})-(?!0{16})[0-9a-f]{16}-[0-9a-f]{2}(?:-.*)?\s?$/

/** The trace id of a traceparent (W3C Trace Context, section 3.2); undefined for anything else. */
export function traceIdOf (traceparent: unknown): string | undefined {
  if (typeof traceparent !== 'string') return undefined
  return TRACEPARENT.exec(traceparent)?.[1]
}

/** The trace id of an MCP message: that of its `_meta`, or of the header of its request. */
export function messageTraceId (headers: Record<string, unknown>, body: unknown): string | undefined {
  const { params } = Object(body) as { params?: { _meta?: { traceparent?: unknown } } }
  return traceIdOf(params?._meta?.traceparent) ?? traceIdOf(headers['traceparent'])
}
