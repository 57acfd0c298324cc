import { once } from 'node:events'
import { connect } from 'node:net'
import type { Socket } from 'node:net'
import { readAnswer } from './answers.ts'
import type { Answer } from './answers.ts'

/**
 * The clients: raw sockets, one request at a time on each, written in advance. Every response is checked. The first
 * right response to a request is checked in full; a later one only if its status is not 200 or its bytes differ. So a
 * client costs a fraction of the fastest server, and the server is what limits.
 */
export interface Traffic {
  /** Complete requests, sent in rotation. */
  requests: Buffer[]
  /** Names the fault of the answer to the request at `index`; undefined if there is none. */
  check (index: number, answer: Answer): string | undefined
  /** Bodies of right answers, as they were received. */
  known: Array<Buffer | undefined>
}

/** Nobody waits longer for an answer. */
const PATIENCE_MS = 15_000
export const NO_ANSWER = 'no answer'

interface Connection {
  send (index: number): void
  close (): void
}

interface ConnectionEvents {
  /** @param index of the request that was answered, and rightly */
  answered (connection: Connection, index: number): void
  failed (error: Error): void
}

async function openConnection (
  port: number,
  { requests, check, known }: Traffic,
  events: ConnectionEvents
): Promise<Connection> {
  let index = -1
  let pending: Buffer | undefined

  /** The quick way: all of the answer at once, and its body as it was before. */
  function isKnown (length: number, received: Buffer): boolean {
    const body = known[index]
    if (body === undefined || pending !== undefined) return false
    const start = length - body.length
    return (
      start > 16 &&
      received[9] === 50 &&
      received[10] === 48 &&
      received[11] === 48 &&
      received[start - 1] === 10 &&
      received[start - 3] === 10 &&
      received.compare(body, 0, body.length, start, length) === 0
    )
  }

  function checkInFull (length: number, received: Buffer): boolean {
    const piece = received.subarray(0, length)
    pending = pending === undefined ? Buffer.from(piece) : Buffer.concat([pending, piece])
    const answer = readAnswer(pending)
    if (answer === undefined) return false
    const problem = check(index, answer)
    if (problem !== undefined) throw new Error(problem)
    known[index] ??= Buffer.from(pending.subarray(answer.bodyStart))
    pending = undefined
    return true
  }

  const socket: Socket = connect({
    port,
    host: '127.0.0.1',
    onread: {
      buffer: Buffer.alloc(65_536),
      callback (length, bytes) {
        const received = bytes as Buffer
        try {
          if (index === -1) {
            throw new Error(`an answer that nobody asked for: ${received.toString('latin1', 0, Math.min(length, 300))}`)
          }
          if (isKnown(length, received) || checkInFull(length, received)) {
            const answered = index
            index = -1
            events.answered(connection, answered)
          }
        } catch (err) {
          events.failed(err as Error)
        }
        return true
      }
    }
  })
  socket.setNoDelay(true)
  await once(socket, 'connect')
  let closed = false
  socket.once('error', (err) => { if (!closed) events.failed(err) })
  socket.once('close', () => { if (!closed) events.failed(new Error('the server closed the connection')) })
  const connection: Connection = {
    send (next) {
      index = next
      socket.write(requests[next]!)
    },
    close () {
      closed = true
      socket.destroy()
    }
  }
  return connection
}

interface Drive {
  connections: number
  /** The request to send next on a connection that is free; undefined ends that connection. */
  next (): number | undefined
  /** @param sentAt when it was sent, in milliseconds */
  answered (now: number, sentAt: number): void
}

/** Keeps so many connections busy until there is no next request. @throws at the first wrong answer */
async function drive (port: number, traffic: Traffic, { connections, next, answered }: Drive): Promise<void> {
  const sentAt = new Map<Connection, { at: number }>()
  const all: Connection[] = []
  let last = performance.now()
  let finish: () => void
  let fail: (error: Error) => void
  const over = new Promise<void>((resolve, reject) => { [finish, fail] = [resolve, reject] })
  over.catch(() => {})
  let busy = 0
  let polling = true

  /** A core that sleeps is woken by whoever writes to it, which would be charged to the slower servers alone. */
  function poll (): void {
    if (polling) setImmediate(poll)
  }

  function proceed (connection: Connection, now: number): void {
    const index = next()
    if (index === undefined) {
      if (--busy === 0) finish()
      return
    }
    sentAt.get(connection)!.at = now
    connection.send(index)
  }

  const events: ConnectionEvents = {
    answered (connection) {
      last = performance.now()
      answered(last, sentAt.get(connection)!.at)
      proceed(connection, last)
    },
    failed: (error) => { fail(error) }
  }
  const patience = setInterval(() => {
    if (performance.now() - last > PATIENCE_MS) fail(new Error(`${NO_ANSWER} for ${PATIENCE_MS / 1_000} s`))
  }, 1_000)
  try {
    for (let count = 0; count < connections; count++) all.push(await openConnection(port, traffic, events))
    busy = all.length
    for (const connection of all) sentAt.set(connection, { at: 0 })
    last = performance.now()
    poll()
    for (const connection of all) proceed(connection, performance.now())
    await over
  } finally {
    polling = false
    clearInterval(patience)
    for (const connection of all) connection.close()
  }
}

export interface Closed {
  connections?: number
  warmMs: number
  measureMs: number
  /** Called where the measured time begins and ends. */
  edge (): void
}

export interface ClosedResult {
  requests: number
  elapsedMs: number
  /** Milliseconds, in order. */
  latencies: Float64Array
}

/** A closed loop: each connection sends its next request when it has its answer. */
export async function closedLoop (
  port: number,
  traffic: Traffic,
  { connections = 50, warmMs, measureMs, edge }: Closed
): Promise<ClosedResult> {
  const latencies = new Float64Array(Math.ceil(measureMs * 200))
  const count = traffic.requests.length
  let position = 0
  let requests = 0
  let begun: number | undefined
  let ended: number | undefined
  const from = performance.now() + warmMs
  await drive(port, traffic, {
    connections,
    next () {
      if (ended !== undefined) return undefined
      const index = position
      position = (position + 1) % count
      return index
    },
    answered (now, sentAt) {
      if (now < from || ended !== undefined) return
      if (begun === undefined) {
        begun = now
        edge()
        return
      }
      latencies[requests++] = now - sentAt
      if (now - begun >= measureMs) {
        ended = now
        edge()
      }
    }
  })
  return { requests, elapsedMs: ended! - begun!, latencies: latencies.subarray(0, requests).sort() }
}

/** Sends `count` requests in order, beginning again after the last, each once. @returns milliseconds */
export async function sendAll (
  port: number,
  traffic: Traffic,
  { connections = 50, count = traffic.requests.length }: { connections?: number; count?: number } = {}
): Promise<number> {
  let sent = 0
  let begun = 0
  let ended = 0
  await drive(port, traffic, {
    connections,
    next () {
      if (sent === 0) begun = performance.now()
      return sent === count ? undefined : sent++ % traffic.requests.length
    },
    answered (now) { ended = now }
  })
  return ended - begun
}

/**
 * An open loop: requests are due at a fixed rate, whatever the server does, and the latency of each counts from when
 * it was due (no coordinated omission). The core spins, so that none is late because of a timer.
 *
 * @returns milliseconds, in order
 */
export async function openLoop (
  port: number,
  traffic: Traffic,
  { perSecond, seconds, connections = 64 }: { perSecond: number; seconds: number; connections?: number }
): Promise<Float64Array> {
  const warm = perSecond
  const total = warm + perSecond * seconds
  const latencies = new Float64Array(total)
  const free: Connection[] = []
  const dueOf = new Map<Connection, number>()
  const all: Connection[] = []
  let answers = 0
  let finish: () => void
  let fail: (error: Error) => void
  const over = new Promise<void>((resolve, reject) => { [finish, fail] = [resolve, reject] })
  over.catch(() => {})
  const events: ConnectionEvents = {
    answered (connection) {
      latencies[answers++] = performance.now() - dueOf.get(connection)!
      free.push(connection)
      if (answers === total) finish()
    },
    failed: (error) => { fail(error) }
  }
  let turning: NodeJS.Immediate | undefined
  try {
    for (let count = 0; count < connections; count++) all.push(await openConnection(port, traffic, events))
    free.push(...all)
    const start = performance.now() + 20
    const due = (number: number): number => start + number * 1_000 / perSecond
    const deadline = due(total) + PATIENCE_MS
    let sent = 0
    const turn = (): void => {
      const now = performance.now()
      for (; sent < total && free.length > 0 && due(sent) <= now; sent++) {
        const connection = free.shift()!
        dueOf.set(connection, due(sent))
        connection.send(sent % traffic.requests.length)
      }
      if (now > deadline) fail(new Error(`${NO_ANSWER} for ${PATIENCE_MS / 1_000} s`))
      turning = setImmediate(turn)
    }
    turn()
    await over
    return latencies.subarray(warm).sort()
  } finally {
    clearImmediate(turning)
    for (const connection of all) connection.close()
  }
}

/** @param sorted in order @param share 0.99 for p99 */
export function percentile (sorted: ArrayLike<number>, share: number): number {
  return sorted[Math.min(sorted.length - 1, Math.floor(sorted.length * share))] ?? NaN
}
