import type { IncomingMessage, Server } from 'node:http'
import { Server as NetServer } from 'node:net'
import type { Socket } from 'node:net'
import { setImmediate as turn, setTimeout as sleep } from 'node:timers/promises'

/**
 * How a replica leaves while others go on, so that no request is lost: readiness first, then the listener, and the
 * connections that a proxy keeps for its next request last. What runs and what streams is for `app.close()`, after it.
 */
export interface Shutdown {
  /** From the signal on: readiness is off. */
  readonly shuttingDown: boolean
  /** From when the listener is closed: requests on open connections are served, each the last one of its connection. */
  readonly draining: boolean
  /** The request has arrived whole, and its handler begins. */
  requestStarted (request: IncomingMessage): void
  /** It is answered: its connection may bring another. */
  requestFinished (request: IncomingMessage): void
  /** Resolves when nothing new can come: the listener is closed, and no connection waits for a request or the rest of one. */
  drain (): Promise<void>
}

/**
 * How long a connection without a request stays open once the listener is closed. A proxy may send its next request at
 * the very moment when the connection is closed, and cannot know whether it was executed. So the proxy is to close
 * first: deploy/nginx/seed.conf keeps idle connections for half of this.
 */
export const IDLE_MS = 2_000

/** A turn of the event loop so short that hardly anybody has connected in it. */
const QUIET_MS = 0.2
const MOST_TURNS = 200

/** @param delayMs how long to go on accepting connections, for what learns of replicas by asking for their readiness */
export function createShutdown (server: Server, delayMs: number): Shutdown {
  let begun = false
  let draining = false
  /** Connections whose next request is still to come, or to be taken up. */
  const waiting = new Set<Socket>()
  let changed = (): void => {}
  let accepted = 0

  server.on('connection', (socket: Socket) => {
    accepted++
    waiting.add(socket)
    socket.once('close', () => { noLonger(socket) })
  })

  function noLonger (socket: Socket): void {
    waiting.delete(socket)
    changed()
  }

  /**
   * Who has connected but is not accepted yet would be cut off with the listener, and libuv accepts one a turn: so it is
   * closed right behind a turn that had nobody to accept. On a busy machine the last of many turns must do.
   */
  async function stopListening (): Promise<void> {
    for (let turns = 0; turns < MOST_TURNS; turns++) {
      const [before, began] = [accepted, performance.now()]
      await turn()
      if (accepted === before && performance.now() - began < QUIET_MS) break
    }
    // Not http's own close(), which cuts the idle connections too.
    NetServer.prototype.close.call(server)
  }

  /** Resolves when nobody waits any more, or has waited long enough. */
  async function allTaken (): Promise<void> {
    await new Promise<void>((resolve) => {
      const timer = setTimeout(resolve, IDLE_MS)
      changed = () => {
        if (waiting.size > 0) return
        clearTimeout(timer)
        resolve()
      }
      changed()
    })
  }

  return {
    get shuttingDown () { return begun },
    get draining () { return draining },
    requestStarted ({ socket }) { noLonger(socket) },
    requestFinished ({ socket }) { if (!socket.destroyed) waiting.add(socket) },
    async drain () {
      begun = true
      await sleep(delayMs)
      await stopListening()
      draining = true
      await allTaken()
      server.closeIdleConnections()
      // Node does not count those as idle that never sent anything.
      for (const socket of waiting) if (socket.bytesRead === 0) socket.destroy()
    }
  }
}
