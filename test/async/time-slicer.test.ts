import t from 'tap'
import { createTimeSlicer } from '../../src/async/time-slicer.ts'
import { settle } from '../support/mcp.ts'

t.test('little is done at once', async (t) => {
  const turns = createTimeSlicer()
  const done: number[] = []
  turns.forEach([1, 2, 3], (item) => { done.push(item) })
  t.same(done, [1, 2, 3])
  turns.forEach([], () => { t.fail('There is nothing to do') })
})

t.test('much is done over several turns of the event loop, in order', async (t) => {
  let time = 0
  const turns = createTimeSlicer(4, () => time)
  const done: string[] = []
  for (const name of ['a', 'b']) {
    turns.forEach([1, 2, 3], (item) => {
      time += 3
      done.push(name + item)
    })
  }
  t.same(done, ['a1', 'a2'])
  setImmediate(() => { done.push('else') })
  await settle()
  t.same(done.filter((name) => name !== 'else'), ['a1', 'a2', 'a3', 'b1', 'b2', 'b3'])
  t.ok(done.indexOf('else') < 5, 'what else waits has its turn')
})

t.test('what leaves meanwhile is left out', async (t) => {
  const turns = createTimeSlicer(0)
  const items = new Set([1, 2, 3])
  const done: number[] = []
  turns.forEach(items, (item) => {
    done.push(item)
    items.delete(2)
  })
  await settle()
  t.same(done, [1, 3])
})
