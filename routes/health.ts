import type { FastifyPluginAsyncTypebox } from '@fastify/type-provider-typebox'
import type { Static } from 'typebox'
import { rejectOtherMethods } from '../src/http/method-not-allowed.ts'
import { isLocalRequest } from '../src/http/local-request.ts'
import { ErrorSchema } from '../src/schemas/common.ts'
import { HealthSchema, PartSchema, ReadinessSchema } from '../src/schemas/health.ts'

export interface HealthRouteOptions {
  /** The dependencies of this server, by name. */
  parts: Record<string, HealthPart>
  shuttingDown: () => boolean
}

export interface HealthPart {
  /** Resolves with details for probes on this machine. Rejects with the reason if the part cannot be used. */
  check: () => Promise<{ lastContact?: string | undefined } | void>
  /** Whether the server is useless without this part. Without any other part it is degraded. */
  isVital: () => boolean
}

/**
 * GET /health and /health/live: the process answers. GET /health/ready: whether to send requests to this replica.
 *
 * `degraded` is still 200: every replica misses the same part, and a load balancer that took them all out would stop
 * the requests that still work. 503 means a vital part fails, or the server is shutting down. Monitors may use HEAD.
 */
const healthRoutes: FastifyPluginAsyncTypebox<HealthRouteOptions> = async (app, { parts, shuttingDown }) => {
  const options = { config: { auth: 'public', quiet: true }, exposeHeadRoute: true } as const
  const errors = { '4xx': ErrorSchema, '5xx': ErrorSchema }
  app.addHook('preHandler', async (_request, reply) => {
    reply.header('cache-control', 'no-store')
  })

  for (const path of ['', '/live']) {
    rejectOtherMethods(app, ['GET', 'HEAD'], path)
    app.get(path, { ...options, schema: { response: { 200: HealthSchema, ...errors } } }, async () =>
      ({ status: 'ok' as const, timestamp: new Date().toISOString() }))
  }

  rejectOtherMethods(app, ['GET', 'HEAD'], '/ready')
  app.get('/ready', {
    ...options,
    schema: { response: { 200: ReadinessSchema, 503: ReadinessSchema, ...errors } }
  }, async (request, reply) => {
    if (shuttingDown()) return reply.code(503).send({ status: 'shutting down' })
    // Reasons name internal addresses. The log has them too.
    const showReasons = isLocalRequest(request.raw)
    const states = await Promise.all(Object.entries(parts).map(async ([name, { check }]) =>
      [name, await stateOf(check, showReasons)] as const))
    const failing = states.flatMap(([name, { status }]) => status === 'ok' ? [] : parts[name]!)
    const status = failing.length === 0 ? 'ready' : failing.some(({ isVital }) => isVital()) ? 'not ready' : 'degraded'
    return reply.code(status === 'not ready' ? 503 : 200).send({ status, parts: Object.fromEntries(states) })
  })
}

async function stateOf (check: HealthPart['check'], showReason: boolean): Promise<Static<typeof PartSchema>> {
  try {
    const details = await check()
    return showReason ? { status: 'ok', ...details } as Static<typeof PartSchema> : { status: 'ok' }
  } catch (err) {
    return showReason ? { status: 'failing', reason: (err as Error).message } : { status: 'failing' }
  }
}

export default healthRoutes
