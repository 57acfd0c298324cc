import type { Static, TSchema } from 'typebox'
import type { Validator } from 'typebox/compile'

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
  const { instancePath, keyword, message } = validator.Errors(value)[0]!
  const place = instancePath === '' ? 'the value' : instancePath
  return `${place} ${keyword === 'boolean' ? 'is not a known member' : message}`
}

function parse (text: string): unknown {
  try {
    return JSON.parse(text)
  } catch {
    return undefined
  }
}
