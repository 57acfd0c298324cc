import t from 'tap'
import type { Test } from 'tap'
import { createChangeLog } from '../../../src/mcp/cluster/list-change-broadcast.ts'
import { createCluster } from '../../../src/mcp/cluster/cluster.ts'
import { StoreUnavailableError } from '../../../src/store/store.ts'
import { captureLog, settle, testStore } from '../../support/mcp.ts'
import type { TestStore } from '../../support/mcp.ts'

/** The change log of one replica, and the changes that it has called its listener with. */
function startReplica (t: Test, store: TestStore) {
  const { log } = captureLog()
  const cluster = createCluster(store, log)
  const changes = createChangeLog(cluster, log)
  const received: string[] = []
  changes.onChange((number, { kind }) => { received.push(`${number} ${kind}`) })
  t.teardown(async () => {
    changes.stop()
    await cluster.replicas.close()
  })
  return { changes, received }
}

t.test('every replica receives each change once, in order', async (t) => {
  const store = testStore(t)
  const replicas = [startReplica(t, store), startReplica(t, store)]
  await settle()
  replicas[0]!.changes.publish({ kind: 'tools_list_changed' })
  await settle()
  replicas[1]!.changes.publish({ kind: 'prompts_list_changed' })
  await settle()
  for (const { received } of replicas) t.same(received, ['1 tools_list_changed', '2 prompts_list_changed'])
})

t.test('a replica that starts later receives later changes only', async (t) => {
  const store = testStore(t)
  const { changes } = startReplica(t, store)
  await settle()
  changes.publish({ kind: 'tools_list_changed' })
  await settle()
  const { received } = startReplica(t, store)
  await settle()
  changes.publish({ kind: 'prompts_list_changed' })
  await settle()
  t.same(received, ['2 prompts_list_changed'])
})

t.test('a replica that cannot read the store at its start misses no change from then on', async (t) => {
  const store = testStore(t)
  const { changes } = startReplica(t, store)
  await settle()
  changes.publish({ kind: 'tools_list_changed' })
  await settle()

  const { entries } = store
  store.entries = async () => { throw new StoreUnavailableError() }
  const { received } = startReplica(t, store)
  await settle()
  store.entries = entries
  changes.publish({ kind: 'prompts_list_changed' })
  await settle()
  t.same(received, ['2 prompts_list_changed'])
})
