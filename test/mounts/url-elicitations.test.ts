import t from 'tap'
import { connectAsked } from '../support/asked-clients.ts'
import { until } from '../support/until.ts'
import { startMounted, startUpstream } from '../support/upstream.ts'
import type { Upstream } from '../support/upstream.ts'

/** The end of elicitations by URL, which a mounted server of 2025 announces (`notifications/elicitation/complete`). */

const complete = async (upstream: Upstream, elicitationId: string): Promise<void> => {
  await upstream.notify({ method: 'notifications/elicitation/complete', params: { elicitationId } })
}

/** A mounted server whose tool asks to open a page for each of the ids in its arguments. */
async function start (t: Parameters<typeof startMounted>[0]) {
  const upstream = await startUpstream(t, 'session')
  upstream.call = async (_name, { ids }, { mcpReq }) => {
    for (const elicitationId of ids as string[]) {
      await mcpReq.send({
        method: 'elicitation/create', params: { mode: 'url', message: 'Sign', url: 'https://forms.example/1', elicitationId }
      })
    }
    return { content: [{ type: 'text', text: 'asked' }] }
  }
  return { upstream, seed: await startMounted(t, { odd: { url: upstream.url, connection: 'session' } }) }
}

t.test('a client of 2025 hears when what a mounted server has asked it for is complete, once and of nothing else', async (t) => {
  const { upstream, seed } = await start(t)
  const [ada, bob] = [await connectAsked(t, 'legacy', seed), await connectAsked(t, 'legacy', seed)]
  t.equal(await ada.call('odd_add', { ids: ['a1', 'a2'] }), 'asked')
  t.equal(await bob.call('odd_add', { ids: ['b1'] }), 'asked')
  for (const id of ['never asked', 'a1', 'a1', 'b1', 'a2']) await complete(upstream, id)
  await until(() => ada.completed.length === 2 && bob.completed.length === 1, 'both have heard of theirs')
  t.equal(await ada.call('odd_add', { ids: ['a3'] }), 'asked')
  await complete(upstream, 'a3')
  await until(() => ada.completed.length === 3, 'the last one too')
  t.same([ada.completed, bob.completed], [['a1', 'a2', 'a3'], ['b1']])
})

t.test('a client of 2026-07-28, which knows no such end, gets its result all the same', async (t) => {
  const { upstream, seed } = await start(t)
  const { call } = await connectAsked(t, 'modern', seed)
  t.equal(await call('odd_add', { ids: ['a1'] }), 'asked')
  await complete(upstream, 'a1')
  t.equal(await call('odd_add', { ids: ['a2'] }), 'asked')
  t.same(seed.logs.filter(({ level }) => level! > 30), [])
})

t.test('of many elicitations the last hundred are remembered, and none with an endless id', async (t) => {
  const { upstream, seed } = await start(t)
  const { call, completed } = await connectAsked(t, 'legacy', seed)
  const ids = Array.from({ length: 101 }, (_none, number) => `e${number}`)
  const endless = 'x'.repeat(2_000)
  // One call may ask 30 times.
  for (let from = 0; from < ids.length; from += 25) await call('odd_add', { ids: ids.slice(from, from + 25) })
  t.equal(await call('odd_add', { ids: [endless] }), 'asked')
  for (const id of ['e0', endless, 'e1', 'e100']) await complete(upstream, id)
  await until(() => completed.length === 2, 'those that are remembered')
  t.same(completed, ['e1', 'e100'])
})
