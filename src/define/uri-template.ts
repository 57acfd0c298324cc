/**
 * URI templates (RFC 6570) read backwards: which values a URI has been made with. Time grows with the length of the URI
 * and of the template alone, whatever either says; a regular expression would try all ways to divide
 * `{year}-{month}-{day}` among a row of dashes.
 */
export interface UriPattern {
  /** Of the variables, in their order. */
  readonly names: readonly string[]
  /** The values as they stand in the URI, still encoded; undefined where it is none of this template. Of several readings the earlier variables get the most. */
  match (uri: string): Map<string, string> | undefined
}

type Part = { literal: string } | { name: string, except: string }

/** What comes before each variable of an expression, and what its value cannot contain. */
const OPERATORS: Readonly<Record<string, { first: string, next: string, except: string }>> = {
  '': { first: '', next: ',', except: '/,' },
  '+': { first: '', next: ',', except: '' },
  '#': { first: '#', next: ',', except: '' },
  '.': { first: '.', next: '.', except: '/,' },
  '/': { first: '/', next: '/', except: '/,' },
  '?': { first: '?', next: '&', except: '&' },
  '&': { first: '&', next: '&', except: '&' }
}

/** @throws Error for braces that are none of an expression */
export function parseUriTemplate (template: string): UriPattern {
  const parts = template.split(/(\{[^{}]*\})/).flatMap((piece): Part[] => piece.startsWith('{') && piece.endsWith('}') ? parseExpression(piece.slice(1, -1)) : [{ literal: piece }])
  if (parts.some((part) => 'literal' in part && /[{}]/.test(part.literal))) throw new Error('a brace is not closed')
  const names = parts.flatMap((part) => 'name' in part ? [part.name] : [])
  if (new Set(names).size < names.length) throw new Error('each variable must have a name of its own')
  return { names, match: (uri) => match(parts, uri) }
}

function parseExpression (expression: string): Part[] {
  const operator = /^[+#./?&]/.test(expression) ? expression.charAt(0) : ''
  const list = expression.slice(operator.length)
  const { first, next, except } = OPERATORS[operator]!
  return list.split(',').flatMap((item, index): Part[] => {
    const [, name, many] = /^(\w+)(\*?)$/.exec(item) ?? []
    if (name === undefined) throw new Error(`{${expression}} is not understood`)
    const named = operator === '?' || operator === '&' ? `${name}=` : ''
    return [{ literal: (index === 0 ? first : next) + named }, { name, except: many === '*' ? except.replace(',', '') : except }]
  })
}

/** From the end: where in the URI the rest of the template fits. Then from the start: what each variable holds. */
function match (parts: readonly Part[], uri: string): Map<string, string> | undefined {
  const fits: Uint8Array[] = Array.from({ length: parts.length + 1 }, () => new Uint8Array(uri.length + 1))
  fits[parts.length]![uri.length] = 1
  for (let index = parts.length - 1; index >= 0; index--) fill(fits[index]!, fits[index + 1]!, parts[index]!, uri)
  if (fits[0]![0] === 0) return undefined

  const values = new Map<string, string>()
  let at = 0
  for (const [index, part] of parts.entries()) {
    if ('literal' in part) {
      at += part.literal.length
      continue
    }
    let end = at + 1
    for (let next = end; next <= uri.length && !part.except.includes(uri[next - 1]!); next++) {
      if (fits[index + 1]![next] === 1) end = next
    }
    values.set(part.name, uri.slice(at, end))
    at = end
  }
  return values
}

/** A variable holds at least one character. */
function fill (here: Uint8Array, rest: Uint8Array, part: Part, uri: string): void {
  if ('literal' in part) {
    const { literal } = part
    for (let at = uri.length - literal.length; at >= 0; at--) here[at] = rest[at + literal.length] === 1 && uri.startsWith(literal, at) ? 1 : 0
    return
  }
  for (let at = uri.length - 1; at >= 0; at--) {
    here[at] = !part.except.includes(uri[at]!) && (rest[at + 1] === 1 || here[at + 1] === 1) ? 1 : 0
  }
}
