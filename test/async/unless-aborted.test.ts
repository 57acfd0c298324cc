import { getEventListeners } from 'node:events'
import t from 'tap'
import { unlessAborted } from '../../src/async/unless-aborted.ts'

t.test('waits for the work', async (t) => {
  t.equal(await unlessAborted(Promise.resolve('done'), undefined), 'done')
  const { signal } = new AbortController()
  t.equal(await unlessAborted(Promise.resolve('done'), signal), 'done')
  await t.rejects(unlessAborted(Promise.reject(new Error('failed')), signal), { message: 'failed' })
  t.same(getEventListeners(signal, 'abort'), [], 'and leaves no listener behind')
})

t.test("rejects with the signal's reason, and leaves the work alone", async (t) => {
  const controller = new AbortController()
  let finish: (value: string) => void = () => {}
  const work = new Promise<string>((resolve) => { finish = resolve })
  const waiting = unlessAborted(work, controller.signal)
  controller.abort(new Error('given up'))
  await t.rejects(waiting, { message: 'given up' })
  finish('done')
  t.equal(await work, 'done')
})
