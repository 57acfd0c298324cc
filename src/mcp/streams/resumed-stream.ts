import { keys } from '../../store/keys.ts'
import type { Store } from '../../store/store.ts'
import type { McpResponse } from '../exchange.ts'
import { errorResponse, streamResponse } from '../exchange.ts'
import { runInBackground } from '../cluster/background.ts'
import type { BackgroundLog } from '../cluster/background.ts'
import { MAX_EVENTS, RETRY_MS } from './call-stream.ts'
import type { StreamRecord } from './call-stream.ts'
import type { EventStreams } from './event-stream.ts'
import type { Replicas } from '../cluster/replicas.ts'
import type { Session } from '../sessions/sessions.ts'

/** Streams of calls that clients read on after they were cut off, at this replica, whichever runs the call. */
export interface ResumedStreams {
  /**
   * Goes on after an event: `Last-Event-ID` of the GET (MCP 2025-11-25, resumability).
   * @returns 204 when the client has had all of it, 400 when it is not, or no longer, known in this session
   * @throws StoreUnavailableError
   */
  resume (session: Session, stream: string, after: number): Promise<McpResponse>
  /** Ends all of them: clients go on at another replica. */
  endAll (): void
}

export interface ResumedStreamOptions {
  store: Store
  replicas: Replicas
  streams: EventStreams
  log: BackgroundLog
  /** How often to look besides being told, and whether the replica that runs the call lives. */
  lookMs?: number
  /** A replica that gave no sign of life for so long has died: longer than it takes to begin anew with an empty store. */
  deadMs?: number
}

const ENDED_TTL_SECONDS = 300

interface Reader {
  session: string
  look (): void
  end (): void
}

export function createResumedStreams ({ store, replicas, streams, log, lookMs = 2_000, deadMs = 4_000 }: ResumedStreamOptions): ResumedStreams {
  const readers = new Map<string, Reader>()
  const lookForAll = (): void => { for (const reader of readers.values()) reader.look() }

  replicas.onMessage((message) => {
    if (message.kind === 'appended') readers.get(message.stream)?.look()
    if (message.kind === 'moved') readers.get(message.stream)?.end()
    if (message.kind === 'ended') {
      for (const reader of readers.values()) if (reader.session === message.session) reader.end()
    }
  })
  replicas.onGap(lookForAll)
  const looking = setInterval(lookForAll, lookMs).unref()

  async function readRecord (session: Session, stream: string): Promise<StreamRecord | undefined> {
    const text = await store.get(keys.stream(session.digest, stream))
    return text === undefined ? undefined : JSON.parse(text) as StreamRecord
  }

  function open (session: Session, stream: string, after: number): McpResponse {
    const owner = stream.split('.')[0]!
    const connection = streams.open()
    let read = after
    let silentSince: number | undefined
    let reading = false
    let again = false

    /** Writes the end that the call itself cannot. */
    async function fail (record: StreamRecord, message: string): Promise<void> {
      let last = 0
      for (const id of record.requests) {
        const data = JSON.stringify({ jsonrpc: '2.0', id, error: { code: -32000, message } })
        last = await store.append(keys.events(session.digest, stream), data, { ttlSeconds: ENDED_TTL_SECONDS, most: MAX_EVENTS })
      }
      // The client may have read more than was kept: its numbers go on from there.
      const shift = Math.max(0, read - (last - record.requests.length))
      const ended: StreamRecord = { requests: record.requests, closed: last + shift, shift }
      await store.set(keys.stream(session.digest, stream), JSON.stringify(ended), ENDED_TTL_SECONDS)
      again = true
    }

    async function checkOwner (record: StreamRecord): Promise<void> {
      if (await replicas.isAlive(owner)) {
        silentSince = undefined
        return
      }
      silentSince ??= performance.now()
      if (performance.now() - silentSince > deadMs) await fail(record, 'The server that ran this call has ended; nobody knows how far it came')
    }

    async function readOn (): Promise<void> {
      try {
        while (again) await readOnce()
      } finally {
        reading = false
      }
    }

    async function readOnce (): Promise<void> {
      again = false
      const record = await readRecord(session, stream)
      if (record === undefined) return connection.end()
      const { shift = 0 } = record
      const { entries } = await store.entries(keys.events(session.digest, stream), Math.max(0, read - shift))
      for (const [number, data] of entries) {
        read = number + shift
        connection.write({ data, id: `${stream}.${read}` })
      }
      if (record.closed !== undefined) {
        if (read >= record.closed) connection.end()
      } else if (record.lost) {
        await fail(record, 'The connection was lost, and the rest of the answer is too large to be kept')
      } else {
        await checkOwner(record)
      }
    }

    const reader: Reader = {
      session: session.digest,
      look () {
        again = true
        if (reading) return
        reading = true
        runInBackground(readOn(), log)
      },
      end () { connection.end() }
    }

    readers.get(stream)?.end()
    readers.set(stream, reader)
    connection.onEnd(() => { if (readers.get(stream) === reader) readers.delete(stream) })
    connection.raw(`retry: ${RETRY_MS}\n\n`)
    replicas.send({ kind: 'resumed', stream, reader: replicas.self }, owner)
    reader.look()
    return streamResponse(connection)
  }

  return {
    async resume (session, stream, after) {
      const record = await readRecord(session, stream)
      if (record === undefined) return errorResponse(400, -32000, 'The events after Last-Event-ID are not known here any more; send the request again')
      if (record.closed !== undefined && after >= record.closed) return { status: 204, headers: {}, body: null }
      return open(session, stream, after)
    },
    endAll () {
      clearInterval(looking)
      for (const reader of readers.values()) reader.end()
    }
  }
}
