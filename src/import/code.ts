import { printableJson } from '../json/printable.ts'

/**
 * An expression of the TypeScript that is written. Texts of a description are in it as `literal` only, so that nothing
 * of them is ever read as code.
 */
export type Code =
  | { kind: 'raw', source: string }
  | { kind: 'literal', text: string }
  | { kind: 'call', callee: string, args: readonly Code[] }
  | { kind: 'object', members: ReadonlyArray<readonly [name: string, value: Code]> }
  | { kind: 'array', items: readonly Code[] }

const MAX_LINE = 120
/** Characters of a word that is never broken. */
const MAX_WORD = 60
const LONG_WORD_PARTS = /[^/]{0,59}\/|[^/]{1,60}/gu
const IDENTIFIER = /^[A-Za-z_$][\w$]*$/

/** Source that this folder wrote itself: never text of a description. */
export function raw (source: string): Code {
  return { kind: 'raw', source }
}

export function literal (text: string): Code {
  return { kind: 'literal', text }
}

export function call (callee: string, ...args: Code[]): Code {
  return { kind: 'call', callee, args }
}

export function array (items: readonly Code[]): Code {
  return { kind: 'array', items }
}

/** An object with these members, but for those that are undefined. */
export function object (given: Record<string, Code | undefined> | ReadonlyArray<readonly [string, Code]>): Code {
  const entries = Array.isArray(given) ? given as Array<readonly [string, Code]> : Object.entries(given)
  const members = entries.filter((entry): entry is readonly [string, Code] => entry[1] !== undefined)
  return { kind: 'object', members }
}

/** Returns the expression of a JSON value. */
export function json (value: unknown): Code {
  if (typeof value === 'string') return literal(value)
  if (Array.isArray(value)) return array(value.map(json))
  if (typeof value !== 'object' || value === null) return raw(JSON.stringify(value))
  return object(Object.entries(value).map(([name, member]) => [name, json(member)] as const))
}

/**
 * Quotes text in single quotes. Line separators, controls and marks that turn the direction of text are escaped, so
 * that what a reader sees is what runs.
 */
export function quote (text: string): string {
  const escaped = printableJson(text).replaceAll('\u2028', '\\u2028').replaceAll('\u2029', '\\u2029')
  return `'${escaped.slice(1, -1).replaceAll('\\"', '"').replaceAll('\'', '\\\'')}'`
}

/** Reads a member of an object: `input.name`, or `input['x-name']`. */
export function member (target: string, name: string): Code {
  return raw(IDENTIFIER.test(name) ? `${target}.${name}` : `${target}[${quote(name)}]`)
}

/**
 * Prints an expression, broken into lines of at most 120 characters where its parts allow it.
 *
 * @param indent the columns in front of its lines
 * @param column the columns in front of its first line
 */
export function printCode (code: Code, indent = 0, column = indent): string {
  const flat = printFlat(code)
  // Some columns for what may follow: brackets, a comma.
  if (column + flat.length + 6 <= MAX_LINE && !isDeep(code)) return flat
  const inner = ' '.repeat(indent + 2)
  switch (code.kind) {
    case 'literal': return splitLiteral(code.text, indent + 2, column)
    case 'object': {
      const lines = code.members.map(([name, value]) => {
        const key = `${printKey(name)}: `
        return `${inner}${key}${printCode(value, indent + 2, indent + 2 + key.length)}`
      })
      return `{\n${lines.join(',\n')}\n${' '.repeat(indent)}}`
    }
    case 'array': {
      const lines = code.items.map((item) => `${inner}${printCode(item, indent + 2)}`)
      return `[\n${lines.join(',\n')}\n${' '.repeat(indent)}]`
    }
    case 'call': {
      // Arguments stay on the line of their call: an object or an array breaks inside.
      let line = `${code.callee}(`
      for (const [index, argument] of code.args.entries()) {
        if (index > 0) line += ', '
        const last = line.slice(line.lastIndexOf('\n') + 1).length
        line += printCode(argument, indent, line.includes('\n') ? last : column + line.length)
      }
      return `${line})`
    }
    case 'raw': return flat
  }
}

function printFlat (code: Code): string {
  switch (code.kind) {
    case 'raw': return code.source
    case 'literal': return quote(code.text)
    case 'call': return `${code.callee}(${code.args.map(printFlat).join(', ')})`
    case 'array': return `[${code.items.map(printFlat).join(', ')}]`
    case 'object': {
      const members = code.members.map(([name, value]) => `${printKey(name)}: ${printFlat(value)}`)
      return members.length === 0 ? '{}' : `{ ${members.join(', ')} }`
    }
  }
}

/** Whether an expression is read better with a member on each line: one that holds schemas of several members. */
function isDeep (code: Code): boolean {
  if (code.kind === 'call') return code.args.some(isDeep)
  if (code.kind === 'array') return code.items.some(isDeep)
  return code.kind === 'object' && code.members.length > 1 && code.members.some(([, value]) => value.kind === 'call')
}

/** Prints the name of a member of an object literal. */
export function printKey (name: string): string {
  // A member __proto__ in a literal would set the prototype.
  if (name === '__proto__') return '[\'__proto__\']'
  return IDENTIFIER.test(name) ? name : quote(name)
}

/** Breaks a text behind spaces, and long words behind slashes or anywhere, into literals that are joined again. */
function splitLiteral (text: string, indent: number, column: number): string {
  const parts: string[] = []
  let part = ''
  const words = text.split(/(?<= )/).flatMap((word) => word.length <= MAX_WORD ? [word] : word.match(LONG_WORD_PARTS)!)
  for (const word of words) {
    const room = MAX_LINE - (parts.length === 0 ? column : indent) - 9
    if (part !== '' && quote(part + word).length > room) {
      parts.push(part)
      part = ''
    }
    part += word
  }
  return [...parts, part].map(quote).join(` +\n${' '.repeat(indent)}`)
}
