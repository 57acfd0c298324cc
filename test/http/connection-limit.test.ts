import { once } from 'node:events'
import { connect } from 'node:net'
import type { Socket } from 'node:net'
import t from 'tap'
import type { Test } from 'tap'
import { startSeed } from '../support/seed.ts'
import type { TestSeed } from '../support/seed.ts'

/** Opens a connection from an address of this machine and sends a request. @returns it if it is answered */
async function open (t: Test, { url }: TestSeed, localAddress: string): Promise<Socket | undefined> {
  const socket = connect({ host: '127.0.0.1', port: Number(new URL(url).port), localAddress })
  t.teardown(() => { socket.destroy() })
  socket.on('error', () => { /* reset */ })
  socket.write('GET /health HTTP/1.1\r\nhost: localhost\r\n\r\n')
  const answered = await Promise.race([once(socket, 'data').then(() => true), once(socket, 'close').then(() => false)])
  return answered ? socket : undefined
}

t.test('one address cannot use up the connections of everybody else', async (t) => {
  const seed = await startSeed(t, { env: { CONNECTIONS_TOTAL: '8', TRUST_PROXY: '127.0.0.9' } })
  const [first, second, third] = [await open(t, seed, '127.0.0.2'), await open(t, seed, '127.0.0.2'),
    await open(t, seed, '127.0.0.2')]
  t.same([first, second, third].map((socket) => socket !== undefined), [true, true, false])
  t.ok(await open(t, seed, '127.0.0.3'), 'another address is served')

  first!.destroy()
  while (await open(t, seed, '127.0.0.2') === undefined) await new Promise((resolve) => { setImmediate(resolve) })
  t.match(seed.logs.filter(({ msg }) => msg.includes('CONNECTIONS_TOTAL')), [
    { level: 40, address: '127.0.0.2', reason: '2 from one address' }
  ], 'one line in a minute')
})

t.test('a reverse proxy may hold all connections, and no more', async (t) => {
  const seed = await startSeed(t, { env: { CONNECTIONS_TOTAL: '8', TRUST_PROXY: '127.0.0.9' } })
  for (let index = 0; index < 8; index++) t.ok(await open(t, seed, '127.0.0.9'))
  t.equal(await open(t, seed, '127.0.0.9'), undefined)
  t.match(await seed.logged(({ msg }) => msg.includes('CONNECTIONS_TOTAL')), { address: '127.0.0.9', reason: '8 in total' })
})
