import type { FastifyInstance } from 'fastify'
import fp from 'fastify-plugin'
import { randomId } from '../src/crypto/hash.ts'
import { createMcpLimits } from '../src/limits/concurrency-and-rate-limits.ts'
import type { McpLimits } from '../src/limits/concurrency-and-rate-limits.ts'
import { createSharedCounters } from '../src/limits/shared-counters.ts'
import type { SharedCounters } from '../src/limits/shared-counters.ts'

declare module 'fastify' {
  interface FastifyInstance {
    /** The counters of mcpLimits. Whoever serves /mcp closes them, once nothing runs any more. */
    sharedCounters: SharedCounters
    /** The limits of /mcp. They know how many streams a person has open. */
    mcpLimits: McpLimits
  }
}

/** Shares what /mcp counts, over all replicas. */
async function mcpLimits (app: FastifyInstance): Promise<void> {
  const { config, store, log } = app
  const sharedCounters = createSharedCounters(store, { replicaId: randomId(9), log })
  app.decorate('sharedCounters', sharedCounters)
  app.decorate('mcpLimits', createMcpLimits(sharedCounters, config.mcp.limits))
}

export default fp(mcpLimits, { name: 'mcp-limits', dependencies: ['config', 'redis'], fastify: '5.x' })
