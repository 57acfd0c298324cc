import { once } from 'node:events'
import { request } from 'node:https'
import type { Test } from 'tap'
import { SERVER_NAME } from '../../support/nginx.ts'

/** Checks that each of three events of a stream arrives through a proxy before the server behind it sends the next. */
export async function checkEventsPassAtOnce (
  t: Test, { port, ca }: { port: number, ca: string }, path: string, sendEvent: () => void
): Promise<void> {
  const stream = request({
    host: '127.0.0.1',
    port,
    path,
    ca,
    servername: SERVER_NAME,
    headers: { host: SERVER_NAME, 'accept-encoding': 'gzip, br' }
  }).end()
  t.teardown(() => { stream.destroy() })
  const [response] = await once(stream, 'response')
  for (const number of [1, 2, 3]) {
    const [chunk] = await once(response, 'data')
    t.equal(String(chunk), `id: ${number}\n\n`)
    sendEvent()
  }
}
