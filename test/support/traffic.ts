import { setTimeout as delay } from 'node:timers/promises'
import { modernRequest } from './seed.ts'

/**
 * Clients that go on calling while things break, and tell of each answer whether it was right, an honest refusal that a
 * well-behaved client tries again, or wrong.
 */
export interface Traffic {
  tally: Tally
  /** Ends the clients when each has its answer. */
  stop (): Promise<void>
}

export interface Tally {
  right: number
  refused: number
  /** The connection broke, as that of a killed process does. */
  broken: number
  /** Each kind of failure, and its count. */
  wrong: Map<string, number>
}

export interface TrafficOptions {
  /** Base URLs of the replicas, taken in turn. */
  targets: string[]
  /** Instead of the global one. */
  fetch?: typeof fetch
  token (subject: string): Promise<string>
  /** Whether a broken connection is to be expected now. */
  mayBreak (): boolean
  /** The current step, for the report of a failure. */
  during (): string
  modernClients: number
  sessionClients: number
}

const DEADLINE_MS = 20_000

type Outcome = 'right' | 'refused' | 'broken' | string

export function startTraffic (options: TrafficOptions): Traffic {
  const tally: Tally = { right: 0, refused: 0, broken: 0, wrong: new Map() }
  const stopping = new AbortController()
  let turn = 0
  const next = (): string => options.targets[turn++ % options.targets.length]!

  function note (outcome: Outcome): void {
    if (outcome === 'right' || outcome === 'refused') {
      tally[outcome]++
    } else if (outcome === 'broken' && options.mayBreak()) {
      tally.broken++
    } else {
      const what = `${options.during()}: ${outcome}`
      tally.wrong.set(what, (tally.wrong.get(what) ?? 0) + 1)
    }
  }

  async function send (
    subject: string,
    init: { method?: string; body?: string; headers?: Record<string, string>; signal?: AbortSignal }
  ): Promise<Response> {
    return await (options.fetch ?? fetch)(`${next()}/mcp`, {
      method: 'POST',
      signal: AbortSignal.timeout(DEADLINE_MS),
      ...init,
      headers: {
        'content-type': 'application/json',
        accept: 'application/json, text/event-stream',
        authorization: `Bearer ${await options.token(subject)}`,
        ...init.headers
      }
    })
  }

  /** One of 2026-07-28: each call by itself, and now and then one that asks back and goes on at the next replica. */
  async function modernClient (number: number): Promise<void> {
    const subject = `modern-${number}`
    for (let round = 0; !stopping.signal.aborted; round++) {
      note(
        await judge(async () =>
          round % 5 === 4
            ? await askedTwice(subject, round)
            : await modernCall(
              subject,
              { name: 'echo', arguments: { text: String(round) } },
              round,
                `${subject}: ${round}`
            )
        )
      )
      await delay(5)
    }
  }

  async function modernCall (
    subject: string,
    params: Record<string, unknown>,
    id: number,
    expected: string
  ): Promise<Outcome> {
    const { body, headers } = modernRequest('tools/call', params, id, { elicitation: {} })
    const response = await send(subject, { body, headers })
    return await refusal(response) ?? isText(await response.json(), expected, id)
  }

  async function askedTwice (subject: string, id: number): Promise<Outcome> {
    const params = { name: 'ask_twice', arguments: { topic: subject } }
    let answers: Record<string, unknown> = {}
    for (const expected of ['First', 'Second']) {
      const { body, headers } = modernRequest('tools/call', { ...params, ...answers }, id, { elicitation: {} })
      const response = await send(subject, { body, headers })
      const refused = await refusal(response)
      if (refused !== undefined) return refused
      const { result, error } = await response.json() as { result?: InputRequired, error?: { message: string } }
      const [key, asked] = Object.entries(result?.inputRequests ?? {})[0] ?? []
      if (key === undefined || !asked!.params.message.startsWith(expected)) {
        return `${expected} was not asked: ${JSON.stringify(result ?? error)}`
      }
      answers = {
        requestState: result!.requestState,
        inputResponses: { [key]: { action: 'accept', content: { value: asked!.params.message } } }
      }
    }
    return await modernCall(subject, { ...params, ...answers }, id, `First of ${subject}?, Second of ${subject}?`)
  }

  /**
   * One of 2025-11-25: a session, plain calls, calls with progress that are read on elsewhere when cut, questions
   * answered elsewhere.
   */
  async function sessionClient (number: number): Promise<void> {
    const subject = `session-${number}`
    let id = 0
    let session: string | undefined
    while (!stopping.signal.aborted) {
      id++
      const outcome = await judge(async () => {
        if (session === undefined) {
          const response = await send(subject, {
            body: rpc(id, 'initialize', {
              protocolVersion: '2025-11-25',
              capabilities: { elicitation: {} },
              clientInfo: { name: 'traffic', version: '1' }
            })
          })
          const refused = await refusal(response)
          if (refused !== undefined) return refused
          session = response.headers.get('mcp-session-id')!
          return session === null ? 'initialize gave no session' : 'right'
        }
        return await callInSession(subject, session, id)
      })
      note(outcome)
      await delay(5)
    }
  }

  async function callInSession (subject: string, session: string, id: number): Promise<Outcome> {
    const headers = { 'mcp-session-id': session, 'mcp-protocol-version': '2025-11-25' }
    if (id % 3 === 0) return await streamed(subject, headers, id, 'count', { steps: 5, pauseMs: 20 }, 'Counted to 5')
    if (id % 3 === 1) return await streamed(subject, headers, id, 'ask_form', {}, 'Ada is 36')
    const response = await send(subject, {
      body: rpc(id, 'tools/call', { name: 'echo', arguments: { text: String(id) } }),
      headers
    })
    return await refusal(response) ?? isText(await response.json(), `${subject}: ${id}`, id)
  }

  /**
   * Reads a stream to its response, going on at another replica when it breaks, and answers what it asks at yet
   * another.
   */
  async function streamed (
    subject: string,
    headers: Record<string, string>,
    id: number,
    name: string,
    args: object,
    expected: string
  ): Promise<Outcome> {
    const started = performance.now()
    let lastEventId: string | undefined
    const steps: number[] = []
    let response = await send(subject, {
      body: rpc(id, 'tools/call', { name, arguments: args, _meta: { progressToken: id } }),
      headers
    })
    let refused = await refusal(response)
    if (refused !== undefined) return refused
    for (;;) {
      try {
        if (response.headers.get('content-type')?.startsWith('application/json')) {
          return isText(await response.json(), expected, id)
        }
        for await (const event of readEvents(response)) {
          lastEventId = event.id ?? lastEventId
          if (event.data === '') continue
          const message = JSON.parse(event.data) as Message
          if (message.method === 'notifications/progress') steps.push(message.params.progress!)
          if (message.method === 'elicitation/create') {
            const answered = await answer(subject, headers, message.id!)
            if (answered !== 'right') return answered
          }
          if (message.method === undefined) {
            if (steps.some((step, index) => step !== index + 1)) return `progress lost or doubled: ${steps.join(' ')}`
            return isText(message, expected, id)
          }
        }
      } catch (err) {
        if (lastEventId === undefined) throw err
      }
      if (lastEventId === undefined) return 'broken'
      // On a machine so slow that Redis does not answer in time, the last word is an honest refusal.
      if (performance.now() - started > DEADLINE_MS) return refused ?? `${name} hung`
      const resumed = await send(subject, {
        method: 'GET',
        headers: { ...headers, accept: 'text/event-stream', 'last-event-id': lastEventId }
      }).catch(() => undefined)
      refused =
        resumed === undefined
          ? 'refused'
          : resumed.status === 204
            ? `${name} ended without a response`
            : await refusal(resumed)
      if (refused !== undefined && refused !== 'refused') return refused
      if (refused === undefined) response = resumed!
      else await delay(100)
    }
  }

  async function answer (subject: string, headers: Record<string, string>, id: string | number): Promise<Outcome> {
    const body = JSON.stringify({ jsonrpc: '2.0', id, result: { action: 'accept', content: { name: 'Ada', age: 36 } } })
    for (let tries = 0; tries < 100; tries++) {
      const response = await send(subject, { body, headers }).catch(() => undefined)
      if (response?.status === 202) return 'right'
      const refused = response === undefined ? 'refused' : await refusal(response)
      if (refused !== 'refused') return refused ?? `an answer got ${response!.status}`
      await delay(50)
    }
    return 'an answer was never taken'
  }

  const clients = [
    ...Array.from({ length: options.modernClients }, (_, number) => modernClient(number)),
    ...Array.from({ length: options.sessionClients }, (_, number) => sessionClient(number))
  ]
  return {
    tally,
    async stop () {
      stopping.abort()
      await Promise.all(clients)
    }
  }
}

interface Message {
  id?: string | number
  method?: string
  params: { progress?: number }
  result?: { content?: Array<{ text: string }>, isError?: boolean }
  error?: { code: number, message: string }
}

interface InputRequired {
  inputRequests?: Record<string, { params: { message: string } }>
  requestState?: string
}

const rpc = (id: number, method: string, params: object): string =>
  JSON.stringify({ jsonrpc: '2.0', id, method, params })

/** A broken connection is one thing, silence another. */
async function judge (work: () => Promise<Outcome>): Promise<Outcome> {
  try {
    return await work()
  } catch (err) {
    return (err as Error).name === 'TimeoutError' ? 'no answer in time' : 'broken'
  }
}

/** undefined for what is no refusal. */
async function refusal (response: Response): Promise<Outcome | undefined> {
  if (response.ok) return undefined
  const body = await response.text()
  if ([429, 503].includes(response.status) && Number(response.headers.get('retry-after')) > 0) return 'refused'
  return `${response.status} ${body.slice(0, 200)}`
}

/** A call whose server could not finish it, or whose answer was lost with Redis, says so in these words. */
const ENDED = /^The server is shutting down|it is unknown how far the call got$/

function isText (body: unknown, expected: string, id: number): Outcome {
  const { id: answered, result, error } = body as Message
  if (answered !== id) return `the answer to ${String(answered)} instead of that to ${id}`
  if (error !== undefined) return ENDED.test(error.message) ? 'refused' : `error ${error.code} ${error.message}`
  const text = result?.content?.[0]?.text
  return text === expected ? 'right' : `"${String(text)}" instead of "${expected}"`
}

async function * readEvents (response: Response): AsyncGenerator<{ id?: string, data: string }> {
  let text = ''
  const decoder = new TextDecoder()
  for await (const chunk of response.body!) {
    text += decoder.decode(chunk as Uint8Array, { stream: true })
    for (let end = text.indexOf('\n\n'); end >= 0; end = text.indexOf('\n\n')) {
      const lines = text.slice(0, end).split('\n')
      text = text.slice(end + 2)
      const data = lines.find((line) => line.startsWith('data: '))
      if (data === undefined) continue
      const id = lines.find((line) => line.startsWith('id: '))?.slice(4)
      yield { data: data.slice(6), ...(id !== undefined && { id }) }
    }
  }
}
