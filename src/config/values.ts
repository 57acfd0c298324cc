/**
 * Parses the items of a list: separated, trimmed, without empty ones; or a JSON array of strings, for items that
 * contain the separator.
 */
export function parseList (value: string, separator = ','): string[] {
  return parseJsonList(value) ?? value.split(separator).map((item) => item.trim()).filter((item) => item !== '')
}

/** Returns undefined for what is no JSON array of strings that are not empty. */
export function parseJsonList (value: string): string[] | undefined {
  if (!value.trimStart().startsWith('[')) return undefined
  try {
    const items = JSON.parse(value) as unknown[]
    return items.every((item) => typeof item === 'string' && item !== '') ? items as string[] : undefined
  } catch {
    return undefined
  }
}

/** Parses a list of pairs, such as `name=value`, at the first separator of each. */
export function parsePairs (value: string, separator: string): Array<[string, string]> {
  return parseList(value).map((pair) => {
    const [first = '', ...rest] = pair.split(separator)
    return [first.trim(), rest.join(separator).trim()]
  })
}
