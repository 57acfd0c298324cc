import type { Validator } from 'typebox/compile'

/** The most problems to name in one message. */
const MAX_PROBLEMS = 5

/** Describes why a value does not match a schema, for whoever sent the value. */
export function describeValidationError (validator: Validator, value: unknown): string {
  return validator.Errors(value)
    .slice(0, MAX_PROBLEMS)
    .map(({ instancePath, message }) => `${instancePath.slice(1) || 'they'} ${message}`)
    .join('; ')
}
