import type { Server } from 'node:http'
import type { Socket } from 'node:net'
import type { Log } from '../logging/log.ts'
import { clientAddressKey } from '../net/addresses.ts'

/** The part of all connections that one address may hold, so that nobody can lock out the others. */
const SHARE = 1 / 4
const REPORT_INTERVAL_MS = 60_000

export interface ConnectionLimitOptions {
  /** CONNECTIONS_TOTAL */
  max: number
  /** Tells a reverse proxy (TRUST_PROXY), whose connections are those of many people. */
  isProxy: (address: string) => boolean
  log: Pick<Log, 'warn'>
}

/** Limits open connections, in total and of each address (for IPv6, /64). Those beyond the limit are closed at once. */
export function limitConnections (server: Server, { max, isProxy, log }: ConnectionLimitOptions): void {
  const maxPerAddress = Math.max(1, Math.floor(max * SHARE))
  const open = new Map<string, number>()
  let reportedAt = -Infinity

  function report (address: string | undefined, reason: string): void {
    if (performance.now() - reportedAt < REPORT_INTERVAL_MS) return
    reportedAt = performance.now()
    log.warn({ event: 'connections.limited', address, reason },
      'New connections are closed: too many are open (CONNECTIONS_TOTAL, TRUST_PROXY)')
  }

  function close (key: string): void {
    const rest = open.get(key)! - 1
    if (rest === 0) open.delete(key)
    else open.set(key, rest)
  }

  server.maxConnections = max
  server.on('drop', (dropped) => { report(dropped?.remoteAddress, `${max} in total`) })
  server.on('connection', (socket: Socket) => {
    const { remoteAddress = '' } = socket
    if (isProxy(remoteAddress)) return
    const key = clientAddressKey(remoteAddress)
    const count = (open.get(key) ?? 0) + 1
    open.set(key, count)
    socket.once('close', () => { close(key) })
    if (count <= maxPerAddress) return
    report(remoteAddress, `${maxPerAddress} from one address`)
    socket.destroy()
  })
}
