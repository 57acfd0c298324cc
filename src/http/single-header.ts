import type { IncomingMessage } from 'node:http'

/**
 * Returns the value of a header that must not be repeated. Node's `headers` would join some repeated headers and drop
 * others.
 *
 * @param name in lower case
 * @returns undefined if the header is absent, null if it is repeated
 */
export function singleHeader (
  { rawHeaders }: Pick<IncomingMessage, 'rawHeaders'>,
  name: string
): string | null | undefined {
  let value: string | undefined
  for (let index = 0; index < rawHeaders.length; index += 2) {
    const given = rawHeaders[index]!
    if (given.length !== name.length || given.toLowerCase() !== name) continue
    if (value !== undefined) return null
    value = rawHeaders[index + 1]!
  }
  return value
}
