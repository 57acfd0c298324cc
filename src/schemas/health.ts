import { Type } from 'typebox'

export const HealthSchema = Type.Object({
  status: Type.Literal('ok'),
  timestamp: Type.String({ format: 'date-time' })
})

export const PartSchema = Type.Object({
  status: Type.Union([Type.Literal('ok'), Type.Literal('failing')]),
  reason: Type.Optional(Type.String()),
  /** When the provider last answered. */
  lastContact: Type.Optional(Type.String({ format: 'date-time' }))
})

/** Readiness, and each part that it depends on by name. `reason` and
 * `lastContact` are for probes on this machine. */
export const ReadinessSchema = Type.Object({
  status: Type.Union([
    Type.Literal('ready'), Type.Literal('degraded'), Type.Literal('not ready'), Type.Literal('shutting down')
  ]),
  parts: Type.Optional(Type.Record(Type.String(), PartSchema))
})
