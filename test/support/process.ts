import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import type { ChildProcess } from 'node:child_process'
import type { Test } from 'tap'
import { freePort } from './free-port.ts'
import { ROOT } from './root.ts'

/** A process of the test's, whose output can be awaited. */
export interface TestProcess {
  child: ChildProcess
  /** Everything printed so far. */
  output (): Promise<string>
  /** Resolves once the output holds a match; rejects when the process ends without one. */
  printed (pattern: RegExp): Promise<RegExpMatchArray>
  /** Resolves with the exit code and the signal that ended it. */
  ended: Promise<{ code: number | null, signal: NodeJS.Signals | null }>
}

/** The bundle that ships, in a few files. It starts in half the time. */
export const BUNDLE = join(ROOT, '.test-build/bundle/src')
export const SERVER = join(BUNDLE, 'server.js')
export const CLI = join(BUNDLE, 'cli.js')
/** The same file by file, for coverage of what only a process reaches. */
export const COMPILED_SERVER = join(ROOT, '.test-build/src/server.js')
export const COMPILED_CLI = join(ROOT, '.test-build/src/cli.js')
/** The server with test/support/interactive-tools.ts. */
export const TOOL_SERVER = join(ROOT, '.test-build/test/support/tool-server.js')
/** The fuzz suite's server; its coverage would depend on chance. */
const FUZZ = join(ROOT, '.test-build/test/fuzz')
export const DEV = join(ROOT, '.test-build/dev/main.js')

/** An empty folder to start a process in, gone with the test. */
export async function emptyFolder (t: Test): Promise<string> {
  const folder = await mkdtemp(join(tmpdir(), 'seed-test-'))
  t.teardown(async () => { await rm(folder, { recursive: true }) })
  return folder
}

/** Keeps tap's TypeScript loader out of the processes that tests start. */
process.env['TAP_TYPE_STRIP_ONLY'] = '1'

/** Runs node with exactly this environment (and PATH); killed with the test at the latest. */
export function startProcess (t: Test, args: string[], env: Record<string, string>, cwd: string): TestProcess {
  const isCovered = !args.some((arg) => arg.startsWith(BUNDLE) || arg.startsWith(FUZZ))
  // What ships runs without the hooks that tap puts into NODE_OPTIONS: its coverage says nothing of the sources.
  const [command, ...before] = !isCovered ? ['env', '-u', 'NODE_OPTIONS', process.execPath] : [process.execPath]
  return startCommand(t, command!, [...before, ...args], { TAP_TYPE_STRIP_ONLY: '1', ...env }, cwd)
}

/** Runs a command with exactly this environment (and PATH); killed with the test at the latest. */
export function startCommand (
  t: Test,
  command: string,
  args: readonly string[],
  env: Record<string, string>,
  cwd: string
): TestProcess {
  const child = spawn(command, args, {
    cwd,
    env: { PATH: process.env['PATH']!, ...env },
    stdio: ['ignore', 'pipe', 'pipe']
  })
  let text = ''
  const ended = once(child, 'close').then(([code, signal]) => ({
    code: code as number | null,
    signal: signal as NodeJS.Signals | null
  }))
  for (const stream of [child.stdout!, child.stderr!]) {
    stream.setEncoding('utf8').on('data', (chunk: string) => {
      text += chunk
      child.emit('printed')
    })
  }
  t.teardown(async () => {
    child.kill('SIGKILL')
    await ended
  })
  return {
    child,
    ended,
    output: async () => text,
    async printed (pattern) {
      for (;;) {
        const match = text.match(pattern)
        if (match !== null) return match
        const over = await Promise.race([once(child, 'printed'), ended.then(() => 'over')])
        if (over === 'over' && !pattern.test(text)) {
          throw new Error(`ended without printing ${String(pattern)}:\n${text}`)
        }
      }
    }
  }
}

/** The built server as a process of its own on a free port, listening. */
export async function startServerProcess (
  t: Test,
  env: Record<string, string>,
  script = SERVER,
  nodeArgs: string[] = []
): Promise<TestProcess & { url: string }> {
  const port = await freePort()
  const url = `http://127.0.0.1:${port}`
  const server = startProcess(
    t,
    ['--enable-source-maps', ...nodeArgs, script],
    { PORT: String(port), BASE_URL: url, HOST: '127.0.0.1', CIMD_ENABLED: 'false', ...env },
    await emptyFolder(t)
  )
  await server.printed(/Seed is ready/)
  return { ...server, url }
}

/** Writes a `.env` into a folder. */
export async function writeDotenv (folder: string, content: string): Promise<void> {
  await writeFile(join(folder, '.env'), content)
}
