import { once } from 'node:events'
import type { ServerResponse } from 'node:http'
import { setTimeout as pause } from 'node:timers/promises'
import { gzipSync } from 'node:zlib'
import { ADD, startUpstream } from './upstream.ts'

/**
 * A process to mount, `faulty-upstream.js ERA PORT`, whose tools are faults: a call of `huge_json` is answered with
 * 100 MB, and so on. `add` is sound.
 */
const [era, port] = process.argv.slice(2)
const MEGABYTES = 100
const CHUNK = Buffer.alloc(1_048_576, 'x')

/** Writes as fast as the client reads, until it goes away. */
async function writeAll (response: ServerResponse, chunks: Iterable<Buffer | string>): Promise<void> {
  const closed = once(response, 'close')
  for (const chunk of chunks) {
    if (response.destroyed) return
    if (!response.write(chunk)) {
      await Promise.race([new Promise((resolve) => { response.once('drain', resolve) }), closed])
    }
  }
  response.end()
}

function * megabytes (before: string, after: string): Iterable<Buffer | string> {
  yield before
  for (let count = 0; count < MEGABYTES; count++) yield CHUNK
  yield after
}

function * forever (text: string): Iterable<string> {
  for (;;) yield text
}

const HUGE_GZIP = gzipSync(Buffer.alloc(MEGABYTES * 1_048_576, ' '))
const JSON_TYPE = { 'content-type': 'application/json' }
const EVENTS = { 'content-type': 'text/event-stream' }

/** Each answers a call; `id` is that of the request, as JSON. */
const FAULTS: Record<string, (response: ServerResponse, id: string) => Promise<void> | void> = {
  async huge_json (response, id) {
    const before = `{"jsonrpc":"2.0","id":${id},"result":{"content":[{"type":"text","text":"`
    await writeAll(response.writeHead(200, JSON_TYPE), megabytes(before, '"}]}}'))
  },
  async huge_event (response, id) {
    const before = `data: {"jsonrpc":"2.0","id":${id},"result":{"content":[{"type":"text","text":"`
    await writeAll(response.writeHead(200, EVENTS), megabytes(before, '"}]}}\n\n'))
  },
  async huge_line (response) {
    await writeAll(response.writeHead(200, EVENTS), megabytes(': ', ''))
  },
  async huge_error (response) {
    await writeAll(response.writeHead(500, { 'content-type': 'text/plain' }), megabytes('', ''))
  },
  huge_gzip (response) {
    response.writeHead(200, { ...JSON_TYPE, 'content-encoding': 'gzip' }).end(HUGE_GZIP)
  },
  async endless_events (response) {
    await writeAll(response.writeHead(200, EVENTS), forever('data: {"jsonrpc":"2.0","method":"x"}\n\n'.repeat(1_000)))
  },
  async endless_comments (response) {
    await writeAll(response.writeHead(200, EVENTS), forever(': x\n\n'.repeat(10_000)))
  },
  deep_json (response, id) {
    const deep = '['.repeat(200_000) + ']'.repeat(200_000)
    const result = `{"resultType":"complete","content":[],"structuredContent":{"a":${deep}}}`
    response.writeHead(200, JSON_TYPE).end(`{"jsonrpc":"2.0","id":${id},"result":${result}}`)
  },
  no_json (response) { response.writeHead(200, JSON_TYPE).end('<html>') },
  half_a_body (response) {
    response.writeHead(200, { ...JSON_TYPE, 'content-length': '1000' }).write('{"jsonrpc"')
    setTimeout(() => { response.destroy() }, 20)
  },
  half_an_event (response) {
    response.writeHead(200, EVENTS).write('data: {"jsonrpc":"2.0",')
    setTimeout(() => { response.destroy() }, 20)
  },
  hang () {},
  hang_after_headers (response) { response.writeHead(200, EVENTS).flushHeaders() },
  async trickle (response) {
    response.writeHead(200, JSON_TYPE)
    while (!response.destroyed) {
      response.write(' ')
      await pause(100)
    }
  }
}

interface Message {
  method?: string
  params?: { name: string }
  id?: unknown
}

const upstream = await startUpstream({ teardown () {} }, era as 'modern' | 'session', Number(port))
upstream.tools = [ADD, ...Object.keys(FAULTS).map((name) => ({ ...ADD, name }))]
upstream.intercept = (_request, response) => {
  const { method, params, id } = (upstream.messages.pop() ?? {}) as Message
  const fault = method === 'tools/call' ? FAULTS[params!.name] : undefined
  if (fault === undefined) return false
  response.on('error', () => {})
  fault(response, JSON.stringify(id))
  return true
}
console.log('listening')
