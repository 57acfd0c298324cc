import { Type } from 'typebox'
import type { Static } from 'typebox'
import { OptionalString, defineMessage } from '../store/record.ts'

/** A step as it is stored. */
const RecordedStepSchema = Type.Object({
  step: Type.String(),
  /** Milliseconds since the epoch. */
  at: Type.Number(),
  /** Duration of the request. */
  ms: Type.Number(),
  /** Id of the request, under which the log has its line. */
  request: Type.String(),
  status: Type.Integer(),
  outcome: OptionalString,
  /** OAuth's code of an error. */
  error: OptionalString,
  /** Leads to what helps (src/errors/causes.ts). */
  cause: OptionalString,
  /** The reason of an error, as the log has it. */
  reason: OptionalString,
  facts: Type.Optional(Type.Record(Type.String(), Type.String())),
  provider: Type.Optional(Type.Array(Type.Object({
    asked: Type.String(), ms: Type.Number(), problem: OptionalString
  })))
})
export type RecordedStep = Static<typeof RecordedStepSchema>

export const stepRecord = defineMessage('step of a sign-in', RecordedStepSchema)

/** Characters of a text, and of a step as a whole. */
const MAX_TEXT = 300
const MAX_STEP = 1_500

/** Encodes a step within bounds: what clients and providers send may be of any length. */
export function encodeStep (step: RecordedStep): string {
  const text = JSON.stringify(step, (_key, value: unknown) => typeof value === 'string' ? cut(value, MAX_TEXT) : value)
  if (text.length <= MAX_STEP) return text
  const { facts, provider, ...rest } = step
  return JSON.stringify(rest, (_key, value: unknown) => typeof value === 'string' ? cut(value, MAX_TEXT) : value)
}

function cut (text: string, max: number): string {
  return text.length <= max ? text : `${text.slice(0, max - 1)}…`
}
