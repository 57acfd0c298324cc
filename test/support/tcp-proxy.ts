import { once } from 'node:events'
import { connect, createServer } from 'node:net'
import type { AddressInfo, Socket } from 'node:net'
import { setTimeout as delay } from 'node:timers/promises'
import type { Test } from 'tap'

/** The state of the connection between two ends: open, delayed, silent (a lost network), or refused. */
export type Weather = 'clear' | 'blackhole' | 'cut' | { delayMs: number }

export interface TcpProxy {
  port: number
  /** From now on, for open connections too. */
  set (weather: Weather): void
  /**
   * Passes the next chunk for which this holds on to the server, and breaks its connection in place of the reply: the
   * client cannot know whether its command has run, and it has.
   */
  loseReplyTo (isMeant: (sent: string) => boolean): Promise<void>
}

/** A TCP proxy on loopback; gone with the test. */
export async function startTcpProxy (t: Test, targetPort: number): Promise<TcpProxy> {
  let weather: Weather = 'clear'
  const sockets = new Set<Socket>()
  const cleared = new Set<() => void>()
  let losing: { isMeant: (sent: string) => boolean, lost: () => void } | undefined

  /** Resolves when bytes may pass: order is kept, whatever the weather was and will be. */
  async function passage (): Promise<void> {
    if (typeof weather === 'object') await delay(weather.delayMs)
    if (weather === 'blackhole') await new Promise<void>((resolve) => { cleared.add(resolve) })
  }

  function join (client: Socket): void {
    const server = connect(targetPort, '127.0.0.1')
    /** Called when this connection's reply is lost. */
    let lost: (() => void) | undefined
    for (const [from, to] of [[client, server], [server, client]] as const) {
      let passing = Promise.resolve()
      sockets.add(from)
      from.on('data', (chunk: Buffer) => {
        const allowed = passage()
        passing = passing.then(async () => {
          await allowed
          if (from === server && lost !== undefined) {
            client.destroy()
            lost()
            return
          }
          if (from === client && losing?.isMeant(String(chunk)) === true) {
            lost = losing.lost
            losing = undefined
          }
          to.write(chunk)
        })
      })
      from.on('error', () => {})
      from.on('close', () => {
        sockets.delete(from)
        to.destroy()
      })
    }
  }

  const listener = createServer((client) => {
    if (weather === 'cut') client.destroy()
    else join(client)
  }).listen(0, '127.0.0.1')
  await once(listener, 'listening')

  function destroyAll (): void {
    for (const socket of sockets) socket.destroy()
  }

  t.teardown(() => {
    listener.close()
    destroyAll()
  })
  return {
    port: (listener.address() as AddressInfo).port,
    set (next) {
      weather = next
      if (next === 'cut') destroyAll()
      for (const resolve of cleared) resolve()
      cleared.clear()
    },
    async loseReplyTo (isMeant) {
      await new Promise<void>((resolve) => { losing = { isMeant, lost: resolve } })
    }
  }
}
