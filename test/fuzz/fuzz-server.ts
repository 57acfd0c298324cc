import { once } from 'node:events'
import { Agent, request } from 'node:http'
import { connect } from 'node:net'
import { setTimeout as pause } from 'node:timers/promises'
import { join } from 'node:path'
import fc from 'fast-check'
import t from 'tap'
import type { IncomingHttpHeaders, IncomingMessage } from 'node:http'
import type { IAsyncProperty, IAsyncPropertyWithHooks } from 'fast-check'
import type { Test } from 'tap'
import { SERVER, startServerProcess } from '../support/process.ts'
import type { TestProcess } from '../support/process.ts'
import { ROOT } from '../support/root.ts'

/**
 * The server as a process of its own, and the promises that hold whatever it is sent: every request is answered, never
 * with an unexpected error, the process goes on, and no request holds the event loop for long.
 */

export const TOOL_SERVER = join(ROOT, '.test-build/test/fuzz/tool-server.js')
const MONITOR = join(ROOT, '.test-build/test/fuzz/loop-monitor.js')

/** The longest that one request may hold the event loop. */
const MAX_HELD_MS = 50
/** Long enough for a machine that is busy with other things. */
const ANSWER_MS = 30_000
/** The server's limit. */
const MAX_BODY_BYTES = 1_048_576
/** How long a stream may wait for its first event before it counts as an open one. */
const STREAM_MS = 30

/** FUZZ_RUNS: how many inputs each property is tried with; by default few, the same ones each time. */
const RUNS = process.env['FUZZ_RUNS']
const SEED = Number(process.env['FUZZ_SEED'] ?? (RUNS === undefined ? 14 : Date.now() % 2 ** 31))
if (RUNS !== undefined) t.setTimeout(86_400_000)

/** Tries a property. A failure names the seed, the path and the smallest input that fails. */
export async function check (
  property: IAsyncProperty<any> | IAsyncPropertyWithHooks<any>, { runs }: { runs: number }
): Promise<void> {
  await fc.assert(property, {
    numRuns: RUNS === undefined ? runs : Math.max(runs, Math.ceil(Number(RUNS) * runs / 500)),
    seed: SEED,
    interruptAfterTimeLimit: RUNS === undefined ? 120_000 : 80_000_000
  })
}

export interface FuzzRequest {
  method?: string
  /** Path and query. */
  path: string
  headers?: Record<string, string | string[]>
  body?: Buffer | string
}

export interface FuzzResponse {
  status: number
  headers: IncomingHttpHeaders
  body: string
  /** Milliseconds until the whole answer had come, or the first event of a stream. */
  ms: number
}

export interface FuzzServer extends TestProcess {
  url: string
  send (request: FuzzRequest): Promise<FuzzResponse>
  /** Sends the request and checks its answer. @param allowed server errors that the documents promise */
  answers (request: FuzzRequest, allowed?: readonly number[]): Promise<FuzzResponse>
  /** Sends bytes that may not be HTTP. @returns the status; undefined when the connection was closed without one */
  sendRaw (bytes: Buffer): Promise<number | undefined>
  /** Fails if the process has ended, or has logged an error that it did not expect. */
  isWell (): Promise<void>
}

/** What no limit shall keep from the server. */
const NO_LIMITS = {
  OAUTH_LIMIT_PER_ADDRESS: '100000000',
  OAUTH_LIMIT_PER_CLIENT: '100000000',
  MCP_LIMIT_PER_ADDRESS: '100000000',
  MCP_LIMIT_PER_PRINCIPAL: '100000000',
  MCP_LIMIT_REFUSED: '100000000',
  DCR_LIMIT_PER_ADDRESS: '100000000',
  DCR_LIMIT_TOTAL: '100000000',
  CALLS_PER_PRINCIPAL: '100000',
  STREAMS_PER_PRINCIPAL: '100000',
  SESSIONS_PER_PRINCIPAL: '100',
  TOOL_TIMEOUT_SECONDS: '1',
  INPUT_TIMEOUT_SECONDS: '1'
}

export async function startFuzzServer (
  t: Test, env: Record<string, string>, script = SERVER
): Promise<FuzzServer> {
  const server = await startServerProcess(t, { ...NO_LIMITS, ...env }, script, ['--import', MONITOR])
  const [, monitorPort] = await server.printed(/The loop monitor listens on port (\d+)/)
  const agent = new Agent({ keepAlive: true, maxSockets: 8 })
  t.teardown(() => { agent.destroy() })

  const send = async (message: FuzzRequest): Promise<FuzzResponse> => await exchange(server.url, agent, message)

  /** Whether this request alone holds the event loop, three times out of three; other processes may do so once. */
  async function holdsTheLoop (message: FuzzRequest): Promise<number | undefined> {
    let least = Infinity
    for (let attempt = 0; attempt < 3; attempt++) {
      await readMonitor(Number(monitorPort))
      await send(message)
      const { heldMs, cpuMs } = await readMonitor(Number(monitorPort))
      least = Math.min(least, heldMs, cpuMs)
      if (least <= MAX_HELD_MS) return undefined
    }
    return least
  }

  async function answers (message: FuzzRequest, allowed: readonly number[] = []): Promise<FuzzResponse> {
    const response = await send(message).catch(async (err: Error) => {
      if (server.child.exitCode !== null) throw new Error(`The process has ended:\n${(await server.output()).slice(-4_000)}`)
      throw new Error(`No answer (${err.message})`, { cause: err })
    })
    checkResponse(response, allowed)
    if (response.ms > MAX_HELD_MS) {
      const held = await holdsTheLoop(message)
      if (held !== undefined) throw new Error(`The event loop is held for ${Math.round(held)} ms`)
    }
    return response
  }

  async function sendRaw (bytes: Buffer): Promise<number | undefined> {
    const socket = connect(Number(new URL(server.url).port), '127.0.0.1')
    socket.on('error', () => {})
    let text = ''
    const closed = new Promise<void>((resolve) => socket.once('close', () => { resolve() }))
    const answered = new Promise<void>((resolve) => socket.on('data', (chunk) => {
      text += chunk.toString('latin1')
      if (text.includes('\r\n\r\n')) resolve()
    }))
    // The end of what is sent: a server that waits for more would wait for its timeout.
    socket.end(bytes)
    const late = pause(ANSWER_MS, 'late', { ref: false })
    if (await Promise.race([closed, answered, late]) === 'late') throw new Error('No answer')
    socket.destroy()
    const status = /^HTTP\/1\.1 (\d{3}) /.exec(text)?.[1]
    return status === undefined ? undefined : Number(status)
  }

  async function isWell (): Promise<void> {
    if (server.child.exitCode !== null) throw new Error(`The process has ended:\n${(await server.output()).slice(-4_000)}`)
    const { status } = await send({ method: 'GET', path: '/health' })
    if (status !== 200) throw new Error(`/health answers ${status}`)
    const error = /^.*Unexpected error.*$/m.exec(await server.output())
    if (error !== null) throw new Error(`Logged: ${error[0]}`)
  }

  return { ...server, send, answers, sendRaw, isWell }
}

/** What an answer never is: a server error, text of the runtime, or JSON that cannot be read. */
function checkResponse ({ status, headers, body }: FuzzResponse, allowed: readonly number[]): void {
  if (status >= 500 && !allowed.includes(status)) throw new Error(`Status ${status}: ${body.slice(0, 500)}`)
  const leak = /Cannot read propert|is not a function|is not iterable|is not defined|\.(?:js|ts):\d+:\d+/.exec(body)
  if (leak !== null) throw new Error(`The answer has internal text: ${body.slice(0, 500)}`)
  if (headers['content-type']?.startsWith('application/json') === true && body !== '') JSON.parse(body)
}

async function readMonitor (port: number): Promise<{ heldMs: number, cpuMs: number }> {
  return await (await fetch(`http://127.0.0.1:${port}/`)).json() as { heldMs: number, cpuMs: number }
}

/** One request. A stream counts as answered with its first event, or when it stays open without any. */
async function exchange (url: string, agent: Agent | false, message: FuzzRequest): Promise<FuzzResponse> {
  const { method = 'POST', path, headers = {}, body } = message
  const started = performance.now()
  const sent = request(`${url}${path}`, {
    agent, method, headers: { ...headers, ...(body !== undefined && { 'content-length': Buffer.byteLength(body) }) }
  })
  // An error after the answer, such as a connection that closes before the whole body is sent, is none.
  sent.on('error', () => {})
  sent.end(body)
  const timer = setTimeout(() => { sent.destroy(new Error(`nothing within ${ANSWER_MS} ms`)) }, ANSWER_MS)
  try {
    const [response] = await once(sent, 'response') as [IncomingMessage]
    const { statusCode: status = 0, headers } = response
    const isStream = headers['content-type']?.startsWith('text/event-stream') === true
    const text = isStream ? await readFirstEvent(response) : await readAll(response)
    return { status, headers, body: text, ms: isStream ? 0 : performance.now() - started }
  } catch (err) {
    // The server closes the connection while such a body is still sent: its answer may be lost.
    if (Buffer.byteLength(body ?? '') > MAX_BODY_BYTES) return { status: 413, headers: {}, body: '', ms: 0 }
    // The server may have closed the connection after an earlier answer (RFC 9112 section 9.3.1).
    if (sent.reusedSocket) return await exchange(url, false, message)
    throw err
  } finally {
    clearTimeout(timer)
  }
}

async function readAll (response: IncomingMessage): Promise<string> {
  const chunks: Buffer[] = []
  for await (const chunk of response) chunks.push(chunk as Buffer)
  return Buffer.concat(chunks).toString()
}

async function readFirstEvent (response: IncomingMessage): Promise<string> {
  let text = ''
  response.setEncoding('utf8').on('data', (chunk: string) => { text += chunk })
  const ended = new Promise<void>((resolve) => {
    response.once('close', resolve)
    response.on('data', () => { if (/^data: ?\S/m.test(text)) resolve() })
  })
  await Promise.race([ended, pause(STREAM_MS)])
  response.destroy()
  return text
}
