import { randomBytes } from 'node:crypto'
import type { AuditRecord } from '../../src/audit/record.ts'

/** A `tools/call` and its end as the client saw it. */
export interface SeenCall {
  /** The trace id that it was sent with, which is in its line of the audit log. */
  trace: string
  tool: string
  /** Origin of the replica that it was sent to. */
  target: string
  sentAt: number
  /**
   * `unknown`: another replica said that the one which ran it is gone, or that Redis has not got its answer. Undefined:
   * no answer, as the connection broke, or not yet.
   */
  outcome: AuditRecord['outcome'] | 'unknown' | undefined
  answeredAt: number
}

interface Message {
  id?: string | number
  method?: string
  params?: { name: string }
  result?: { isError?: boolean, inputRequests?: object }
  error?: { code: number, message: string }
}

/** A `fetch` that gives each `tools/call` a trace id, and remembers how it ended, on whatever stream that was said. */
export function watchCalls () {
  const calls: SeenCall[] = []
  const running = new Map<string, SeenCall>()
  const readings = new Set<Promise<void>>()

  function recordAnswer (call: SeenCall, outcome: SeenCall['outcome']): void {
    call.outcome = outcome
    call.answeredAt = performance.now()
  }

  function readMessage (text: string, session: string, own: SeenCall | undefined): void {
    const message = JSON.parse(text) as Message
    if (message.method !== undefined) return
    const call = running.get(`${session} ${message.id}`) ?? own
    if (call !== undefined) recordAnswer(call, outcomeOf(message))
  }

  async function readResponse (response: Response, session: string, own: SeenCall | undefined): Promise<void> {
    if (response.status >= 400) {
      // A refused GET of a stream says nothing of the call.
      if (own !== undefined) recordAnswer(own, response.status >= 500 ? 'unavailable' : 'refused')
      await response.body?.cancel()
    } else if (response.headers.get('content-type')?.startsWith('application/json')) {
      readMessage(await response.text(), session, own)
    } else {
      for await (const data of readData(response)) readMessage(data, session, own)
    }
  }

  const watched: typeof fetch = async (input, init) => {
    const headers = new Headers(init?.headers)
    const session = headers.get('mcp-session-id') ?? ''
    const { id, method, params } = JSON.parse(typeof init?.body === 'string' ? init.body : '{}') as Message
    let call: SeenCall | undefined
    if (method === 'tools/call') {
      const trace = randomBytes(16).toString('hex')
      headers.set('traceparent', `00-${trace}-b7ad6b7169203331-01`)
      call = {
        trace,
        tool: params!.name,
        target: new URL(String(input)).origin,
        sentAt: performance.now(),
        outcome: undefined,
        answeredAt: Infinity
      }
      calls.push(call)
      if (session !== '') running.set(`${session} ${id}`, call)
    }
    const response = await fetch(input, { ...init, headers })
    if (call !== undefined || init?.method === 'GET') {
      const reading: Promise<void> = readResponse(response.clone(), session, call)
        .catch(() => { /* The connection broke. */ })
        .finally(() => { readings.delete(reading) })
      readings.add(reading)
    }
    return response
  }

  return {
    fetch: watched,
    calls: calls as readonly SeenCall[],
    /** Resolves when every response that has begun is read. */
    async settled (): Promise<void> { await Promise.all(readings) }
  }
}

function outcomeOf ({ result, error }: Message): SeenCall['outcome'] {
  if (error === undefined) {
    if (result?.inputRequests !== undefined) return 'input_required'
    return result?.isError === true ? 'error' : 'ok'
  }
  if (/it is unknown how far the call got$/.test(error.message)) return 'unknown'
  if (error.message.startsWith('The server is shutting down')) return 'cancelled'
  return error.code === -32603 ? 'error' : 'refused'
}

async function * readData (response: Response): AsyncGenerator<string> {
  let text = ''
  const decoder = new TextDecoder()
  for await (const chunk of response.body!) {
    text += decoder.decode(chunk as Uint8Array, { stream: true })
    const lines = text.split('\n')
    text = lines.pop()!
    for (const line of lines) if (line.startsWith('data: {')) yield line.slice('data: '.length)
  }
}
