/**
 * Returns whether an object in a JSON text has a member twice. JSON.parse keeps the last one, and other parsers the
 * first: a token may say different things to its issuer and to its verifier (RFC 7519 section 4).
 *
 * @param json text that JSON.parse accepts
 */
export function hasDuplicateMembers (json: string): boolean {
  const objects: Array<Set<unknown>> = []
  for (const [token] of json.matchAll(/"(?:[^"\\]|\\.)*"(?:\s*:)?|[{}]/g)) {
    if (token === '{') objects.push(new Set())
    else if (token === '}') objects.pop()
    else if (token.endsWith(':')) {
      const [names, name] = [objects.at(-1)!, JSON.parse(token.slice(0, -1)) as unknown]
      if (names.has(name)) return true
      names.add(name)
    }
  }
  return false
}
