import type { IncomingMessage } from 'node:http'

/** The values of a header as they came: Node's own view joins some that are doubled, and drops others. @param name in lower case */
export function rawValues ({ rawHeaders }: Pick<IncomingMessage, 'rawHeaders'>, name: string): string[] {
  const values: string[] = []
  for (let at = 0; at < rawHeaders.length; at += 2) {
    const given = rawHeaders[at]!
    if (given.length === name.length && given.toLowerCase() === name) values.push(rawHeaders[at + 1]!)
  }
  return values
}
