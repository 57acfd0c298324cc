import type { Definition } from '../define/definition.ts'

type Type = 'string' | 'function' | 'object'

/** Members that each kind must have. */
const REQUIRED: Record<Definition['kind'], Record<string, Type>> = {
  tool: { name: 'string', description: 'string', input: 'object', handler: 'function' },
  prompt: { name: 'string', handler: 'function' },
  resource: { uri: 'string', name: 'string', read: 'function' },
  'resource-template': { uriTemplate: 'string', name: 'string', read: 'function' }
}

const TYPE_NAMES: Record<Type, string> = { string: 'text', function: 'a function', object: 'a schema' }

/** Checks that a definition has its required members, for authors who have no compiler. @throws Error */
export function checkShape (definition: Definition): void {
  const members = definition as unknown as Record<string, unknown>
  const name = typeof members['name'] === 'string' ? JSON.stringify(members['name']) : 'without a name'
  for (const [member, type] of Object.entries(REQUIRED[definition.kind])) {
    const value = members[member]
    // eslint-disable-next-line valid-typeof
    if (typeof value !== type || value === null) {
      throw new Error(`${definition.kind} ${name} needs ${member}: ${TYPE_NAMES[type]}`)
    }
  }
}
