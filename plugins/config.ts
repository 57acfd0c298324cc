import type { FastifyInstance } from 'fastify'
import fp from 'fastify-plugin'
import type { Config } from '../src/config/config.ts'

declare module 'fastify' {
  interface FastifyInstance {
    config: Config
  }
}

/** Shares the checked configuration. It comes as an option: nothing below src/server.ts reads the environment. */
async function config (app: FastifyInstance, { config }: { config: Config }): Promise<void> {
  app.decorate('config', config)
}

export default fp(config, { name: 'config', fastify: '5.x' })
