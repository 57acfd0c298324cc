import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import t from 'tap'
import type { Test } from 'tap'
import { freePort } from '../support/free-port.ts'
import { emptyFolder, startProcess, startServerProcess } from '../support/process.ts'
import type { TestProcess } from '../support/process.ts'
import { ROOT } from '../support/root.ts'
import { modernRequest, postMcp } from '../support/seed.ts'
import { until } from '../support/until.ts'
import { writeMounts } from '../support/upstream.ts'

/** Mounted servers that are processes, with every fault that a process can have, behind the built server. */
const UPSTREAM = join(ROOT, '.test-build/test/support/faulty-upstream.js')
const MAX_RESPONSE_BYTES = 1_000_000
/** Buffering one of the larger faults would take 100 MB, and four calls run at once. */
const MAX_GROWTH_MB = 250

type Era = 'modern' | 'session'

const TOO_MANY_BYTES = /sent more than 1000000 bytes \(maxResponseBytes\)/
const TOO_LATE = /did not finish within 3 seconds and was cancelled/
/** Whichever limit is reached first: that depends on the machine. */
const ENDLESS = /sent more than 1000000 bytes|sent more than 20000 lines in one stream|did not finish within 3 seconds/

/** The error that a caller gets for each fault. */
const ERRORS: Record<string, RegExp> = {
  huge_json: TOO_MANY_BYTES,
  huge_event: TOO_MANY_BYTES,
  huge_line: TOO_MANY_BYTES,
  huge_error: TOO_MANY_BYTES,
  huge_gzip: /answered with something other than MCP/,
  endless_events: ENDLESS,
  endless_comments: ENDLESS,
  deep_json: /sent more than 500 levels of JSON/,
  no_json: /answered with something other than MCP/,
  half_a_body: /not available at the moment/,
  half_an_event: /not available at the moment/,
  hang: TOO_LATE,
  hang_after_headers: TOO_LATE,
  trickle: TOO_LATE
}

async function startFaulty (t: Test, era: Era, port: number): Promise<TestProcess> {
  const upstream = startProcess(t, [UPSTREAM, era, String(port)], {}, await emptyFolder(t))
  await upstream.printed(/listening/)
  return upstream
}

interface Answer {
  isError: boolean
  text: string
}

async function call (url: string, name: string): Promise<Answer> {
  const { body } = await postMcp({ url }, modernRequest('tools/call', { name, arguments: {} }))
  const { result } = body as { result: { isError?: boolean, content: [Answer] } }
  return { isError: result.isError === true, text: result.content[0].text }
}

/** Calls a tool again and again until it is stopped. @returns its errors */
function callSteadily (url: string, name: string, stop: AbortSignal): Promise<{ calls: number, errors: string[] }> {
  const run = async (): Promise<{ calls: number, errors: string[] }> => {
    const errors: string[] = []
    let calls = 0
    for (; !stop.aborted; calls++) {
      const { isError, text } = await call(url, name)
      if (isError) errors.push(text)
    }
    return { calls, errors }
  }
  const running = run()
  running.catch(() => {})
  return running
}

/** The most memory that a process has used so far. */
function peakMemoryMb ({ pid }: TestProcess['child']): number {
  return Number(/VmHWM:\s+(\d+) kB/.exec(readFileSync(`/proc/${pid}/status`, 'utf8'))![1]) / 1_024
}

for (const era of ['modern', 'session'] as const) {
  t.test(`a mounted process (${era}) that floods, hangs, breaks off or dies harms nobody else`, {
    timeout: 300_000
  }, async (t) => {
    const ports = { faulty: await freePort(), sound: await freePort() }
    let faulty = await startFaulty(t, era, ports.faulty)
    await startFaulty(t, era, ports.sound)
    const maxResponseBytes = MAX_RESPONSE_BYTES
    const server = await startServerProcess(t, {
      AUTH_REQUIRED: 'false',
      MCP_LIMIT_PER_ADDRESS: '1000000',
      CALLS_PER_PRINCIPAL: '1000',
      SEED_MOUNTS: await writeMounts({
        faulty: { url: `http://127.0.0.1:${ports.faulty}/mcp`, maxResponseBytes, timeoutSeconds: 3 },
        sound: { url: `http://127.0.0.1:${ports.sound}/mcp`, maxResponseBytes }
      })
    })
    const { url, child } = server
    const untilUsable = async (when: string): Promise<void> => {
      await until(async () => !(await call(url, 'faulty_add')).isError, `the server is usable ${when}`)
    }
    await untilUsable('at the start')
    await until(async () => !(await call(url, 'sound_add')).isError, 'the other server is usable')
    const peakBefore = peakMemoryMb(child)
    const stop = new AbortController()
    const others = callSteadily(url, 'sound_add', stop.signal)

    for (const [fault, error] of Object.entries(ERRORS)) {
      const answers = await Promise.all(Array.from({ length: 4 }, async () => await call(url, `faulty_${fault}`)))
      for (const { isError, text } of answers) {
        t.ok(isError, fault)
        t.match(text, error, fault)
      }
      await untilUsable(`after ${fault}`)
    }

    faulty.child.kill('SIGSTOP')
    t.match(await call(url, 'faulty_add'), { isError: true, text: TOO_LATE }, 'stopped')
    faulty.child.kill('SIGCONT')
    await untilUsable('when it goes on')
    faulty.child.kill('SIGKILL')
    await faulty.ended
    t.match(await call(url, 'faulty_add'), { isError: true, text: /not available at the moment/ }, 'killed')
    faulty = await startFaulty(t, era, ports.faulty)
    await untilUsable('when it is started again')

    stop.abort()
    const { calls, errors } = await others
    t.same(errors, [], `none of ${calls} calls of the other server failed`)
    const growth = peakMemoryMb(child) - peakBefore
    t.ok(growth < MAX_GROWTH_MB, `gigabytes that were sent took ${Math.round(growth)} MB of memory`)
    t.notMatch(await server.output(), /handler\.failed|uncaught|unhandled|Warning/i, 'nothing is an error of Seed')
  })
}
