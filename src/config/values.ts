/** Parses the items of a list: trimmed, without empty ones. */
export function parseList (value: string, separator = ','): string[] {
  return value.split(separator).map((item) => item.trim()).filter((item) => item !== '')
}

/** Parses a comma-separated list of pairs, such as `name=value`, at the first separator of each. */
export function parsePairs (value: string, separator: string): Array<[string, string]> {
  return parseList(value).map((pair) => {
    const [first = '', ...rest] = pair.split(separator)
    return [first.trim(), rest.join(separator).trim()]
  })
}
