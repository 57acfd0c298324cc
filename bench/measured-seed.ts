import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { closeSync, mkdtempSync, openSync, readFileSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { createInterface } from 'node:readline'
import { fileURLToPath } from 'node:url'
import { freePort } from '../test/support/free-port.ts'
import type { MemoryReport } from './report-memory.ts'

const compiled = (path: string): string => fileURLToPath(new URL(path, import.meta.url))
/** Seed with the tools of the tests, one of which says that the tools have changed. */
const SERVER = compiled('../test/support/tool-server.js')
const PRELOADED = new URL('./report-memory.js', import.meta.url).href

/** Bytes. */
export interface Memory {
  /** Bytes of JavaScript: objects, buffers and what they hold. */
  heap: number
  /** Bytes of the process, as the kernel counts them. */
  rss: number
  /** Heap that V8 has reserved and does not use: mostly its young generation, 31 MiB of it under load. */
  unused: number
  sockets: number
}

/** One Seed, in a process of its own, which is looked at from outside. */
export interface MeasuredSeed {
  url: string
  /** Collects all garbage, again and again until no more goes away, and says what is left. */
  measure (): Promise<Memory>
  /** The number that is open now. */
  sockets (): Promise<number>
  /** The last lines of its log. */
  lastLines (): string
  stop (): Promise<void>
}

/** A change of less than this from one look to the next is none. */
const STILL = { heap: 32_768, rss: 524_288 }
/** V8 gives the room of its young objects (2 x 16 MiB) back only when several collections in a row found little. */
const MIN_SAMPLES = 5
const MAX_SAMPLES = 40

/** @param options `script`: another server than that of the soak; `core`: where it runs, with all its threads */
export async function startMeasuredSeed (
  env: Record<string, string>,
  { script = SERVER, core }: { script?: string; core?: number } = {}
): Promise<MeasuredSeed> {
  const folder = mkdtempSync(join(tmpdir(), 'seed-soak-'))
  const logFile = join(folder, 'seed.log')
  const log = openSync(logFile, 'w')
  const port = await freePort()
  const url = `http://127.0.0.1:${port}`
  const command = [
    ...(core === undefined ? [] : ['taskset', '-c', String(core)]),
    process.execPath,
    '--enable-source-maps',
    '--disable-proto=delete',
    '--expose-gc',
    '--import',
    PRELOADED,
    script
  ]
  const child = spawn(command[0]!, command.slice(1), {
    cwd: folder,
    env: {
      PATH: process.env['PATH']!,
      NODE_ENV: 'production',
      HOST: '127.0.0.1',
      PORT: String(port),
      BASE_URL: url,
      CIMD_ENABLED: 'false',
      ...env
    },
    stdio: ['ignore', log, 'pipe']
  })
  closeSync(log)
  const kill = (): void => { child.kill('SIGKILL') }
  process.once('exit', kill)
  const ended = once(child, 'exit')

  const reports: MemoryReport[] = []
  const errors: string[] = []
  createInterface({ input: child.stderr! }).on('line', (line) => {
    if (line.startsWith('{"heapUsed"')) reports.push(JSON.parse(line) as MemoryReport)
    else errors.push(line)
    child.emit('line')
  })

  const lastLines = (): string =>
    [...readFileSync(logFile, 'utf8').trimEnd().split('\n').slice(-20), ...errors.slice(-20)].join('\n')

  async function report (): Promise<MemoryReport> {
    child.kill('SIGWINCH')
    while (reports.length === 0) {
      if (child.exitCode !== null || child.signalCode !== null) throw new Error(`Seed has ended:\n${lastLines()}`)
      await Promise.race([once(child, 'line'), ended])
    }
    return reports.shift()!
  }

  function residentBytes (): number {
    const [, kib] = /^VmRSS:\s+(\d+) kB$/m.exec(readFileSync(`/proc/${child.pid}/status`, 'utf8')) ?? []
    return Number(kib) * 1_024
  }

  async function sample (): Promise<Memory> {
    const { heapUsed, external, heapTotal, resources } = await report()
    return {
      heap: heapUsed + external,
      rss: residentBytes(),
      unused: heapTotal - heapUsed,
      sockets: resources['TCPSocketWrap'] ?? 0
    }
  }

  const seed: MeasuredSeed = {
    url,
    async measure () {
      let last: Memory = { heap: Infinity, rss: Infinity, unused: 0, sockets: 0 }
      for (let samples = 1; samples <= MAX_SAMPLES; samples++) {
        const memory = await sample()
        const still = Math.abs(last.heap - memory.heap) < STILL.heap && Math.abs(last.rss - memory.rss) < STILL.rss
        if (still && samples >= MIN_SAMPLES) return memory
        last = memory
        await new Promise((resolve) => { setTimeout(resolve, 100) })
      }
      throw new Error(`The memory of Seed does not come to rest: ${JSON.stringify(last)} after ${MAX_SAMPLES} samples`)
    },
    async sockets () { return (await sample()).sockets },
    lastLines,
    async stop () {
      child.kill('SIGTERM')
      await ended
      process.removeListener('exit', kill)
      rmSync(folder, { recursive: true, force: true })
    }
  }

  try {
    while (!await isReady(url)) {
      if (child.exitCode !== null) throw new Error(`Seed does not start:\n${lastLines()}`)
      await new Promise((resolve) => { setTimeout(resolve, 50) })
    }
    return seed
  } catch (err) {
    await seed.stop()
    throw err
  }
}

async function isReady (url: string): Promise<boolean> {
  return await fetch(`${url}/health/ready`).then(({ ok }) => ok, () => false)
}
