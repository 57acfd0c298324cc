import { UpstreamError } from '../../define/upstream.ts'

const INTERNAL_ERROR = -32_603

/**
 * Returns the error of a mounted server as clients get it.
 *
 * Codes from -32020 to -32099 are those of MCP itself. Clients act on them: they open the page that -32042 names, or
 * speak another revision after -32022. Only Seed sends these, so such an error keeps its message alone.
 */
export function toUpstreamError ({ code, message, data }: { code: number, message: string, data?: unknown }) {
  return code <= -32_020 && code >= -32_099
    ? new UpstreamError(INTERNAL_ERROR, message)
    : new UpstreamError(code, message, data)
}
