import t from 'tap'
import { createCluster } from '../../../src/mcp/cluster/cluster.ts'
import { createMemoryStore } from '../../../src/store/memory.ts'
import { captureLog, settle } from '../../support/mcp.ts'

t.test('a message that no replica has sent reaches nobody, and stops nothing', async (t) => {
  const store = createMemoryStore()
  const { replicas } = createCluster(store, captureLog().log)
  t.teardown(async () => {
    await replicas.close()
    await store.close()
  })
  const received: unknown[] = []
  replicas.onMessage((message) => { received.push(message) })
  const junk = ['junk', '', 'null', '{}', '[]', '{"kind":"session-ended"}', '{"kind":"session-ended","session":5}']
  for (const text of junk) await store.publish('replicas', text)
  replicas.send({ kind: 'session-ended', session: 's' })
  await settle()
  t.same(received, [{ kind: 'session-ended', session: 's' }])
})
