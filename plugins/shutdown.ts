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
 * Shares the graceful shutdown. Responses carry `connection: close` while the server drains, and on streams, which end
 * when the server does.
 */
async function shutdown (app: FastifyInstance): Promise<void> {
  const { delaySeconds, graceSeconds } = app.config.shutdown
  const sequence = createShutdown(app.server, delaySeconds * 1_000)
  app.decorate('shutdown', sequence)

  // Callbacks, as a promise would be a good part of what a hook costs each request.
  app.addHook('preHandler', ({ raw }, _reply, done) => {
    sequence.requestStarted(raw)
    done()
  })
  app.addHook('onResponse', ({ raw }, _reply, done) => {
    sequence.requestFinished(raw)
    done()
  })
  app.addHook('onSend', (_request, reply, payload, done) => {
    if (sequence.draining || reply.getHeader('content-type') === 'text/event-stream') {
      reply.header('connection', 'close')
    }
    done(null, payload)
  })

  app.addHook('preClose', async () => { cutStragglers(app, graceSeconds * 1_000) })
}

/** Cuts connections whose request never arrives whole, or whose client never reads: closing would wait for them. */
function cutStragglers (app: FastifyInstance, graceMs: number): void {
  setTimeout(() => { app.server.closeAllConnections() }, graceMs + 500).unref()
}

export default fp(shutdown, { name: 'shutdown', dependencies: ['config'], fastify: '5.x' })
