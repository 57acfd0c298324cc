import { once } from 'node:events'
import { setTimeout as pause } from 'node:timers/promises'
import { text } from 'node:stream/consumers'
import t from 'tap'
import type { Test } from 'tap'
import { createEventStreams } from '../../src/mcp/event-stream.ts'
import type { EventStreamsOptions } from '../../src/mcp/event-stream.ts'
import { readEvents, settle, stayAwake } from '../support/mcp.ts'

function setUp (t: Test, options: Omit<EventStreamsOptions, 'onCut'> = {}) {
  stayAwake(t)
  const cuts: string[] = []
  const streams = createEventStreams({ ...options, onCut: (reason) => { cuts.push(reason) } })
  t.teardown(() => { streams.close() })
  return { streams, cuts }
}

t.test('events as the HTML Standard has them', async (t) => {
  const { streams } = setUp(t)
  const stream = streams.open()
  stream.write({ data: '', id: 'a.0', retryMs: 1_000 })
  stream.write({ data: '{"a":1}', id: 'a.1' })
  stream.write({ data: '{"a":2}' })
  stream.comment('quiet')
  stream.raw('retry: 5\n\n')
  stream.end()
  t.equal(await text(stream.body), 'id: a.0\nretry: 1000\ndata: \n\nid: a.1\nevent: message\ndata: {"a":1}\n\nevent: message\ndata: {"a":2}\n\n: quiet\n\nretry: 5\n\n')
})

t.test('nothing is written after the end', async (t) => {
  const { streams } = setUp(t)
  const stream = streams.open()
  let ends = 0
  stream.onEnd(() => { ends++ })
  t.ok(stream.open)
  stream.write({ data: '1' })
  stream.end()
  stream.end()
  stream.write({ data: '2' })
  stream.comment('3')
  t.notOk(stream.open)
  t.same(await readEvents(stream.body).rest(), [1])
  t.equal(ends, 1)
  stream.write({ data: '4' })

  const left = streams.open()
  left.onEnd(() => { ends++ })
  left.body.destroy()
  await once(left.body, 'close')
  left.write({ data: '5' })
  left.end()
  t.equal(ends, 2)
})

t.test('comments keep a quiet stream alive', async (t) => {
  const { streams, cuts } = setUp(t, { keepAliveMs: 5 })
  const events = readEvents(streams.open().body)
  for (let time = 0; time < 3; time++) t.match(await events.next(), { comment: 'keep-alive' })
  t.same(cuts, [])
})

t.test('a client that leaves too much unread is cut', async (t) => {
  const { streams, cuts } = setUp(t, { unreadBytes: 10_000 })
  const stream = streams.open()
  let ended = false
  stream.onEnd(() => { ended = true })
  let written = 0
  while (stream.open) {
    stream.write({ data: 'x'.repeat(1_000) })
    written++
  }
  await settle()
  t.ok(ended)
  t.equal(written, 10)
  t.ok(stream.body.destroyed)
  t.same(cuts, ['more than 10000 bytes are unread'])

  const reading = streams.open()
  const events = readEvents(reading.body)
  for (let time = 0; time < 100; time++) {
    reading.write({ data: `"${'x'.repeat(1_000)}"` })
    await events.message()
  }
  t.ok(reading.open, 'one that reads may have as much as it likes')
})

for (const ended of [false, true]) {
  t.test(`a client that reads nothing is cut after a time, ${ended ? 'also when the stream has ended' : 'while the stream is open'}`, async (t) => {
    const { streams, cuts } = setUp(t, { keepAliveMs: 5, unreadMs: 20 })
    const stream = streams.open()
    const closed = new Promise<void>((resolve) => { stream.onEnd(resolve) })
    stream.write({ data: '"unread"' })
    if (ended) stream.end()
    await closed
    t.same(cuts, ['nothing was read for 20 ms'])
    t.ok(stream.body.destroyed)

    const slow = streams.open()
    for (let time = 0; time < 10; time++) {
      slow.write({ data: '"slow"' })
      await pause(5)
      slow.body.read(1)
    }
    t.ok(slow.open, 'one that reads slowly is not')
    slow.body.destroy()
  })
}
