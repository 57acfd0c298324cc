import { Client as ClientV1 } from '@modelcontextprotocol/sdk/client/index.js'
import { StreamableHTTPClientTransport as TransportV1 } from '@modelcontextprotocol/sdk/client/streamableHttp.js'
import {
  CreateMessageRequestSchema,
  ElicitRequestSchema,
  ElicitationCompleteNotificationSchema,
  ListRootsRequestSchema,
  LoggingMessageNotificationSchema,
  ToolListChangedNotificationSchema
} from '@modelcontextprotocol/sdk/types.js'
import { Client, StreamableHTTPClientTransport } from '@modelcontextprotocol/client'
import { Redis } from 'ioredis'
import t from 'tap'
import type { Test } from 'tap'
import { until } from '../support/until.ts'
import { interactiveTools } from '../support/interactive-tools.ts'
import { lacksRedis, ownRedisForTests } from '../support/redis.ts'
import { CLUSTER_ARGUMENTS, formCluster, startNode, startSentinel } from '../support/redis-topologies.ts'
import { startReplicaProcesses, startReplicas } from '../support/replicas.ts'
import type { Replicas } from '../support/replicas.ts'

/**
 * Real clients of both SDKs against two replicas in turn (two processes on one Redis), without affinity: whatever a
 * tool does with its client works, wherever the requests arrive.
 */

const info = { name: 'sessions-test', version: '1.0.0' }
const FORM = { name: 'Ada', age: 36 }

/** What a person answers to a form. */
function fillIn (
  declines: boolean,
  params: { mode?: string | undefined; message: string; requestedSchema?: { properties: object } }
): { action: 'accept' | 'decline'; content?: Record<string, string | number> } {
  if (declines) return { action: 'decline' }
  if (params.requestedSchema === undefined) return { action: 'accept' }
  return { action: 'accept', content: 'value' in params.requestedSchema.properties ? { value: params.message } : FORM }
}

/** What the clients of both SDKs have in common here. */
interface Connected {
  call(
    name: string,
    args?: Record<string, unknown>,
    options?: { onprogress?: (progress: { progress: number }) => void; signal?: AbortSignal }
  ): Promise<string>
  setLevel?(level: 'error' | 'info'): Promise<void>
  logged: unknown[]
  /** Whether the person declines from now on. */
  decline(declines: boolean): void
  listChanges(): number
  /** Elicitations by URL that the server said are done; 2026-07-28 has no such message. */
  completed?: () => number
  close(): Promise<void>
}
type Connect = (
  t: Test,
  replicas: Pick<Replicas, 'url' | 'token'>,
  fetch: typeof globalThis.fetch
) => Promise<Connected>

const text = (result: unknown): string => {
  const { content, isError } = result as { content: Array<{ text: string }>, isError?: boolean }
  return `${isError === true ? 'error: ' : ''}${content[0]!.text}`
}

const connectV1: Connect = async (t, replicas, fetch) => {
  const client = new ClientV1(info, { capabilities: { elicitation: { form: {}, url: {} }, sampling: {}, roots: {} } })
  const logged: unknown[] = []
  let changes = 0
  let declines = false
  let completed = 0
  client.setNotificationHandler(ElicitationCompleteNotificationSchema, () => { completed++ })
  client.setRequestHandler(ElicitRequestSchema, ({ params }) => fillIn(declines, params))
  client.setRequestHandler(CreateMessageRequestSchema, () => ({
    model: 'm',
    role: 'assistant',
    content: { type: 'text', text: 'a poem' }
  }))
  client.setRequestHandler(ListRootsRequestSchema, () => ({ roots: [{ uri: 'file:///home/ada' }] }))
  client.setNotificationHandler(LoggingMessageNotificationSchema, ({ params }) => { logged.push(params.data) })
  client.setNotificationHandler(ToolListChangedNotificationSchema, () => { changes++ })
  const transport = new TransportV1(new URL(`${replicas.url}/mcp`), {
    fetch,
    requestInit: { headers: { authorization: `Bearer ${await replicas.token()}` } }
  })
  await client.connect(transport as never)
  t.teardown(async () => { await client.close() })
  return {
    call: async (name, args = {}, options = {}) =>
      text(await client.callTool({ name, arguments: args }, undefined, options)),
    setLevel: async (level) => {
      await client.setLoggingLevel(level)
    },
    logged,
    decline (next) {
      declines = next
    },
    listChanges: () => changes,
    completed: () => completed,
    close: async () => {
      await transport.terminateSession()
      await client.close()
    }
  }
}

const connectV2 = (mode: 'legacy' | 'auto'): Connect => async (t, replicas, fetch) => {
  const logged: unknown[] = []
  let changes = 0
  let declines = false
  const client = new Client(info, {
    capabilities: { elicitation: { form: {}, url: {} }, sampling: {}, roots: {} },
    versionNegotiation: { mode },
    listChanged: { tools: { autoRefresh: false, onChanged: () => { changes++ } } }
  })
  client.setRequestHandler('elicitation/create', ({ params }) => fillIn(declines, params))
  client.setRequestHandler('sampling/createMessage', () => ({
    model: 'm',
    role: 'assistant',
    content: { type: 'text', text: 'a poem' }
  }))
  client.setRequestHandler('roots/list', () => ({ roots: [{ uri: 'file:///home/ada' }] }))
  client.setNotificationHandler('notifications/message', ({ params }) => { logged.push(params.data) })
  const transport = new StreamableHTTPClientTransport(new URL(`${replicas.url}/mcp`), {
    fetch,
    requestInit: { headers: { authorization: `Bearer ${await replicas.token()}` } }
  })
  await client.connect(transport)
  t.teardown(async () => { await client.close() })
  return {
    call: async (name, args = {}, options = {}) => text(await client.callTool({ name, arguments: args }, options)),
    ...(mode === 'legacy' && { setLevel: async (level: 'error' | 'info') => { await client.setLoggingLevel(level) } }),
    logged,
    decline (next) { declines = next },
    listChanges: () => changes,
    close: async () => {
      if (mode === 'legacy') await transport.terminateSession()
      await client.close()
    }
  }
}

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
    const nodes = await Promise.all([1, 2, 3].map(async () => await startNode(t, CLUSTER_ARGUMENTS)))
    await formCluster(nodes)
    return `redis+cluster://${nodes.map(({ port }) => `127.0.0.1:${port}`).join(',')}`
  }
}

for (const [kind, startStore] of Object.entries(STORES)) {
  for (const [name, connect] of [
    ['SDK v1', connectV1],
    ['SDK v2, 2025-11-25', connectV2('legacy')],
    ['SDK v2, 2026-07-28', connectV2('auto')]
  ] as const) {
    t.test(`${name}: a tool's exchanges with its client work across two replicas on ${kind}`, async (t) => {
      const redisUrl = await startStore(t)
      if (redisUrl === undefined) return
      const inProcess = kind !== 'one Redis'
      const replicas = inProcess
        ? await startReplicas(t, { redisUrl, definitions: interactiveTools })
        : await startReplicaProcesses(t, { redisUrl })
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
      await replicas.logged('Waiting')
      aborting.abort('enough')
      await t.rejects(waiting)
      await replicas.logged('Waited')
      t.equal(await client.call('wait', { ms: 1 }), 'Waited 1 ms')
      await client.close()
      if ('stop' in replicas) t.same(await replicas.stop(), [0, 0], 'both processes end in order')
    })
  }
}

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
  // Where Redis is still slow, a client tries again.
  await until(
    async () => (await client.call('echo', { text: 'after' }).catch(String)) === 'ada: after',
    'the session goes on'
  )
  await until(
    async () => (await client.call('ask_form').catch(String)) === 'Ada is 36',
    'the same session, at both replicas'
  )
  for (const { logs } of replicas.seeds) {
    const count = (line: string): number => logs.filter(({ msg }) => msg.startsWith(line)).length
    t.ok(count('Redis is unreachable') > 0)
    await until(() => count('Redis is unreachable') === count('Redis is reachable again'), 'each loss has its return')
  }
})
