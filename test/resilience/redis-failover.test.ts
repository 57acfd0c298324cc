import { Redis } from 'ioredis'
import t from 'tap'
import { connectV1 } from '../support/interactive-clients.ts'
import { interactiveTools } from '../support/interactive-tools.ts'
import { lacksRedis } from '../support/redis.ts'
import { startNode, startSentinel } from '../support/redis-topologies.ts'
import { startReplicas } from '../support/replicas.ts'
import { until } from '../support/until.ts'

t.test('a session continues through a failover of Redis without a restart', async (t) => {
  if (lacksRedis(t)) return
  const primary = await startNode(t, ['--repl-diskless-sync-delay', '0'])
  const replica = await startNode(t, ['--replicaof', '127.0.0.1', String(primary.port)])
  const sentinel = await startSentinel(t, primary, { password: 'none' })
  const observer = new Redis(replica.port)
  t.teardown(() => { observer.disconnect() })
  await until(async () => (await observer.info('replication')).includes('master_link_status:up'), 'the replica follows')
  const replicas = await startReplicas(t, {
    redisUrl: `redis+sentinel://127.0.0.1:${sentinel}/mymaster`,
    definitions: interactiveTools
  })
  const client = await connectV1(t, replicas, replicas.roundRobin)
  t.equal(await client.call('ask_form'), 'Ada is 36')
  await until(async () => (await observer.keys('seed:session:*')).length === 1, 'the replica has the session too')

  await primary.kill('SIGKILL')
  await t.rejects(client.setLevel!('info'), /503|cannot be reached/, 'an honest refusal')
  for (const seed of replicas.seeds) await seed.logged(({ msg }) => msg === 'Redis is reachable again')
  // Where Redis is still slow, a client tries again: also when its answer to the tool was refused, and the tool waits.
  await until(
    async () => (await client.call('echo', { text: 'after' }).catch(String)) === 'ada: after',
    'the session goes on'
  )
  await until(
    async () => (await client.call('ask_form', {}, { timeout: 5_000 }).catch(String)) === 'Ada is 36',
    'the same session, at both replicas'
  )
  for (const { logs } of replicas.seeds) {
    const count = (line: string): number => logs.filter(({ msg }) => msg.startsWith(line)).length
    t.ok(count('Redis is unreachable') > 0)
    await until(() => count('Redis is unreachable') === count('Redis is reachable again'), 'each loss has its return')
  }
})
