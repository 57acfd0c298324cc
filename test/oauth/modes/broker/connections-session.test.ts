import t from 'tap'
import {
  createConnectionsSessions, endConnectionsSessions
} from '../../../../src/oauth/modes/broker/connections-session.ts'
import { createMemoryStore } from '../../../../src/store/memory.ts'
import { createRevocations } from '../../../../src/tokens/revocations.ts'

t.test('a revocation ends the sessions of its very millisecond, and the one that replaces one of them is good',
  async (t) => {
    const clock = Date.now()
    const store = createMemoryStore()
    t.teardown(async () => { await store.close() })
    const sessions = createConnectionsSessions({
      store, revocations: createRevocations(store, 3_600), now: () => clock
    })
    const person = { subject: 'ada', authenticatedAt: clock }
    const { value: here } = await sessions.begin(person, undefined)
    const { value: elsewhere } = await sessions.begin(person, undefined)
    const session = (await sessions.find(here))!

    await endConnectionsSessions(store, { subject: 'ada' }, clock)
    t.equal(await sessions.find(elsewhere), undefined)
    const { value: renewed } = await sessions.renew(session, here)
    t.match(await sessions.find(renewed), { person, expiresAt: session.expiresAt })
    t.equal(await sessions.find(here), undefined)
  })
