import { Type } from 'typebox'
import { VERSION } from '../config/version.ts'
import { defineTool } from '../define/tool.ts'

/** Checks a connection: sign-in, transport and tools work, and the result says who the server takes the caller for. */
export const seedPing = defineTool({
  name: 'seed_ping',
  title: 'Ping the Seed server',
  description: 'Checks that the Seed server answers. Returns its status, version and uptime, and who is signed in.',
  input: Type.Object({}, { additionalProperties: false }),
  output: Type.Object({
    status: Type.Literal('ok'),
    server: Type.Literal('seed'),
    version: Type.String(),
    uptimeSeconds: Type.Integer({ minimum: 0 }),
    timestamp: Type.String({ description: 'The server\'s clock, ISO 8601' }),
    caller: Type.Union([
      Type.Object({
        subject: Type.String(),
        clientId: Type.Optional(Type.String()),
        name: Type.Optional(Type.String()),
        email: Type.Optional(Type.String()),
        groups: Type.Array(Type.String()),
        scopes: Type.Array(Type.String())
      }),
      Type.Null({ description: 'The server does not require sign-in' })
    ])
  }),
  annotations: { readOnlyHint: true, idempotentHint: true, openWorldHint: false },
  handler (_input, { principal }) {
    return {
      status: 'ok' as const,
      server: 'seed' as const,
      version: VERSION,
      uptimeSeconds: Math.floor(process.uptime()),
      timestamp: new Date().toISOString(),
      caller: principal === undefined
        ? null
        : {
            subject: principal.subject,
            ...(principal.clientId !== undefined && { clientId: principal.clientId }),
            ...(principal.name !== undefined && { name: principal.name }),
            ...(principal.email !== undefined && { email: principal.email }),
            groups: [...principal.groups],
            scopes: [...principal.scopes]
          }
    }
  }
})
