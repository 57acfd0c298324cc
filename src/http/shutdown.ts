import type { IncomingMessage, Server } from 'node:http'
import { Server as NetServer } from 'node:net'
import type { Socket } from 'node:net'
import { setImmediate as nextTick, setTimeout as sleep } from 'node:timers/promises'

/**
 * Time that a connection without a request stays open once the listener is closed. A proxy may send its next request
 * at the very moment the connection closes, and cannot know whether it was executed. So the proxy must close first:
 * deploy/nginx/seed.conf keeps idle connections for half of this time.
 */
export const IDLE_MS = 2_000

/** An event-loop tick this short has hardly accepted anyone. */
const QUIET_TICK_MS = 0.2
const MAX_TICKS = 200

export type Shutdown = ReturnType<typeof createShutdown>

/**
 * Drains a replica while others go on, so that no request is lost: readiness goes off first, then the listener closes,
 * and the connections that a proxy keeps for its next request close last. Running calls and streams are left to
 * `app.close()`, which comes after it.
 *
 * @param delayMs how long to keep accepting connections while reporting not ready
 */
export function createShutdown (server: Server, delayMs: number) {
  const connections = trackIdleConnections(server)
  let shuttingDown = false
  let draining = false

  return {
    /** True from the signal on: readiness is off. */
    get shuttingDown () { return shuttingDown },
    /** True once the listener is closed: each request on an open connection is the last one of its connection. */
    get draining () { return draining },
    /** Call when a request has arrived whole and its handler starts. */
    requestStarted ({ socket }: IncomingMessage) { connections.setBusy(socket) },
    /** Call when a request is answered: its connection may bring another. */
    requestFinished ({ socket }: IncomingMessage) { if (!socket.destroyed) connections.setIdle(socket) },
    /** Resolves when nothing new can arrive: the listener is closed, and no connection waits for a request. */
    async drain (): Promise<void> {
      shuttingDown = true
      await sleep(delayMs)
      await stopListening(server, connections)
      draining = true
      await connections.allBusy(IDLE_MS)
      server.closeIdleConnections()
      // Node does not count a connection that never sent anything as idle.
      for (const socket of connections.idle()) if (socket.bytesRead === 0) socket.destroy()
    }
  }
}

/** Keeps the connections that wait for a request, or for the rest of one. */
function trackIdleConnections (server: Server) {
  const idle = new Set<Socket>()
  let accepted = 0
  let onChange = (): void => {}

  function setBusy (socket: Socket): void {
    idle.delete(socket)
    onChange()
  }

  server.on('connection', (socket: Socket) => {
    accepted++
    idle.add(socket)
    socket.once('close', () => { setBusy(socket) })
  })

  return {
    accepted: () => accepted,
    idle: () => idle,
    setBusy,
    setIdle (socket: Socket): void { idle.add(socket) },
    /** Resolves when no connection is idle, or after `timeoutMs`. */
    async allBusy (timeoutMs: number): Promise<void> {
      await new Promise<void>((resolve) => {
        const timer = setTimeout(resolve, timeoutMs)
        onChange = () => {
          if (idle.size > 0) return
          clearTimeout(timer)
          resolve()
        }
        onChange()
      })
    }
  }
}

/**
 * Closes the listener. Connections in the accept queue would be reset, and libuv accepts one per tick, so the listener
 * closes right after a tick that accepted none. On a busy machine the last of MAX_TICKS must do.
 */
async function stopListening (server: Server, { accepted }: { accepted: () => number }): Promise<void> {
  for (let ticks = 0; ticks < MAX_TICKS; ticks++) {
    const [before, startedAt] = [accepted(), performance.now()]
    await nextTick()
    if (accepted() === before && performance.now() - startedAt < QUIET_TICK_MS) break
  }
  // Not http.Server's own close(), which would cut idle connections too.
  NetServer.prototype.close.call(server)
}
