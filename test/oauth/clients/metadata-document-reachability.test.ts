import t from 'tap'
import type { Test } from 'tap'
import { FetchError } from '../../../src/net/fetch.ts'
import type { PublicDocument } from '../../../src/net/public-fetch.ts'
import {
  createFixture, ID, json, PROBE, settle, unreachable, unusable
} from '../../support/metadata-documents.ts'

t.test('documents are advertised once the probe found a valid one, which is then cached', async (t) => {
  const { documents, fetched, logged } = createFixture(t)
  t.equal(documents.advertised(), false)
  await documents.find(ID)
  t.equal(documents.advertised(), false, 'a client document decides nothing')
  documents.start()
  documents.start()
  t.equal(documents.advertised(), false)
  await settle()
  t.equal(documents.advertised(), true)
  await documents.find(PROBE)
  t.strictSame(fetched, [ID, PROBE])
  t.strictSame(logged, [])
})

/** Holds timers until the test fires them. */
function holdTimers (t: Test) {
  const timers = new Map<number, { fire: () => void, ms: number, held: boolean }>()
  let next = 0
  t.intercept(globalThis, 'setTimeout', {
    value: (fire: () => void, ms: number) => {
      const id = ++next
      timers.set(id, { fire, ms, held: true })
      return { id, unref: () => { timers.get(id)!.held = false } }
    }
  })
  t.intercept(globalThis, 'clearTimeout', { value: (timer?: { id: number }) => { timers.delete(timer?.id ?? 0) } })
  return timers
}

t.test('a failing probe is logged once, repeated every ten minutes, and its recovery logged once', async (t) => {
  const timers = holdTimers(t)
  const { documents, responses, fetched, logged, state } = createFixture(t)
  state.offline = true
  documents.start()
  await settle()
  t.equal(documents.advertised(), false)
  t.match(logged, [{
    level: 'warn',
    fields: { probeUrl: PROBE, reason: 'https://somewhere cannot be reached (ENOTFOUND)' },
    message: /CIMD_PROBE_URL.*CIMD_ENABLED=false/
  }])

  state.offline = false
  for (const response of [json({}), { status: 500, body: '' }]) {
    responses.set(PROBE, response)
    t.match([...timers.values()], [{ ms: 600_000, held: false }])
    state.ms += 600_000
    ;[...timers.values()][0]!.fire()
    await settle()
    t.equal(documents.advertised(), false, 'an invalid document counts as a failure too')
  }
  t.equal(logged.length, 1)

  responses.delete(PROBE)
  ;[...timers.values()][0]!.fire()
  await settle()
  t.equal(documents.advertised(), true)
  t.match(logged.slice(1), [{ level: 'info', fields: { probeUrl: PROBE }, message: /advertised/ }])
  t.equal(timers.size, 0)
  t.strictSame(fetched, Array(4).fill(PROBE))
})

t.test('an invalid document at CIMD_PROBE_URL is logged with the reason', async (t) => {
  const { documents, responses, logged } = createFixture(t)
  responses.set(PROBE, json({}))
  documents.start()
  await settle()
  t.match(logged, [{
    fields: { reason: 'its client_id must be its own URL, byte for byte' }
  }])
})

t.test("a client's URL that cannot be reached triggers a probe and has no other effect", async (t) => {
  const timers = holdTimers(t)
  const { documents, responses, fetched, logged, state } = createFixture(t)
  documents.start()
  await settle()
  responses.set(ID, unreachable())
  const fail = async () => {
    await t.rejects(documents.find(ID), {
      ...unusable('it cannot be fetched from its URL: https://somewhere cannot be reached (ENOTFOUND)'),
      cause: Error
    })
    await settle()
  }
  const probes = () => fetched.filter((url) => url === PROBE).length

  state.ms = 29_999
  await fail()
  t.equal(probes(), 1, 'at most every 30 seconds')
  state.ms = 30_000
  await Promise.all([fail(), fail()])
  t.equal(probes(), 2)
  t.equal(documents.advertised(), true)
  t.strictSame(logged, [])

  state.ms = 100_000
  responses.set(ID, json({}))
  await t.rejects(documents.find(ID), unusable(/client_id/))
  responses.set(ID, new FetchError('no public address'))
  await t.rejects(documents.find(ID), unusable(/cannot be fetched/))
  await settle()
  t.equal(probes(), 2, 'a wrong response says nothing about the network')

  responses.set(ID, unreachable())
  state.offline = true
  await fail()
  t.equal(documents.advertised(), false, 'now Seed itself is offline')
  t.strictSame(logged.map(({ level }) => level), ['warn'])
  state.ms += 30_000
  await fail()
  t.equal(timers.size, 1, 'one timer, however often it is triggered')
  state.offline = false
  state.ms += 30_000
  await fail()
  t.equal(documents.advertised(), true)
  t.strictSame(logged.map(({ level }) => level), ['warn', 'info'])
})

t.test('one probe at a time, however long it takes', async (t) => {
  let probes = 0
  const fails = Promise.reject<PublicDocument>(unreachable())
  fails.catch(() => {})
  const {
    documents,
    state
  } = createFixture(t, { fetchDocument: (url) => url === PROBE ? new Promise(() => { probes++ }) : fails })
  documents.start()
  state.ms = 60_000
  await t.rejects(documents.find(ID), unusable(/it cannot be fetched from its URL: .*ENOTFOUND/))
  t.equal(probes, 1)
})

t.test('probes stop when Seed stops', async (t) => {
  const timers = holdTimers(t)
  const { documents, fetched, logged, state } = createFixture(t)
  state.offline = true
  documents.start()
  await settle()
  t.equal(timers.size, 1)
  const { fire } = [...timers.values()][0]!
  documents.close()
  t.equal(timers.size, 0)
  fire()
  t.strictSame(fetched, [PROBE])

  const under = createFixture(t)
  under.state.offline = true
  under.documents.start()
  under.documents.close()
  await settle()
  t.strictSame([...under.logged, ...logged.slice(1)], [], 'a probe in progress is not reported either')
  t.equal(timers.size, 0)
})
