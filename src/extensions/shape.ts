import type { Definition } from '../define/definition.ts'

/** What each kind must have, for authors whom no compiler tells. */
const MEMBERS: Record<Definition['kind'], Record<string, 'string' | 'function' | 'object'>> = {
  tool: { name: 'string', description: 'string', input: 'object', handler: 'function' },
  prompt: { name: 'string', handler: 'function' },
  resource: { uri: 'string', name: 'string', read: 'function' },
  'resource-template': { uriTemplate: 'string', name: 'string', read: 'function' }
}

const TYPES = {
  string: { is: (value: unknown) => typeof value === 'string', called: 'text' },
  function: { is: (value: unknown) => typeof value === 'function', called: 'a function' },
  object: { is: (value: unknown) => typeof value === 'object' && value !== null, called: 'a schema' }
}

/** @throws Error where a member is missing or something else than it must be */
export function checkShape (definition: Definition): void {
  const { kind, name } = definition as { kind: Definition['kind'], name?: unknown }
  for (const [member, type] of Object.entries(MEMBERS[kind])) {
    const { is, called } = TYPES[type]
    if (!is((definition as unknown as Record<string, unknown>)[member])) throw new Error(`${kind} ${typeof name === 'string' ? JSON.stringify(name) : 'without a name'} needs ${member}: ${called}`)
  }
}
