/** A header that carries a secret or a token. */
interface TokenHeader {
  /** `Authorization` by default. */
  header?: string | undefined
  /** `Bearer` by default in `Authorization`, and none in other headers. */
  scheme?: string | undefined
}

/** Returns the header of a token or a secret, by its name in lower case. */
export function tokenHeader (
  { header = 'authorization', scheme = header.toLowerCase() === 'authorization' ? 'Bearer' : '' }: TokenHeader,
  token: string
): Record<string, string> {
  return { [header.toLowerCase()]: `${scheme} ${token}`.trimStart() }
}

/** Returns a URL that may be shown: a query may have a key. */
export function withoutQuery (url: string): string {
  const { origin, pathname } = new URL(url)
  return `${origin}${pathname}`
}

/** Headers of the transport, those by which it finds a request again, and that of secrets and tokens. */
const RESERVED = /^(authorization|host|accept|connection|content-.*|transfer-encoding|mcp-.*|last-event-id|seed-.*)$/

/** Tells whether Seed itself sets a header. */
export function isReservedHeader (name: string): boolean {
  return RESERVED.test(name.toLowerCase())
}
