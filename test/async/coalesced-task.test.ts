import t from 'tap'
import { createCoalescedTask } from '../../src/async/coalesced-task.ts'

/** A task whose runs end when the test says so. */
function setUp () {
  const ends: Array<{ resolve: () => void, reject: (err: Error) => void }> = []
  const errors: unknown[] = []
  const task = createCoalescedTask(
    async () => { await new Promise<void>((resolve, reject) => { ends.push({ resolve, reject }) }) },
    (err) => { errors.push(err) }
  )
  return { task, ends, errors }
}

const nextTick = async (): Promise<void> => { await new Promise((resolve) => { setImmediate(resolve) }) }

t.test('a task requested while it runs runs once more, however often it was requested', async (t) => {
  const { task, ends } = setUp()
  await task.idle()
  t.notOk(task.isRunning)
  task.request()
  t.ok(task.isRunning)
  task.request()
  task.request()
  t.equal(ends.length, 1, 'never two runs at once')
  ends[0]!.resolve()
  await nextTick()
  t.equal(ends.length, 2)
  ends[1]!.resolve()
  await task.idle()
  t.equal(ends.length, 2)
  t.notOk(task.isRunning)
})

t.test('a run that fails does not lose what was requested meanwhile', async (t) => {
  const { task, ends, errors } = setUp()
  task.request()
  task.request()
  ends[0]!.reject(new Error('no'))
  await nextTick()
  t.match(errors, [{ message: 'no' }])
  t.equal(ends.length, 2)
  ends[1]!.reject(new Error('again'))
  await task.idle()
  t.match(errors, [{}, { message: 'again' }])
  t.notOk(task.isRunning)
})

t.test('work that requests its task again runs again', async (t) => {
  let runs = 0
  const task = createCoalescedTask(async () => { if (++runs < 3) task.request() }, t.error)
  task.request()
  await task.idle()
  t.equal(runs, 3)
})
