import { once } from 'node:events'
import { connect } from 'node:net'
import type { Socket } from 'node:net'
import t from 'tap'
import type { Test } from 'tap'
import { IDLE_MS } from '../../src/http/shutdown.ts'
import { startSeed, subscribe } from '../support/seed.ts'
import type { TestSeed } from '../support/seed.ts'

/** A connection on which answers are read one by one, as a proxy keeps it. */
async function open (
  t: Test,
  { url }: TestSeed
): Promise<{ socket: Socket; send: (text: string) => void; answer: () => Promise<string> }> {
  const socket = connect(Number(new URL(url).port), '127.0.0.1')
  t.teardown(() => { socket.destroy() })
  await once(socket, 'connect')
  const { host } = new URL(url)
  return {
    socket,
    send (text) { socket.write(text.replace('HOST', host)) },
    async answer () {
      let received = ''
      while (!/\r\n\r\n[^]*[}0]\s*$/.test(received)) received += String((await once(socket, 'data'))[0])
      return received
    }
  }
}

const get = (path: string): string => `GET ${path} HTTP/1.1\r\nHost: HOST\r\n\r\n`
const start = async (t: Test, env: Record<string, string> = {}): Promise<TestSeed> =>
  await startSeed(t, { env: { AUTH_REQUIRED: 'false', ...env } })
const closed = async (socket: Socket): Promise<void> => { if (!socket.closed) await once(socket.resume(), 'close') }

t.test('requests on open connections are served, each as the last one; readiness is off; nobody new comes in', async (t) => {
  const seed = await start(t)
  const [probe, kept] = [await open(t, seed), await open(t, seed)]
  for (const connection of [probe, kept]) {
    connection.send(get('/health/live'))
    t.match(await connection.answer(), /^HTTP\/1\.1 200[^]*\r\nconnection: keep-alive\r\n/i)
  }
  const drained = seed.app.shutdown.drain()
  while (!seed.app.shutdown.draining) await new Promise(setImmediate)
  await t.rejects(open(t, seed), { code: 'ECONNREFUSED' })
  probe.send(get('/health/ready'))
  const readiness = await probe.answer()
  t.match(readiness, /^HTTP\/1\.1 503[^]*\r\nconnection: close\r\n/i)
  t.match(readiness, '{"status":"shutting down"}')
  kept.send(get('/health/live'))
  t.match(await kept.answer(), /^HTTP\/1\.1 200[^]*\r\nconnection: close\r\n/i)
  await drained
  await Promise.all([closed(probe.socket), closed(kept.socket)])
})

t.test('a request whose rest is still on its way is waited for', async (t) => {
  const seed = await start(t)
  const half = await open(t, seed)
  const body = 'token=x&client_id=x'
  half.send(
    `POST /mcp HTTP/1.1\r\nHost: HOST\r\nContent-Type: application/json\r\nContent-Length: ${body.length}\r\nExpect: 100-continue\r\n\r\n`
  )
  await once(half.socket, 'data')
  let over = false
  const drained = seed.app.shutdown.drain().then(() => { over = true })
  while (!seed.app.shutdown.draining) await new Promise(setImmediate)
  t.equal(over, false)
  half.send(body)
  t.match(await half.answer(), /^HTTP\/1\.1 400[^]*\r\nconnection: close\r\n/i, 'it is no JSON')
  await drained
})

t.test('connections on which nothing comes are closed after a moment', async (t) => {
  const seed = await start(t)
  const [used, silent] = [await open(t, seed), await open(t, seed)]
  used.send(get('/health/live'))
  await used.answer()
  const began = performance.now()
  await seed.app.shutdown.drain()
  const took = performance.now() - began
  t.ok(took > IDLE_MS - 50, 'a proxy has time to close them first')
  await Promise.all([closed(used.socket), closed(silent.socket)])
})

t.test('who has connected but is not accepted yet is served', async (t) => {
  const seed = await start(t)
  const { host, port } = new URL(seed.url)
  const answers = Array.from({ length: 50 }, async () => {
    const socket = connect(Number(port), '127.0.0.1')
    socket.write(get('/health/live').replace('HOST', host))
    return String((await once(socket, 'data'))[0])
  })
  // The system has connected these by now; none is accepted before the next turn of the event loop.
  await new Promise(process.nextTick)
  await seed.app.shutdown.drain()
  for (const answer of await Promise.all(answers)) t.match(answer, /^HTTP\/1\.1 200/)
})

t.test('a process that is never at rest stops listening all the same', async (t) => {
  const seed = await start(t)
  let busy = true
  const keepBusy = (): void => {
    const until = performance.now() + 1
    while (performance.now() < until);
    if (busy) setImmediate(keepBusy)
  }
  keepBusy()
  await seed.app.shutdown.drain()
  busy = false
  await t.rejects(open(t, seed), { code: 'ECONNREFUSED' })
})

t.test('with a delay, readiness is off first and everything else goes on', async (t) => {
  const seed = await start(t, { SHUTDOWN_DELAY_SECONDS: '1' })
  const drained = seed.app.shutdown.drain()
  t.equal((await fetch(`${seed.url}/health/ready`, { headers: { connection: 'close' } })).status, 503)
  t.equal((await fetch(`${seed.url}/health/live`, { headers: { connection: 'close' } })).status, 200)
  await drained
  await t.rejects(fetch(`${seed.url}/health/live`))
})

t.test('no stream keeps its connection, as it ends with the server', async (t) => {
  const seed = await start(t)
  const answer = await subscribe(seed.url)
  t.equal(answer.headers.get('content-type'), 'text/event-stream')
  t.equal(answer.headers.get('connection'), 'close')
  await answer.body?.cancel()
})

t.test('closing may take as long as calls may', async (t) => {
  const { app } = await start(t, { SHUTDOWN_GRACE_SECONDS: '600' })
  t.ok(app.initialConfig.pluginTimeout! >= 610_000)
})
