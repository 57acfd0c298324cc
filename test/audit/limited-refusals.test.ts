import t from 'tap'
import { createLimitedRefusals } from '../../src/audit/limited-refusals.ts'
import type { AuditEntry } from '../../src/audit/record.ts'

const entry = (fields: Partial<AuditEntry> = {}): AuditEntry =>
  ({ event: 'refusal', outcome: 'refused', error: 'temporarily_unavailable', ms: 1, ...fields })

function setUp () {
  const records: AuditEntry[] = []
  return { records, refusals: createLimitedRefusals({ record (one) { records.push(one) } }) }
}

t.test('of each stranger the first refusal of a minute is a line, and the others are a count', async (t) => {
  const { records, refusals } = setUp()
  for (let minute = 0; minute < 2; minute++) {
    for (let request = 0; request < 50; request++) {
      refusals.record(entry({ address: '192.0.2.1', request: String(request) }), 'a', false)
    }
    refusals.record(entry({ address: '192.0.2.2' }), 'b', false)
    t.match(records, [{ address: '192.0.2.1', request: '0', count: undefined }, { address: '192.0.2.2' }])
    refusals.flush()
    t.match(records.splice(0).slice(2), [{ address: '192.0.2.1', request: '49', count: 49, ms: undefined }])
  }
  refusals.flush()
  t.same(records, [], 'nothing to count is no line')
})

t.test('each refused call of a person is a line, up to a thousand a minute', async (t) => {
  const { records, refusals } = setUp()
  for (let request = 0; request < 1_500; request++) refusals.record(entry({ subject: 'ada' }), 'issuer ada', true)
  t.equal(records.length, 1_000)
  refusals.flush()
  t.match(records.at(-1), { subject: 'ada', count: 500 })
})

t.test('a flood from 100,000 addresses is a thousand lines a minute at most', async (t) => {
  const { records, refusals } = setUp()
  for (let number = 0; number < 100_000; number++) {
    const address = `2001:db8::${number.toString(16)}`
    for (let request = 0; request < 2; request++) refusals.record(entry({ address, client: 'x' }), address, false)
  }
  refusals.record(entry({ subject: 'ada' }), 'issuer ada', true)
  t.match(records.pop(), { subject: 'ada' }, 'a person still has a line')
  refusals.flush()
  t.equal(records.length, 1_001)
  const count = 2 * (100_000 - 500)
  t.match(records.at(-1), { count, address: undefined, client: undefined, reason: /more than 500/ })
})
