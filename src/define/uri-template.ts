/**
 * A URI template (RFC 6570) that is used backwards: it returns the values that a URI was made with.
 *
 * Matching takes time proportional to the length of the URI times that of the template, whatever either contains. A
 * regular expression would not: `{year}-{month}-{day}` has it try every way to split a long row of dashes.
 */
export interface UriTemplate {
  /** Names of the variables, in order. */
  readonly names: readonly string[]
  /**
   * Returns the values by name, still percent-encoded, or undefined if the URI does not match, or is too long for a
   * template of so many variables. If it matches in several ways, earlier variables get as much as possible.
   */
  match (uri: string): Map<string, string> | undefined
}

/** A piece of a template: fixed text, or a variable and the characters that its value cannot contain. */
type Part = { literal: string } | { name: string, except: string }

/** By operator (RFC 6570 section 2.2): the text before the first and each further variable, and `except` of Part. */
const OPERATORS: Readonly<Record<string, { first: string, next: string, except: string }>> = {
  '': { first: '', next: ',', except: '/,' },
  '+': { first: '', next: ',', except: '' },
  '#': { first: '#', next: ',', except: '' },
  '.': { first: '.', next: '.', except: '/,' },
  '/': { first: '/', next: '/', except: '/,' },
  '?': { first: '?', next: '&', except: '&' },
  '&': { first: '&', next: '&', except: '&' }
}

/** Limit of one match: the pieces of the template times the length of the URI. */
const MAX_STEPS = 131_072

/** Returns the text before the first variable of a template, with which each of its URIs begins. */
export function startOfTemplate (template: string): string {
  return template.split('{', 1)[0]!
}

/** @throws Error for a brace that is not part of an expression, an unknown expression, or a variable used twice */
export function parseUriTemplate (template: string): UriTemplate {
  const parts = template.split(/(\{[^{}]*\})/).flatMap((piece): Part[] =>
    piece.startsWith('{') && piece.endsWith('}') ? parseExpression(piece.slice(1, -1)) : [{ literal: piece }])
    .filter((part) => !('literal' in part) || part.literal !== '')
  if (parts.some((part) => 'literal' in part && /[{}]/.test(part.literal))) throw new Error('a brace is not closed')
  const names = parts.flatMap((part) => 'name' in part ? [part.name] : [])
  if (new Set(names).size < names.length) throw new Error('each variable must have a name of its own')
  return { names, match: (uri) => match(parts, uri) }
}

function parseExpression (expression: string): Part[] {
  const operator = /^[+#./?&]/.test(expression) ? expression.charAt(0) : ''
  const variables = expression.slice(operator.length).split(',')
  const { first, next, except } = OPERATORS[operator]!
  return variables.flatMap((variable, index): Part[] => {
    const [, name, explode] = /^(\w+)(\*?)$/.exec(variable) ?? []
    if (name === undefined) throw new Error(`{${expression}} is not understood`)
    const prefix = operator === '?' || operator === '&' ? `${name}=` : ''
    return [
      { literal: (index === 0 ? first : next) + prefix },
      { name, except: explode === '*' ? except.replace(',', '') : except }
    ]
  })
}

/**
 * Matches in two passes. From the end backwards: at which offsets of the URI can each rest of the template match? Then
 * from the start: each variable takes the longest value after which the rest still matches.
 */
function match (parts: readonly Part[], uri: string): Map<string, string> | undefined {
  if (parts.length * uri.length > MAX_STEPS) return undefined
  const matchesFrom = Array.from({ length: parts.length + 1 }, () => new Uint8Array(uri.length + 1))
  matchesFrom[parts.length]![uri.length] = 1
  for (let index = parts.length - 1; index >= 0; index--) {
    fillMatches(matchesFrom[index]!, matchesFrom[index + 1]!, parts[index]!, uri)
  }
  if (matchesFrom[0]![0] === 0) return undefined

  const values = new Map<string, string>()
  let offset = 0
  for (const [index, part] of parts.entries()) {
    if ('literal' in part) {
      offset += part.literal.length
      continue
    }
    const end = longestEnd(matchesFrom[index + 1]!, part.except, uri, offset)
    values.set(part.name, uri.slice(offset, end))
    offset = end
  }
  return values
}

/** Marks the offsets at which this part and the rest of the template match. A variable takes at least one character. */
function fillMatches (here: Uint8Array, rest: Uint8Array, part: Part, uri: string): void {
  if ('literal' in part) {
    const { literal } = part
    for (let offset = uri.length - literal.length; offset >= 0; offset--) {
      here[offset] = rest[offset + literal.length] === 1 && uri.startsWith(literal, offset) ? 1 : 0
    }
    return
  }
  for (let offset = uri.length - 1; offset >= 0; offset--) {
    const restMatches = rest[offset + 1] === 1 || here[offset + 1] === 1
    here[offset] = restMatches && !part.except.includes(uri[offset]!) ? 1 : 0
  }
}

function longestEnd (rest: Uint8Array, except: string, uri: string, offset: number): number {
  let end = offset + 1
  for (let next = end; next <= uri.length && !except.includes(uri[next - 1]!); next++) {
    if (rest[next] === 1) end = next
  }
  return end
}
