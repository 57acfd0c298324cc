import type { Definition } from '../../define/definition.ts'
import type { ResourceTemplateDefinition } from '../../define/resource.ts'
import { parseUriTemplate } from '../../define/uri-template.ts'
import { MAX_DEPTH, isDeeperThan } from '../../json/depth.ts'
import { checkDefinition } from '../../mcp/catalog/check-definition.ts'

/** The longest JSON of one tool, prompt or resource, in characters. */
const MAX_OFFER_CHARACTERS = 65_536

/** Limits of templates: every URI that no resource has is compared with all of them. */
export const MAX_TEMPLATES = 100
const MAX_TEMPLATE_CHARACTERS = 1_000
const MAX_TEMPLATE_VARIABLES = 32

/** Limit of the arguments of one prompt: their schema is compiled. */
const MAX_ARGUMENTS = 100

/** Returns why something cannot be offered: clients would refuse it, or it is too large to send to all of them. */
export function problemOf (definition: Definition): string | undefined {
  if (isDeeperThan(definition, MAX_DEPTH)) return `it has more than ${MAX_DEPTH} levels`
  if (JSON.stringify(definition).length > MAX_OFFER_CHARACTERS) return `it is longer than ${MAX_OFFER_CHARACTERS}`
  if (definition.kind === 'tool' && [definition.input, definition.output].some(hasExternalReference)) {
    return 'its schema refers to another document ($ref), which a client may fetch'
  }
  if (definition.kind === 'prompt' && Object.keys(definition.arguments?.properties ?? {}).length > MAX_ARGUMENTS) {
    return `it has more than ${MAX_ARGUMENTS} arguments`
  }
  try {
    if (definition.kind === 'resource-template') checkTemplateSize(definition)
    checkDefinition(definition)
    return undefined
  } catch (err) {
    return (err as Error).message
  }
}

function checkTemplateSize ({ uriTemplate }: ResourceTemplateDefinition): void {
  if (uriTemplate.length > MAX_TEMPLATE_CHARACTERS) {
    throw new Error(`the template is longer than ${MAX_TEMPLATE_CHARACTERS} characters`)
  }
  if (parseUriTemplate(uriTemplate).names.length > MAX_TEMPLATE_VARIABLES) {
    throw new Error(`the template has more than ${MAX_TEMPLATE_VARIABLES} variables`)
  }
}

/** Finds references to anything but the schema itself (JSON Schema 2020-12, section 8.2.3). */
function hasExternalReference (schema: unknown): boolean {
  if (typeof schema !== 'object' || schema === null) return false
  return Object.entries(schema).some(([name, value]) => {
    const isReference = (name === '$ref' || name === '$dynamicRef') && typeof value === 'string'
    return isReference ? !value.startsWith('#') : hasExternalReference(value)
  })
}
