import { Type } from 'typebox'
import type { Static } from 'typebox'

/** The result of one check. */
export const FindingSchema = Type.Object({
  /** Subject and check, such as `provider.client-authentication`. */
  check: Type.String(),
  /** `error`: it would not work. `unknown`: it could not be found out. */
  severity: Type.Union([Type.Literal('ok'), Type.Literal('warning'), Type.Literal('error'), Type.Literal('unknown')]),
  asked: Type.String(),
  answered: Type.String(),
  /** The consequence, and what to do about it. */
  meaning: Type.String(),
  /** The setting to change. */
  setting: Type.Optional(Type.String()),
  /** A value to set it to. */
  value: Type.Optional(Type.String())
}, { additionalProperties: false })

/** The output of `seed doctor --json`. */
export const ReportSchema = Type.Object({
  /** The most severe finding decides; the exit code is 0, 1 or 2. */
  result: Type.Union([Type.Literal('ok'), Type.Literal('warning'), Type.Literal('error')]),
  findings: Type.Array(FindingSchema)
}, { additionalProperties: false })

export type Finding = Static<typeof FindingSchema>
export type Report = Static<typeof ReportSchema>

/** A setting to change, and the value to try. */
export interface Remedy {
  setting?: string | undefined
  value?: string | undefined
}

export type Question = ReturnType<typeof question>

/** One question, and the finding that each kind of answer makes. */
export function question (check: string, asked: string) {
  const finding = (severity: Finding['severity']) => (
    answered: string, meaning: string, remedy: Remedy = {}
  ): Finding => ({
    check,
    severity,
    asked,
    answered,
    meaning,
    ...(remedy.setting !== undefined && { setting: remedy.setting }),
    ...(remedy.value !== undefined && { value: remedy.value })
  })
  return { ok: finding('ok'), warning: finding('warning'), error: finding('error'), unknown: finding('unknown') }
}
