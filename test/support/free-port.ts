import { once } from 'node:events'
import { createServer } from 'node:net'

/**
 * From 12000 to 21999: below the ports that an OS gives to `listen(0)` and to outgoing connections (from 32768 or 49152
 * on), and so are those of a Redis Cluster between its nodes, which are higher by 10000.
 */
const FIRST_PORT = 12_000
const BLOCKS = 400
const BLOCK_PORTS = 25

/** Processes that run at the same time have different blocks, unless their ids are a multiple of BLOCKS apart. */
const firstOfBlock = FIRST_PORT + process.pid % BLOCKS * BLOCK_PORTS
let turn = Math.floor(Math.random() * BLOCK_PORTS)

/**
 * Returns a port that nobody listens on, for what must know its port before it listens. One that the OS chooses would
 * be free only until the OS gives it to another process, so each process of the tests takes its own in turn.
 */
export async function freePort (): Promise<number> {
  for (let tries = 0; tries < BLOCK_PORTS; tries++) {
    const port = firstOfBlock + turn++ % BLOCK_PORTS
    if (await isFree(port)) return port
  }
  throw new Error(`Ports ${firstOfBlock} to ${firstOfBlock + BLOCK_PORTS - 1} are all in use`)
}

async function isFree (port: number): Promise<boolean> {
  // On all addresses: what is started next may bind any of them.
  const server = createServer().listen(port)
  const isListening = await once(server, 'listening').then(() => true, () => false)
  if (!isListening) return false
  server.close()
  await once(server, 'close')
  return true
}
