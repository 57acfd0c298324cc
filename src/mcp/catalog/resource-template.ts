import { UriTemplate } from '@modelcontextprotocol/server'
import { Compile } from 'typebox/compile'
import type { ResourceTemplateDefinition } from '../../define/resource.ts'
import { createCompleter } from './complete.ts'
import type { Completer } from './complete.ts'

/** A template that URIs are compared with (RFC 6570). */
export interface CompiledTemplate {
  definition: ResourceTemplateDefinition
  complete: Completer
  /** The variables of a URI of this template, decoded; undefined for any other, and where a variable is not of the form of `params`. */
  match (uri: string): Record<string, string> | undefined
}

/** Longer URIs lead to nothing: comparing them takes time. */
export const MAX_URI = 8_192

/** @throws Error for a template that cannot be served */
export function compileTemplate (definition: ResourceTemplateDefinition): CompiledTemplate {
  const { uriTemplate, params } = definition
  const what = `Resource template ${uriTemplate}`
  const template = new UriTemplate(uriTemplate)
  const names = template.variableNames
  if (names.length === 0 || !/^[a-z][a-z\d+.-]*:/i.test(uriTemplate)) throw new Error(`${what} must be absolute and have variables: scheme://{name}`)
  // Of two that take everything, a machine would try all ways to divide the text between them.
  if ((uriTemplate.match(/\{[+#]/g) ?? []).length > 1) throw new Error(`${what} may have one variable with + or # at most`)
  for (const name of Object.keys(params?.properties ?? {})) {
    if (!names.includes(name)) throw new Error(`${what} has params.${name}, which is none of its variables`)
  }
  const validator = params && Compile(params)

  return {
    definition,
    complete: createCompleter(what, names, params, definition.complete),
    match (uri) {
      const found = template.match(uri)
      if (found === null) return undefined
      const values: Record<string, string> = {}
      for (const [name, value] of Object.entries(found)) {
        const decoded = decode(String(value))
        if (decoded === undefined) return undefined
        values[name] = decoded
      }
      return validator?.Check(values) === false ? undefined : values
    }
  }
}

/** Control characters are in no name of anything, and end strings in some languages. */
function decode (value: string): string | undefined {
  try {
    const decoded = decodeURIComponent(value)
    // eslint-disable-next-line no-control-regex
    return /[\u0000-\u001f\u007f]/.test(decoded) ? undefined : decoded
  } catch {
    return undefined
  }
}
