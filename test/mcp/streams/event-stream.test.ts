import { PassThrough, Writable } from 'node:stream'
import { setTimeout as pause } from 'node:timers/promises'
import { text } from 'node:stream/consumers'
import t from 'tap'
import type { Test } from 'tap'
import { createEventStreams } from '../../../src/mcp/streams/event-stream.ts'
import type { EventStreamsOptions } from '../../../src/mcp/streams/event-stream.ts'
import { readEvents, settle, stayAwake, throughPipe } from '../../support/mcp.ts'

function setUp (t: Test, options: Omit<EventStreamsOptions, 'onCutOff'> = {}) {
  stayAwake(t)
  const cuts: string[] = []
  const streams = createEventStreams({ ...options, onCutOff: (reason) => { cuts.push(reason) } })
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
  t.equal(await text(throughPipe(stream)), 'id: a.0\nretry: 1000\ndata: \n\nid: a.1\nevent: message\ndata: {"a":1}\n\nevent: message\ndata: {"a":2}\n\n: quiet\n\nretry: 5\n\n')
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
  t.same(await readEvents(throughPipe(stream)).rest(), [1])
  t.equal(ends, 1)
  stream.write({ data: '4' })

  const left = streams.open()
  left.onEnd(() => { ends++ })
  await readEvents(throughPipe(left)).cut()
  left.write({ data: '5' })
  left.end()
  t.equal(ends, 2)
  left.onEnd(() => { ends++ })
  t.equal(ends, 3, 'who asks later is told at once')
})

t.test('a stream whose client has left before there is a response is over', async (t) => {
  const { streams } = setUp(t)
  const ended: string[] = []
  const response = new PassThrough().destroy()
  const late = streams.open()
  late.onEnd(() => { ended.push('late') })
  late.write({ data: '1' })
  late.pipe(response)
  const never = streams.open()
  never.onEnd(() => { ended.push('never') })
  never.destroy()
  t.same(ended, ['late', 'never'])
  t.notOk(late.open || never.open)
  const unused = new PassThrough()
  never.pipe(unused)
  t.ok(unused.destroyed)
})

t.test('a stream that is broken off breaks the response off', async (t) => {
  const { streams } = setUp(t)
  const stream = streams.open()
  const events = readEvents(throughPipe(stream))
  stream.write({ data: '1' })
  t.equal(await events.message(), 1)
  stream.destroy()
  t.equal(await events.next(), undefined)
  t.notOk(stream.open)
})

t.test('comments keep a quiet stream alive', async (t) => {
  const { streams, cuts } = setUp(t, { keepAliveMs: 5 })
  const events = readEvents(throughPipe(streams.open()))
  for (let time = 0; time < 3; time++) t.match(await events.next(), { comment: 'keep-alive' })
  t.same(cuts, [])
})

/** A response whose client takes one write at a time, when it is told to. */
function slowResponse () {
  const taken: Array<() => void> = []
  const response = new Writable({ write (_chunk, _encoding, done) { taken.push(done) } })
  return { response, take () { taken.shift()?.() } }
}

for (const piped of [false, true]) {
  t.test(`a client that leaves too much unread is cut, ${piped ? 'while it is sent' : 'before it is sent'}`, async (t) => {
    const { streams, cuts } = setUp(t, { maxUnreadBytes: 10_000 })
    const stream = streams.open()
    const { response } = slowResponse()
    let ended = false
    stream.onEnd(() => { ended = true })
    if (piped) stream.pipe(response)
    let written = 0
    while (stream.open) {
      stream.write({ data: 'x'.repeat(1_000) })
      written++
    }
    if (!piped) stream.pipe(response)
    await settle()
    t.ok(ended)
    t.equal(written, 10)
    t.ok(response.destroyed)
    t.same(cuts, ['more than 10000 bytes are unread'])

    const reading = streams.open()
    const events = readEvents(throughPipe(reading))
    for (let time = 0; time < 100; time++) {
      reading.write({ data: `"${'x'.repeat(1_000)}"` })
      await events.message()
    }
    t.ok(reading.open, 'one that reads may have as much as it likes')
  })
}

for (const ended of [false, true]) {
  t.test(`a client that reads nothing is cut after a time, ${ended ? 'also when the stream has ended' : 'while the stream is open'}`, async (t) => {
    const { streams, cuts } = setUp(t, { keepAliveMs: 5, maxUnreadMs: 20 })
    const stream = streams.open()
    const { response } = slowResponse()
    const closed = new Promise<void>((resolve) => { stream.onEnd(resolve) })
    stream.write({ data: '"unread"' })
    stream.pipe(response)
    if (ended) stream.end()
    await closed
    t.same(cuts, ['nothing was read for 20 ms'])
    t.ok(response.destroyed)

    const slow = streams.open()
    const { response: taking, take } = slowResponse()
    slow.pipe(taking)
    for (let time = 0; time < 10; time++) {
      slow.write({ data: '"slow"' })
      await pause(5)
      take()
    }
    t.ok(slow.open, 'one that reads slowly is not')
    slow.destroy()
  })
}

t.test('what is ended before there is a response is sent whole', async (t) => {
  const { streams } = setUp(t)
  const stream = streams.open()
  stream.write({ data: '1' })
  stream.end()
  t.ok(await text(throughPipe(stream)))
})
