import t from 'tap'
import type { Test } from 'tap'
import { connectV1, connectV2 } from '../support/interactive-clients.ts'
import { interactiveTools } from '../support/interactive-tools.ts'
import { lacksRedis, ownRedisForTests } from '../support/redis.ts'
import { CLUSTER_ARGUMENTS, formCluster, startNode, startSentinel } from '../support/redis-topologies.ts'
import { startReplicaProcesses, startReplicas } from '../support/replicas.ts'
import { until } from '../support/until.ts'

/**
 * Real clients of both SDKs against two replicas in turn (two processes on one Redis), without affinity: whatever a
 * tool does with its client works, wherever the requests arrive.
 */

/** Starts what REDIS_URL then names; undefined where there is no Redis. */
const STORES: Record<string, (t: Test) => Promise<string | undefined>> = {
  'one Redis': async (t) => (await ownRedisForTests(t))?.url,
  Sentinel: async (t) => {
    if (lacksRedis(t)) return
    const primary = await startNode(t, [])
    return `redis+sentinel://127.0.0.1:${await startSentinel(t, primary, { password: 'none' })}/mymaster`
  },
  Cluster: async (t) => {
    if (lacksRedis(t)) return
    // A node that gets no CPU time for a while is not down: its links would be cut, and messages on them lost.
    const args = [...CLUSTER_ARGUMENTS, '--cluster-node-timeout', '60000']
    const nodes = await Promise.all([1, 2, 3].map(async () => await startNode(t, args)))
    await formCluster(nodes)
    return `redis+cluster://${nodes.map(({ port }) => `127.0.0.1:${port}`).join(',')}`
  }
}

const CLIENTS = [
  ['SDK v1', connectV1],
  ['SDK v2, 2025-11-25', connectV2('legacy')],
  ['SDK v2, 2026-07-28', connectV2('auto')]
] as const

for (const [kind, startStore] of Object.entries(STORES)) {
  t.test(`a tool's exchanges with its client work across two replicas on ${kind}`, async (t) => {
    const redisUrl = await startStore(t)
    if (redisUrl === undefined) return
    const replicas = kind === 'one Redis'
      ? await startReplicaProcesses(t, { redisUrl })
      : await startReplicas(t, { redisUrl, definitions: interactiveTools })
    let waits = 0
    for (const [name, connect] of CLIENTS) {
      await t.test(name, async (t) => {
        const client = await connect(t, replicas, replicas.roundRobin)
        for (let round = 0; round < 3; round++) {
          t.equal(await client.call('echo', { text: 'hello' }), 'ada: hello')
          t.equal(await client.call('ask_form'), 'Ada is 36')
          t.equal(await client.call('ask_twice', { topic: 'it' }), 'First of it?, Second of it?')
          t.equal(await client.call('ask_page'), 'accept')
          t.match(await client.call('ask_model', { prompt: 'a poem' }), /^The model says: .*a poem/)
          t.equal(await client.call('ask_roots'), 'file:///home/ada')
          const steps: number[] = []
          t.equal(
            await client.call(
              'count',
              { steps: 3, pauseMs: 1 },
              {
                onprogress: ({ progress }) => {
                  steps.push(progress)
                }
              }
            ),
            'Counted to 3'
          )
          t.same(steps, [1, 2, 3])
        }

        if (client.setLevel !== undefined) {
          t.same(
            client.logged.splice(0),
            [1, 2, 3, 1, 2, 3, 1, 2, 3].map((step) => ({ step })),
            'log messages, all of them once'
          )
          await client.setLevel('error')
          await client.call('count', { steps: 2, pauseMs: 1 })
          t.same(client.logged, [], 'none below the level, whatever replica serves')
        }

        if (client.completed !== undefined) {
          await until(() => client.completed!() === 3, 'the client hears that the pages are done')
        }
        await client.call('change_tools')
        await until(() => client.listChanges() === 1, 'the change of the list is told')

        client.decline(true)
        t.equal(await client.call('ask_form'), 'The person chose decline')
        t.equal(await client.call('ask_twice', { topic: 'it' }), 'no')
        t.equal(await client.call('flood', { messages: 3, bytes: 10 }), 'Sent 3 messages')
        const aborting = new AbortController()
        const waiting = client.call('wait', { ms: 60_000 }, { signal: aborting.signal })
        await replicas.logged('Waiting', waits + 1)
        aborting.abort('enough')
        await t.rejects(waiting)
        await replicas.logged('Waited', waits + 1)
        t.equal(await client.call('wait', { ms: 1 }), 'Waited 1 ms')
        waits += 2
        await client.close()
      })
    }
    if ('stop' in replicas) t.same(await replicas.stop(), [0, 0], 'both processes end in order')
  })
}
