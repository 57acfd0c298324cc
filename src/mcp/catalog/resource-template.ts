import { Compile } from 'typebox/compile'
import type { ResourceTemplateDefinition } from '../../define/resource.ts'
import { createCompleter } from './completion.ts'
import type { Completer } from './completion.ts'
import { parseUriTemplate } from '../../define/uri-template.ts'
import type { UriPattern } from '../../define/uri-template.ts'

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
  const { names, match } = parse(uriTemplate, what)
  const prefix = uriTemplate.slice(0, uriTemplate.indexOf('{'))
  if (names.length === 0 || !/^[a-z][a-z\d+.-]*:/i.test(prefix)) throw new Error(`${what} must be absolute and have variables: scheme://{name}`)
  for (const name of Object.keys(params?.properties ?? {})) {
    if (!names.includes(name)) throw new Error(`${what} has params.${name}, which is none of its variables`)
  }
  const validator = params && Compile(params)

  return {
    definition,
    complete: createCompleter(what, names, params, definition.complete),
    match (uri) {
      const found = uri.startsWith(prefix) ? match(uri) : undefined
      if (found === undefined) return undefined
      const values: Record<string, string> = {}
      for (const [name, value] of found) {
        const decoded = decode(value)
        if (decoded === undefined) return undefined
        values[name] = decoded
      }
      return validator?.Check(values) === false ? undefined : values
    }
  }
}

function parse (uriTemplate: string, what: string): UriPattern {
  try {
    return parseUriTemplate(uriTemplate)
  } catch (err) {
    throw new Error(`${what}: ${(err as Error).message}`, { cause: err })
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
