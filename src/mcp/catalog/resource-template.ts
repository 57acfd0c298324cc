import { Compile } from 'typebox/compile'
import type { ResourceTemplateDefinition } from '../../define/resource.ts'
import { parseUriTemplate } from '../../define/uri-template.ts'
import type { UriTemplate } from '../../define/uri-template.ts'
import { createCompleter } from './completion.ts'
import type { Completer } from './completion.ts'

/** A resource template that URIs are matched against (RFC 6570). */
export interface CompiledTemplate {
  definition: ResourceTemplateDefinition
  complete: Completer
  /**
   * Returns the decoded variables of a URI, or undefined if the URI is not one of this template or a variable does not
   * match the schema `params`.
   */
  match (uri: string): Record<string, string> | undefined
}

/** The longest URI to look up, in characters: matching takes time that grows with its length. */
export const MAX_URI = 8_192

/** @throws Error for a template that cannot be served */
export function compileTemplate (definition: ResourceTemplateDefinition): CompiledTemplate {
  const { uriTemplate, params } = definition
  const label = `Resource template ${uriTemplate}`
  const { names, match } = parse(uriTemplate, label)
  const prefix = uriTemplate.slice(0, uriTemplate.indexOf('{'))
  if (names.length === 0 || !/^[a-z][a-z\d+.-]*:/i.test(prefix)) {
    throw new Error(`${label} must be absolute and have variables: scheme://{name}`)
  }
  for (const name of Object.keys(params?.properties ?? {})) {
    if (!names.includes(name)) throw new Error(`${label} has params.${name}, which is none of its variables`)
  }
  const validator = params && Compile(params)

  return {
    definition,
    complete: createCompleter(label, definition, names, params, definition.complete),
    match (uri) {
      const encoded = uri.startsWith(prefix) ? match(uri) : undefined
      const values = encoded && decodeAll(encoded)
      return values === undefined || validator?.Check(values) === false ? undefined : values
    }
  }
}

function parse (uriTemplate: string, label: string): UriTemplate {
  try {
    return parseUriTemplate(uriTemplate)
  } catch (err) {
    throw new Error(`${label}: ${(err as Error).message}`, { cause: err })
  }
}

function decodeAll (encoded: ReadonlyMap<string, string>): Record<string, string> | undefined {
  const values: Record<string, string> = {}
  for (const [name, value] of encoded) {
    const decoded = decode(value)
    if (decoded === undefined) return undefined
    values[name] = decoded
  }
  return values
}

/** Decodes a variable. Control characters are refused: no name contains them, and some languages end strings at NUL. */
function decode (value: string): string | undefined {
  try {
    const decoded = decodeURIComponent(value)
    // eslint-disable-next-line no-control-regex
    return /[\u0000-\u001f\u007f]/.test(decoded) ? undefined : decoded
  } catch {
    return undefined
  }
}
