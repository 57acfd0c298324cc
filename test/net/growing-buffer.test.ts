import { once } from 'node:events'
import { createServer } from 'node:net'
import type { AddressInfo } from 'node:net'
import { setFlagsFromString } from 'node:v8'
import { runInNewContext } from 'node:vm'
import t from 'tap'
import { sendLimited } from '../../src/mounts/transport/limited-fetch.ts'
import { boundedFetch } from '../../src/net/fetch.ts'
import { GrowingBuffer } from '../../src/net/growing-buffer.ts'

setFlagsFromString('--expose-gc')
const collectGarbage = runInNewContext('gc') as () => void

function usedBytes (): number {
  collectGarbage()
  const { heapUsed, external } = process.memoryUsage()
  return heapUsed + external
}

const CHUNKS = 200_000

for (const [name, send] of [
  ['a mounted server', async (url: string) => {
    const limits = { maxBytes: CHUNKS, onTooLarge: () => {} }
    const request = { method: 'GET', headers: {}, body: null, signals: [] }
    return (await sendLimited(new URL(url), request, limits, { onData: () => false })).body.toString()
  }],
  ['the provider', async (url: string) => (await boundedFetch(url, {}, { timeoutMs: 60_000 })).body]
] as const) {
  t.test(`a response of ${name} that comes byte by byte takes no more memory than another one`, async (t) => {
    const server = createServer((socket) => {
      socket.on('data', (request) => {
        if (request.includes('GET /short')) {
          socket.end('HTTP/1.1 200 OK\r\nconnection: close\r\n\r\n')
          return
        }
        socket.write('HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n')
        socket.write('1\r\na\r\n'.repeat(CHUNKS), () => { server.emit('sent', socket) })
      })
    })
    await once(server.listen(0, '127.0.0.1'), 'listening')
    t.teardown(() => { server.close() })
    const url = `http://127.0.0.1:${(server.address() as AddressInfo).port}/`
    // The first request loads modules.
    await send(`${url}short`)
    const before = usedBytes()
    const received = send(url)
    const [socket] = await once(server, 'sent')
    // What has been sent may not have been read yet.
    await new Promise((resolve) => { setTimeout(resolve, 200) })
    const used = usedBytes() - before
    t.ok(used < 20 * CHUNKS, `${used} bytes`)
    socket.end('0\r\n\r\n')
    t.equal(await received, 'a'.repeat(CHUNKS))
  })
}

t.test('what is collected begins anew when it is taken, and changes no chunk', async (t) => {
  const buffer = new GrowingBuffer()
  t.equal(buffer.take().length, 0)
  const memory = Buffer.from('one two')
  buffer.append(memory.subarray(0, 3))
  buffer.append(Buffer.of())
  buffer.append(new TextEncoder().encode(', and'))
  buffer.append(Buffer.from(' 3'))
  buffer.append(Buffer.from(' 4'))
  t.equal(buffer.take().toString(), 'one, and 3 4')
  t.equal(memory.toString(), 'one two')
  buffer.append(memory)
  t.equal(buffer.take().toString(), 'one two')
})
