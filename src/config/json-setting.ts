import type { Static, TSchema } from 'typebox'
import type { Validator } from 'typebox/compile'
import type { TLocalizedValidationError } from 'typebox/error'

/** Reads a setting that is JSON; undefined if it is not, or does not match the schema. */
export function readJsonSetting<Schema extends TSchema> (
  validator: Validator<{}, Schema>, text: string | undefined
): Static<Schema> | undefined {
  const value = parse(text ?? '')
  return validator.Check(value) ? value as Static<Schema> : undefined
}

/** Returns the first reason for which `readJsonSetting` returns undefined, without repeating a value. */
export function firstJsonError (validator: Validator, text: string): string {
  const value = parse(text)
  if (value === undefined) return 'the value is not JSON'
  const errors = validator.Errors(value)
  const { instancePath, schemaPath } = errors[0]!
  const place = instancePath === '' ? 'the value' : instancePath
  const isOneOfSeveral = errors.some(({ keyword, schemaPath: union }) =>
    keyword === 'anyOf' && schemaPath.startsWith(`${union}/`))
  const alternatives = isOneOfSeveral ? errors.filter((error) => error.instancePath === instancePath) : [errors[0]!]
  return `${place} ${describe(alternatives)}`
}

/** Describes what each of several schemas wants in the same place: one of them would do. */
function describe (errors: readonly TLocalizedValidationError[]): string {
  const kinds = new Set<string>()
  const reasons = new Set<string>()
  for (const error of errors) {
    if (error.keyword === 'type') kinds.add([error.params.type].flat().join(' or '))
    else if (error.keyword === 'required') kinds.add(`object with ${error.params.requiredProperties.join(' and ')}`)
    else if (error.keyword === 'enum') reasons.add(`must be one of ${error.params.allowedValues.join(', ')}`)
    else if (error.keyword === 'boolean') reasons.add('is not a known member')
    else if (!UNION_KEYWORDS.includes(error.keyword)) reasons.add(error.message)
  }
  return [...(kinds.size > 0 ? [`must be ${[...kinds].join(', or ')}`] : []), ...reasons].join(', or ')
}

/** Errors that others explain. */
const UNION_KEYWORDS = ['anyOf', 'additionalProperties']

function parse (text: string): unknown {
  try {
    return JSON.parse(text)
  } catch {
    return undefined
  }
}
