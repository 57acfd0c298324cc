import { once } from 'node:events'
import { createServer } from 'node:net'
import type { Server } from 'node:net'

/**
 * From 12000 to 21999: below the ports that an OS gives to `listen(0)` and to outgoing connections (from 32768 or 49152
 * on), and so are those of a Redis Cluster between its nodes, which are higher by 10000.
 */
const FIRST_PORT = 12_000
const BLOCKS = 400
const BLOCK_PORTS = 25

/** Ports of a block behind its first, which is the lock. */
const USABLE_PORTS = BLOCK_PORTS - 1

let block: Promise<number> | undefined
let turn = Math.floor(Math.random() * USABLE_PORTS)

/**
 * Returns a port that nobody listens on, for what must know its port before it listens. One that the OS chooses would
 * be free only until the OS gives it to another process, so each process of the tests takes those of its own block in
 * turn.
 */
export async function freePort (): Promise<number> {
  block ??= claimBlock()
  const first = await block + 1
  for (let tries = 0; tries < USABLE_PORTS; tries++) {
    const port = first + turn++ % USABLE_PORTS
    const server = await listen(port)
    if (server === undefined) continue
    server.close()
    await once(server, 'close')
    return port
  }
  throw new Error(`Ports ${first} to ${first + USABLE_PORTS - 1} are all in use`)
}

/** Listens on the first port of a block until this process ends, so that no other process takes the block. */
async function claimBlock (): Promise<number> {
  for (let tries = 0; tries < BLOCKS; tries++) {
    const port = FIRST_PORT + (process.pid + tries) % BLOCKS * BLOCK_PORTS
    const lock = await listen(port)
    if (lock !== undefined) return port
  }
  throw new Error(`Other processes hold all blocks of ports from ${FIRST_PORT} on`)
}

/** Listens on all addresses, as what is started next may bind any of them. Returns undefined if the port is in use. */
async function listen (port: number): Promise<Server | undefined> {
  const server = createServer().unref().listen(port)
  return await once(server, 'listening').then(() => server, () => undefined)
}
