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

t.test('events are written as in the HTML Standard', async (t) => {
  const { streams } = setUp(t)
  const stream = streams.open()
  stream.write({ data: '', id: 'a.0', retryMs: 1_000 })
  stream.write({ data: '{"a":1}', id: 'a.1' })
  stream.write({ data: '{"a":2}' })
  stream.comment('quiet')
  stream.raw('retry: 5\n\n')
  stream.end()
  t.equal(
    await text(throughPipe(stream)),
    'id: a.0\nretry: 1000\ndata: \n\nid: a.1\nevent: message\ndata: {"a":1}\n\n' +
    'event: message\ndata: {"a":2}\n\n: quiet\n\nretry: 5\n\n'
  )
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
  t.equal(ends, 3, 'a listener added after the end is called at once')
})

t.test('a stream ends at once when its client has left before the response started', async (t) => {
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

t.test('destroying a stream destroys the response', async (t) => {
  const { streams } = setUp(t)
  const stream = streams.open()
  const events = readEvents(throughPipe(stream))
  stream.write({ data: '1' })
  t.equal(await events.message(), 1)
  stream.destroy()
  t.equal(await events.next(), undefined)
  t.notOk(stream.open)
})

t.test('comments keep an idle stream alive', async (t) => {
  const { streams, cuts } = setUp(t, { keepAliveMs: 5 })
  const events = readEvents(throughPipe(streams.open()))
  for (let time = 0; time < 3; time++) t.match(await events.next(), { comment: 'keep-alive' })
  t.same(cuts, [])
})

/** A response whose client reads one chunk for each `take`. */
function slowResponse () {
  const taken: Array<() => void> = []
  const response = new Writable({ write (_chunk, _encoding, done) { taken.push(done) } })
  return { response, take () { taken.shift()?.() } }
}

for (const piped of [false, true]) {
  const when = piped ? 'after' : 'before'
  t.test(`a client that leaves too much unread is cut off, ${when} the response started`, async (t) => {
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
    t.equal(written, 11, 'the write that finds too much unread')
    t.ok(response.destroyed)
    t.same(cuts, ['more than 10000 bytes are unread'])

    const reading = streams.open()
    const events = readEvents(throughPipe(reading))
    for (let time = 0; time < 100; time++) {
      reading.write({ data: `"${'x'.repeat(1_000)}"` })
      await events.message()
    }
    t.ok(reading.open, 'a client that reads may receive any amount')
  })
}

for (const ended of [false, true]) {
  const when = ended ? 'also after the end of the stream' : 'while the stream is open'
  t.test(`a client that reads nothing is cut off, ${when}`, async (t) => {
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
    t.ok(slow.open, 'a client that reads slowly is not cut off')
    slow.destroy()
  })
}

t.test('a stream that ends before the response started is sent completely', async (t) => {
  const { streams } = setUp(t)
  const stream = streams.open()
  stream.write({ data: '1' })
  stream.end()
  t.ok(await text(throughPipe(stream)))
})
