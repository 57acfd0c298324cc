import { Type } from 'typebox'

export const HealthSchema = Type.Object({
  status: Type.Literal('ok'),
  timestamp: Type.String({ format: 'date-time' })
})

const PartSchema = Type.Object({
  status: Type.Union([Type.Literal('ok'), Type.Literal('failing')]),
  reason: Type.Optional(Type.String())
})

/** Readiness, and each part that it depends on by name. `reason` explains a failing part to probes on this machine. */
export const ReadinessSchema = Type.Object({
  status: Type.Union([
    Type.Literal('ready'), Type.Literal('degraded'), Type.Literal('not ready'), Type.Literal('shutting down')
  ]),
  parts: Type.Optional(Type.Record(Type.String(), PartSchema))
})
