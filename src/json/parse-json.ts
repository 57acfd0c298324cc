import type { Static, TSchema } from 'typebox'
import type { Validator } from 'typebox/compile'

/**
 * Parses JSON from outside: a message of a channel, a record of the store.
 *
 * @returns undefined where the text is not JSON, or does not match the schema
 */
export function parseJson<Schema extends TSchema> (
  validator: Validator<{}, Schema>, text: string
): Static<Schema> | undefined {
  try {
    const value: unknown = JSON.parse(text)
    return validator.Check(value) ? value as Static<Schema> : undefined
  } catch {
    return undefined
  }
}
