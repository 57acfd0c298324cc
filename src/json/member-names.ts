import { Type } from 'typebox'

/**
 * Names of the members of a `Type.Record`. With `Type.String()` they have the pattern `^.*$`, which a name with a line
 * break does not match, so that its value could be of any form.
 */

export const AnyName = Type.String({ pattern: '^[\\s\\S]*$' })

/** With `additionalProperties: false` an empty name is an error. */
export const NonEmptyName = Type.String({ pattern: '^[\\s\\S]+$' })
