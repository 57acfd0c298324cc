import type { Validator } from 'typebox/compile'

/** Why a value is not of the form of a schema, for whoever sent it. */
export function describeValidationError (validator: Validator, value: unknown): string {
  return validator.Errors(value).slice(0, 5).map(({ instancePath, message }) => `${instancePath.slice(1) || 'they'} ${message}`).join('; ')
}
