import { once } from 'node:events'
import { createServer } from 'node:http'
import type { RequestListener } from 'node:http'
import type { AddressInfo } from 'node:net'
import t from 'tap'
import type { Test } from 'tap'
import { freePort } from '../support/free-port.ts'
import { runCommand } from '../support/run-command.ts'
import { startSeed } from '../support/seed.ts'

async function listen (t: Test, handler: RequestListener, host: string): Promise<string> {
  const server = createServer(handler).listen(0, host)
  await once(server, 'listening')
  t.teardown(() => {
    server.closeAllConnections()
    server.close()
  })
  return String((server.address() as AddressInfo).port)
}

t.test('seed health asks the server at HOST and PORT', async (t) => {
  const { port, hostname } = new URL((await startSeed(t)).url)
  const environment = { PORT: port, HOST: hostname }
  t.match(await runCommand(['health'], environment), {
    code: 0, printed: /^http:\/\/[^/]+\/health\/live: \{"status":"ok"/, printedErrors: ''
  })
  t.match(await runCommand(['health', '--ready'], environment), { output: /\/health\/ready/ })
})

t.test('without settings it asks at the port that is Seed\'s by default', async (t) => {
  t.match(await runCommand(['health'], {}), { output: /^http:\/\/localhost:3000\/health\/live/ })
})

t.test('a server that listens on all addresses is asked on loopback', async (t) => {
  const port = await listen(t, (request, response) => { response.end(request.headers.host) }, '0.0.0.0')
  t.match(await runCommand(['health'], { PORT: port, HOST: '0.0.0.0' }), { code: 0, printed: new RegExp(`127\\.0\\.0\\.1:${port}\n$`) })
  t.match(await runCommand(['health'], { PORT: port }), { code: 0, printed: new RegExp(`localhost:${port}\n$`) })
  const port6 = await listen(t, (request, response) => { response.end(request.headers.host) }, '::')
  t.match(await runCommand(['health'], { PORT: port6, HOST: '::' }), { code: 0, printed: new RegExp(`\\[::1\\]:${port6}\n$`) })
})

t.test('a server that is not ready, absent, silent or breaks off makes the exit code 1', async (t) => {
  const port = await listen(t, (request, response) => {
    if (request.url === '/health/ready') response.writeHead(503).end('{"status":"not ready"}')
  }, '127.0.0.1')
  const environment = { PORT: port, HOST: '127.0.0.1' }
  t.match(await runCommand(['health', '--ready'], environment), {
    code: 1, printed: '', printedErrors: /\/health\/ready answered 503: \{"status":"not ready"\}\n$/
  })
  t.match(await runCommand(['health', '--timeout', '0.05'], environment), { code: 1, printedErrors: /does not answer \(nothing within 0\.05 seconds\)/ })
  t.match(await runCommand(['health'], { PORT: String(await freePort()), HOST: '127.0.0.1' }), {
    code: 1, printedErrors: /does not answer \(ECONNREFUSED\): is Seed running here, with this HOST and PORT\?\n$/
  })
  const broken = await listen(t, (_request, response) => {
    response.writeHead(200, { 'content-length': 100 }).write('{')
    setImmediate(() => { response.destroy() })
  }, '127.0.0.1')
  t.match(await runCommand(['health'], { PORT: broken, HOST: '127.0.0.1' }), { code: 1, printedErrors: /does not answer/ })
})
