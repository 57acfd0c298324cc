import { createHash } from 'node:crypto'

/** Length of names of tools and of arguments that all clients and models accept. */
export const MAX_NAME = 64
/** Members that every object has. */
const INHERITED = new Set(Object.getOwnPropertyNames(Object.prototype))

/** Chooses names that are unique, and the same in each run. */
export interface NameRegistry {
  /**
   * @param wanted any text
   * @param key what is named; the same key gets the same name
   */
  choose (wanted: string, key: string): string
}

/**
 * @param taken names in use, by their keys
 * @param reserved names that nothing gets
 */
export function createNameRegistry (
  taken: ReadonlyMap<string, string> = new Map(), reserved: readonly string[] = []
): NameRegistry {
  const names = new Map(taken)
  const used = new Set([...taken.values(), ...reserved])
  return {
    choose (wanted, key) {
      const known = names.get(key)
      if (known !== undefined) return known
      const snake = toSnakeCase(wanted)
      const name = snake.length > MAX_NAME || used.has(snake) ? withDigest(snake, key) : snake
      names.set(key, name)
      used.add(name)
      return name
    }
  }
}

/** Returns lower case words of ASCII letters and digits with `_` between them; they begin with a letter. */
export function toSnakeCase (text: string): string {
  const words = text.replace(/([a-z\d])([A-Z])/g, '$1_$2').replace(/([A-Z])([A-Z][a-z])/g, '$1_$2')
    .toLowerCase().split(/[^a-z\d]+/).filter((word) => word !== '')
  const name = words.join('_')
  return /^[a-z]/.test(name) ? name : `api_${name}`.replace(/_$/, '')
}

function withDigest (name: string, key: string): string {
  const digest = createHash('sha256').update(key).digest('hex').slice(0, 8)
  return `${name.slice(0, MAX_NAME - 9).replace(/_+$/, '')}_${digest}`
}

export function toKebabCase (snake: string): string {
  return snake.replaceAll('_', '-')
}

export function toCamelCase (snake: string): string {
  return snake.replace(/_([a-z\d])/g, (_, letter: string) => letter.toUpperCase())
}

const COMPARISONS: Record<string, string> = { '<': '_lt', '<=': '_lte', '>': '_gt', '>=': '_gte' }

/**
 * Returns the name of an argument, close to that of the parameter: models accept few characters in it.
 *
 * @param location where the parameter is, which is in front of the name if that is used already
 */
export function toArgumentName (parameter: string, location: string, used: ReadonlySet<string> = new Set()): string {
  const words = parameter.replace(/[<>]=?/g, (comparison) => COMPARISONS[comparison]!).replace(/[^\w.-]+/g, '_')
  const plain = words.replace(/^[_.-]+(?=.)|_+$/g, '').slice(0, MAX_NAME)
  const base = plain === '' || INHERITED.has(plain) ? `${location}_${plain}`.slice(0, MAX_NAME) : plain
  if (!used.has(base)) return base
  const located = `${location}_${base}`.slice(0, MAX_NAME)
  return used.has(located) ? withDigest(located, `${location} ${parameter}`) : located
}
