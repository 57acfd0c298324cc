import t from 'tap'
import { createSingleFlight } from '../../src/async/single-flight.ts'

t.test('callers with the same key share one run, and the next caller after it starts another', async (t) => {
  const singleFlight = createSingleFlight<string>()
  let runs = 0
  const work = async (): Promise<string> => `run ${++runs}`
  t.same(await Promise.all([singleFlight('a', work), singleFlight('a', work), singleFlight('b', work)]), [
    'run 1',
    'run 1',
    'run 2'
  ])
  t.equal(await singleFlight('a', work), 'run 3')
})

t.test('a failure reaches every caller that shares it, and is not remembered', async (t) => {
  const singleFlight = createSingleFlight<string>()
  const failing = [1, 2].map(async () => await singleFlight('a', async () => { throw new Error('no') }))
  for (const call of failing) await t.rejects(call, { message: 'no' })
  t.equal(await singleFlight('a', async () => 'yes'), 'yes')
})
