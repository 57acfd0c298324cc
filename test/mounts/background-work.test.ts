import t from 'tap'
import type { ServerResponse } from 'node:http'
import { openSession, ready, sendModern, startSeed } from '../support/seed.ts'
import { until } from '../support/until.ts'
import { startUpstream, writeMounts } from '../support/upstream.ts'

t.test('what a call has brought about does not belong to it: neither messages of a new connection nor its stream', async (t) => {
  const upstream = await startUpstream(t, 'session')
  upstream.capabilities = { ...upstream.capabilities, logging: {} }
  const streams: ServerResponse[] = []
  const finish: Array<() => void> = []
  let failsOnce = false
  upstream.intercept = ({ method }, response) => {
    if (method === 'GET') streams.push(response)
    if (!failsOnce || upstream.messages.at(-1)?.method?.endsWith('/list') !== true) return false
    failsOnce = false
    response.writeHead(500).end()
    return true
  }
  upstream.call = async (_name, _args, { mcpReq }) => {
    failsOnce = true
    // On the stream of the call.
    await mcpReq.notify({ method: 'notifications/tools/list_changed' })
    await new Promise<void>((resolve) => { finish.push(resolve) })
    return { content: [{ type: 'text', text: 'done' }] }
  }
  const seed = await startSeed(t, {
    definitions: [],
    timings: { mountsWaitMs: 60_000, mountsRetryMs: 10 },
    env: { SEED_MOUNTS: await writeMounts({ calc: { url: upstream.url, connectTimeoutSeconds: 60 } }) }
  })
  await ready(seed)
  const token = await seed.provider.mint({ sub: 'ada' })
  const session = await openSession(seed, token)
  const answering = sendModern(
    seed.url,
    session.request('tools/call', { name: 'calc_add', arguments: {} }) as Parameters<typeof sendModern>[1],
    token
  )
  const listed = (): number => upstream.messages.filter(({ method }) => method === 'tools/list').length
  /** Changes are announced on the stream of the connection; messages before them have been read then. */
  const announced = async (what: string): Promise<void> => {
    const before = listed()
    await upstream.announce()
    await until(() => listed() > before, what)
  }

  await until(() => seed.logs.filter(({ event }) => event === 'mount.connected').length === 2, 'Seed has connected anew')
  await until(() => isOpen(streams[1]), 'its stream is open')
  await upstream.notify({ method: 'notifications/message', params: { level: 'info', data: 'about bob' } })
  await announced('the lists are fetched')
  finish[0]!()
  t.notMatch(await (await answering).text(), /about bob/)
  streams[1]!.destroy()
  await until(() => streams.length === 3, 'the stream is opened again though the call has ended')
})

function isOpen (stream: ServerResponse | undefined): boolean {
  return stream?.headersSent === true && stream.statusCode === 200 && !stream.destroyed
}
