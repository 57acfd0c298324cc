import { setTimeout as sleep } from 'node:timers/promises'
import type { FastifyInstance } from 'fastify'
import fp from 'fastify-plugin'
import { createMemoryStore } from '../src/store/memory.ts'
import { createRedisStore } from '../src/store/redis.ts'
import type { Store } from '../src/store/store.ts'

declare module 'fastify' {
  interface FastifyInstance {
    store: Store
  }
}

/** How long the start waits for Redis before it goes on without. */
const FIRST_CONTACT_MS = 1_000

/** Shares the store: Redis where REDIS_URL is set, this process's memory otherwise. */
async function redis (app: FastifyInstance): Promise<void> {
  const { redisUrl, redisKeyPrefix, authRequired } = app.config
  if (redisUrl === undefined) {
    if (authRequired) app.log.warn('REDIS_URL is not set: clients are kept in this process only. They are lost when it ends, and a second replica would not know them')
    app.decorate('store', createMemoryStore())
  } else {
    app.decorate('store', createRedisStore({ url: redisUrl, keyPrefix: redisKeyPrefix, log: app.log }))
    app.addHook('onReady', async () => { await firstContact(app.store) })
  }
  app.addHook('onClose', async () => { await app.store.close() })
}

/** Connecting takes a moment: a request that came in it would be told that Redis is away. A Redis that is away does not hold up the start. */
async function firstContact (store: Store): Promise<void> {
  const until = performance.now() + FIRST_CONTACT_MS
  while (performance.now() < until && !await answers(store)) await sleep(20)
}

async function answers (store: Store): Promise<boolean> {
  return await store.ping().then(() => true, () => false)
}

export default fp(redis, { name: 'redis', dependencies: ['config'], fastify: '5.x' })
