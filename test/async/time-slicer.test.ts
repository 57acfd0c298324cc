import t from 'tap'
import { createTimeSlicer } from '../../src/async/time-slicer.ts'
import { settle } from '../support/mcp.ts'

t.test('a short loop is done at once', async (t) => {
  const slicer = createTimeSlicer()
  const done: number[] = []
  slicer.forEach([1, 2, 3], (item) => { done.push(item) })
  t.same(done, [1, 2, 3])
  slicer.forEach([], () => { t.fail('There is nothing to do') })
})

t.test('long loops take several turns of the event loop, and keep their order', async (t) => {
  let time = 0
  const slicer = createTimeSlicer(4, () => time)
  const done: string[] = []
  for (const name of ['a', 'b']) {
    slicer.forEach([1, 2, 3], (item) => {
      time += 3
      done.push(name + item)
    })
  }
  t.same(done, ['a1', 'a2'])
  setImmediate(() => { done.push('other') })
  await settle()
  t.same(done.filter((name) => name !== 'other'), ['a1', 'a2', 'a3', 'b1', 'b2', 'b3'])
  t.ok(done.indexOf('other') < 5, 'other work gets its turn in between')
})

t.test('an item that is deleted meanwhile is skipped', async (t) => {
  const slicer = createTimeSlicer(0)
  const items = new Set([1, 2, 3])
  const done: number[] = []
  slicer.forEach(items, (item) => {
    done.push(item)
    items.delete(2)
  })
  await settle()
  t.same(done, [1, 3])
})
