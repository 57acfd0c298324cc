import { DefinitionError, describeDefinition } from '../../define/definition.ts'
import type { Definition } from '../../define/definition.ts'
import { checkAuthenticationPolicy } from '../../policy/authentication-policy.ts'

/**
 * Compiles all definitions of one kind.
 *
 * @param keyOf returns the name or URI that must be unique
 * @returns the compiled definitions by that key
 * @throws DefinitionError for the first definition that cannot be served
 */
export function compileDefinitions<Declared extends Definition, Compiled> (
  definitions: readonly Declared[],
  keyOf: (definition: Declared) => string,
  compile: (definition: Declared) => Compiled
): Map<string, Compiled> {
  const compiled = new Map<string, Compiled>()
  for (const definition of definitions) {
    try {
      checkAuthenticationPolicy(definition)
      const key = keyOf(definition)
      if (compiled.has(key)) throw new Error(`${describeDefinition(definition)} is defined twice`)
      compiled.set(key, compile(definition))
    } catch (err) {
      throw new DefinitionError((err as Error).message, definition, { cause: err })
    }
  }
  return compiled
}

/** Checks the name of a tool or prompt (MCP tools, tool names). @throws Error */
export function checkName (kind: 'Tool' | 'Prompt', name: string): void {
  if (/^[\w.-]{1,128}$/.test(name)) return
  throw new Error(`${kind} name ${JSON.stringify(name)} must have 1 to 128 characters: letters, digits, _, - and .`)
}
