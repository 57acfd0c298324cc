import type { FastifyPluginAsyncTypebox } from '@fastify/type-provider-typebox'
import { rejectOtherMethods } from '../src/http/method-not-allowed.ts'
import { HealthSchema, ReadinessSchema } from '../src/schemas/health.ts'

export interface HealthRouteOptions {
  /** What Seed depends on, by name. */
  parts: Record<string, HealthPart>
  /** Whether the server was told to stop. */
  leaving: () => boolean
}

export interface HealthPart {
  /** Rejects with the reason while it cannot be used. */
  check: () => Promise<void>
  /** Without it the server is of no use to anybody. Without one that is not, some of its work goes on. */
  vital: boolean
}

/**
 * GET /health and /health/live: the process answers. GET /health/ready: requests may be sent to it. Where only a part of
 * its work goes on it is `degraded`, and still 200: a load balancer that took all replicas out, because of what all of
 * them miss, would stop the rest too. 503 names what is missing, or says that the server leaves.
 * Monitors like to send HEAD, so that is served too.
 */
const healthRoutes: FastifyPluginAsyncTypebox<HealthRouteOptions> = async (app, { parts, leaving }) => {
  const config = { auth: 'public', quiet: true } as const
  for (const path of ['', '/live', '/ready']) rejectOtherMethods(app, ['GET', 'HEAD'], path, { preflight: false })

  for (const path of ['', '/live']) {
    app.get(path, { config, exposeHeadRoute: true, schema: { response: { 200: HealthSchema } } }, async (_request, reply) =>
      reply.header('cache-control', 'no-store').send({ status: 'ok', timestamp: new Date().toISOString() }))
  }

  app.get('/ready', { config, exposeHeadRoute: true, schema: { response: { 200: ReadinessSchema, 503: ReadinessSchema } } }, async (_request, reply) => {
    if (leaving()) return reply.code(503).header('cache-control', 'no-store').send({ status: 'shutting down' })
    const states = await Promise.all(Object.entries(parts).map(async ([name, { check }]) => [name, await state(check)] as const))
    const failing = states.flatMap(([name, { status }]) => status === 'ok' ? [] : parts[name]!)
    const status = failing.length === 0 ? 'ready' : failing.some(({ vital }) => vital) ? 'not ready' : 'degraded'
    return reply.code(status === 'not ready' ? 503 : 200).header('cache-control', 'no-store')
      .send({ status, parts: Object.fromEntries(states) })
  })
}

async function state (check: () => Promise<void>): Promise<{ status: 'ok' | 'failing', reason?: string }> {
  try {
    await check()
    return { status: 'ok' }
  } catch (err) {
    return { status: 'failing', reason: (err as Error).message }
  }
}

export default healthRoutes
