import { request } from 'node:http'
import type { IncomingMessage } from 'node:http'
import { text } from 'node:stream/consumers'
import { setTimeout as pause } from 'node:timers/promises'
import t from 'tap'
import { Type } from 'typebox'
import { defineTool } from '../../src/define/tool.ts'
import { ERAS, startOpenServer } from '../support/open-server.ts'
import type { Era, OpenServer } from '../support/open-server.ts'

/** Progress goes out at the pace of the client: a result is never lost for it, and nobody else waits. */

const INPUT = Type.Object({ rows: Type.Integer(), size: Type.Optional(Type.Integer()) })
const TOOLS = [
  defineTool({
    name: 'awaits',
    description: 'awaits each progress',
    input: INPUT,
    async handler ({ rows, size = 0 }, { progress }) {
      for (let row = 1; row <= rows; row++) await progress(row, rows, 'x'.repeat(size))
      return 'done'
    }
  }),
  defineTool({
    name: 'floods',
    description: 'awaits nothing',
    input: INPUT,
    async handler ({ rows, size = 0 }, { progress, logToClient }) {
      for (let row = 1; row <= rows; row++) {
        progress(row, rows, 'x'.repeat(size)).catch(() => {})
        logToClient('info', row).catch(() => {})
      }
      return 'done'
    }
  }),
  defineTool({
    name: 'large',
    description: 'returns much after progress',
    input: INPUT,
    async handler ({ size = 0 }, { progress }) {
      await progress(1)
      return 'x'.repeat(size)
    }
  })
]

const params = (name: string, args: object) =>
  ({ name, arguments: args, _meta: { progressToken: 'p', 'io.modelcontextprotocol/logLevel': 'info' } })

/** Calls a tool and reads nothing of its stream for a while. */
async function callSlowly (server: OpenServer, era: Era, name: string, args: object, pauseMs: number): Promise<string> {
  const { body, headers } = server.prepare(era, 'tools/call', params(name, args))
  const response = await new Promise<IncomingMessage>((resolve, reject) => {
    request(`${server.url}/mcp`, { method: 'POST', headers }, resolve).on('error', reject).end(body)
  })
  await pause(pauseMs)
  return await text(response)
}

/** The longest time for which the event loop served nobody, while work is done. */
async function longestStall (work: Promise<unknown>): Promise<number> {
  let longest = 0
  let last = performance.now()
  const timer = setInterval(() => {
    const now = performance.now()
    longest = Math.max(longest, now - last - 5)
    last = now
  }, 5)
  await work
  clearInterval(timer)
  return longest
}

for (const era of ERAS) {
  t.test(`each of 2,000 awaited reports arrives, and so does the result, ${era}`, async (t) => {
    const { send, url } = await startOpenServer(t, TOOLS)
    const calling = send(era, 'tools/call', params('awaits', { rows: 2_000 }))
    let healthy = 0
    const stall = await longestStall((async () => {
      const done = calling.then(() => true)
      while (await Promise.race([done, pause(10)]) !== true) {
        healthy += (await fetch(`${url}/health`)).status === 200 ? 1 : 0
      }
    })())
    const { notifications, response } = await calling
    t.equal(notifications.length, 2_000)
    t.match(response, { result: { content: [{ text: 'done' }] } })
    t.ok(healthy > 3, `others are served meanwhile: ${healthy} times`)
    t.ok(stall < 2_000, `the event loop was held for ${Math.round(stall)} ms at most`)
  })

  t.test(`a client that reads slowly gets everything that was awaited, and the result, ${era}`, async (t) => {
    const server = await startOpenServer(t, TOOLS)
    const received = await callSlowly(server, era, 'awaits', { rows: 800, size: 16_000 }, 300)
    t.equal(received.match(/notifications\/progress/g)?.length, 800)
    t.match(received, /"text":"done"/)
  })

  t.test(`a flood that is not awaited is thinned out, and its result arrives, ${era}`, async (t) => {
    const server = await startOpenServer(t, TOOLS)
    const received = await callSlowly(server, era, 'floods', { rows: 20_000, size: 1_000 }, 100)
    const reports = [...received.matchAll(/"progress":(\d+)/g)].map(([, row]) => Number(row))
    t.ok(reports.length > 1 && reports.length < 200, `${reports.length} reports arrive`)
    t.equal(reports.at(-1), 20_000, 'the newest is among them')
    t.match(received, /"text":"done"/)
    const { dropped, handler } = await server.logged(({ msg }) => /the handler does not await them/.test(msg))
    t.equal(handler, 'floods')
    t.ok(Number(dropped) > 30_000)
  })

  t.test(`a result of several megabytes arrives on a stream that is read late, ${era}`, async (t) => {
    const server = await startOpenServer(t, TOOLS)
    const received = await callSlowly(server, era, 'large', { rows: 1, size: 8_000_000 }, 300)
    t.ok(received.length > 8_000_000)
  })
}
