import type { IncomingMessage } from 'node:http'

/**
 * The value of a header as it came: Node's own view joins some that are doubled, and drops others.
 *
 * @param name in lower case
 * @returns undefined where there is none, null where there are several
 */
export function singleHeader ({ rawHeaders }: Pick<IncomingMessage, 'rawHeaders'>, name: string): string | null | undefined {
  let value: string | undefined
  for (let at = 0; at < rawHeaders.length; at += 2) {
    const given = rawHeaders[at]!
    if (given.length !== name.length || given.toLowerCase() !== name) continue
    if (value !== undefined) return null
    value = rawHeaders[at + 1]!
  }
  return value
}
