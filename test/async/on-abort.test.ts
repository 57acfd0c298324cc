import t from 'tap'
import { onAbort } from '../../src/async/on-abort.ts'

t.test('a listener is called when its signal is aborted, or at once if it is already, and not once it is removed', async (t) => {
  const controller = new AbortController()
  let calls = 0
  const count = (): void => { calls++ }
  onAbort(controller.signal, count)
  onAbort(controller.signal, () => { throw new Error('removed') })()
  t.equal(calls, 0)
  controller.abort()
  t.equal(calls, 1)
  onAbort(controller.signal, count)
  t.equal(calls, 2)
})
