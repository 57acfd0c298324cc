import type { FastifyInstance } from 'fastify'
import fp from 'fastify-plugin'
import { createShutdown } from '../src/http/shutdown.ts'
import type { Shutdown } from '../src/http/shutdown.ts'

declare module 'fastify' {
  interface FastifyInstance {
    shutdown: Shutdown
  }
}

/**
 * Shares how the server leaves, and says on each answer whether its connection may be used again: not while the server
 * leaves, and not behind a stream, which ends when the server does.
 */
async function shutdown (app: FastifyInstance): Promise<void> {
  const { delaySeconds, graceSeconds } = app.config.shutdown
  const sequence = createShutdown(app.server, delaySeconds * 1_000)
  app.decorate('shutdown', sequence)

  // Callbacks: of every request, each promise is a good part of what a hook costs.
  app.addHook('preHandler', ({ raw }, _reply, done) => {
    sequence.requestStarted(raw)
    done()
  })
  app.addHook('onResponse', ({ raw }, _reply, done) => {
    sequence.requestFinished(raw)
    done()
  })
  app.addHook('onSend', (_request, reply, payload, done) => {
    if (sequence.draining || reply.getHeader('content-type') === 'text/event-stream') reply.header('connection', 'close')
    done(null, payload)
  })

  app.addHook('preClose', async () => { cutStragglers(app, graceSeconds * 1_000) })
}

/** Closing waits for every connection; one whose request never arrives whole, or whose reader never reads, is cut when the grace is over. */
function cutStragglers (app: FastifyInstance, graceMs: number): void {
  setTimeout(() => { app.server.closeAllConnections() }, graceMs + 500).unref()
}

export default fp(shutdown, { name: 'shutdown', dependencies: ['config'], fastify: '5.x' })
