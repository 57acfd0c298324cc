import t from 'tap'
import { toOutcome, toResult } from '../../src/mounts/server/call-outcome.ts'

t.test('a failure that nobody has foreseen, at the replica that holds a call, is for the log of the other one', (t) => {
  const outcome = toOutcome(new TypeError('x is not a function'))
  t.throws(() => toResult(outcome, 1_000), new Error('The replica that runs the call: TypeError: x is not a function'))
  t.end()
})
