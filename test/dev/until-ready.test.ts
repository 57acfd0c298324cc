import { createServer } from 'node:http'
import type { AddressInfo } from 'node:net'
import t from 'tap'
import { untilReady } from '../../dev/development.ts'

t.test('what to do next is printed when people can sign in, or the server cannot be reached from here', async (t) => {
  const statuses = ['not ready', 'degraded', 'ready']
  const server = createServer((request, response) => {
    t.equal(request.url, '/seed/health/ready')
    response.writeHead(200).end(JSON.stringify({ status: statuses.shift() }))
  })
  await new Promise<void>((resolve) => { server.listen(0, '127.0.0.1', resolve) })
  const baseUrl = `http://127.0.0.1:${(server.address() as AddressInfo).port}/seed`
  await untilReady(baseUrl)
  t.same(statuses, [])
  await new Promise((resolve) => { server.close(resolve) })
  await untilReady(baseUrl)
})
