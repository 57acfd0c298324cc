import type { FastifyInstance } from 'fastify'
import fp from 'fastify-plugin'
import { createMemoryStore } from '../src/store/memory.ts'
import type { Store } from '../src/store/store.ts'

const IN_MEMORY = 'REDIS_URL is not set: clients and sign-ins are kept in the memory of this process. They are lost ' +
  'when it ends, and a second replica would not know them'

declare module 'fastify' {
  interface FastifyInstance {
    store: Store
  }
}

export interface RedisTimings {
  /** Time in which Redis must answer a command. */
  commandTimeoutMs?: number
}

/**
 * Shares the store: Redis where REDIS_URL is set, this process's memory otherwise. @fastify/redis waits for a ready
 * connection at boot; Seed starts, and answers what it can, while Redis is down.
 */
async function redis (app: FastifyInstance, { commandTimeoutMs }: RedisTimings): Promise<void> {
  const { authRequired, redis: { url, ...options } } = app.config
  if (url === undefined) {
    if (authRequired) app.log.warn({ event: 'store.in_memory' }, IN_MEMORY)
    app.decorate('store', watch(app, createMemoryStore({ log: app.log })))
  } else {
    // Imported only where needed: ioredis is a tenth of the start-up time.
    const { openRedisClient } = await import('../src/store/redis-client.ts')
    const { createRedisStore } = await import('../src/store/redis.ts')
    const store = createRedisStore(openRedisClient({ ...options, url, commandTimeoutMs, log: app.log }), app.log)
    app.decorate('store', watch(app, store))
    app.addHook('onReady', async () => { await app.store.ready() })
  }
  app.addHook('onClose', async () => { await app.store.close() })
}

/** Measures and traces the store, where the operator asks for it. */
function watch ({ telemetry, tracing }: FastifyInstance, store: Store): Store {
  const measured = telemetry?.watchStore(store) ?? store
  return tracing?.traceStore(measured) ?? measured
}

export default fp(redis, { name: 'redis', dependencies: ['config', 'telemetry', 'tracing'], fastify: '5.x' })
