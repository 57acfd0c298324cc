import t from 'tap'
import { announceRevocation, recordAnnouncedRevocations } from '../../src/audit/operator-revocations.ts'
import type { AuditEntry } from '../../src/audit/record.ts'
import { createMemoryStore } from '../../src/store/memory.ts'
import { StoreUnavailableError } from '../../src/store/store.ts'
import { until } from '../support/until.ts'

t.test('what an operator has revoked is one line, also where the message had to be sent twice', async (t) => {
  const store = createMemoryStore()
  const lines: AuditEntry[] = []
  recordAnnouncedRevocations(store, { record (entry) { lines.push(entry) } })
  const { publish } = store
  let sent = 0
  for (const arrives of [true, false]) {
    lines.length = 0
    sent = 0
    store.publish = async (channel, text) => {
      const isFirst = sent++ === 0
      if (!isFirst || arrives) await publish(channel, text)
      if (isFirst) throw new StoreUnavailableError()
    }
    await announceRevocation(store, { issuer: 'https://seed.example.com', subject: 'ada' })
    await until(() => lines.length > 0, 'a line is written')
    await new Promise(setImmediate)
    t.match(lines, [{ event: 'revocation', outcome: 'ok', subject: 'ada' }])
    t.equal(lines.length, 1)
  }
})
