import { createServer } from 'node:http'
import type { AddressInfo } from 'node:net'
import { monitorEventLoopDelay } from 'node:perf_hooks'

/**
 * Loaded before the server (`node --import`): answers, on a port of its own, how long the event loop was held at most
 * since the last question, and how much CPU time the process used. Requests that wait have both.
 */
const RESOLUTION_MS = 5
const delay = monitorEventLoopDelay({ resolution: RESOLUTION_MS })
delay.enable()
let cpu = process.cpuUsage()

const server = createServer((_request, response) => {
  // In a later turn: the timer that measures this one must have run.
  setTimeout(() => {
    const used = process.cpuUsage(cpu)
    response.end(JSON.stringify({ heldMs: delay.max / 1e6 - RESOLUTION_MS, cpuMs: (used.user + used.system) / 1e3 }))
    delay.reset()
    cpu = process.cpuUsage()
  }, 2 * RESOLUTION_MS)
})
server.listen(0, '127.0.0.1', () => {
  console.log(`The loop monitor listens on port ${(server.address() as AddressInfo).port}`)
})
server.unref()
