import { execFile, spawn } from 'node:child_process'
import { once } from 'node:events'
import { mkdtemp, symlink, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { promisify } from 'node:util'
import type { ChildProcess } from 'node:child_process'
import type { Test } from 'tap'
import { freePort } from './seed.ts'

const ROOT = fileURLToPath(new URL('../..', import.meta.url))

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

/**
 * Compiles one of the project's TypeScript configurations to a folder of the test's own, as `npm run build` does to
 * dist/, so that tests run what ships without stepping on each other or on what is there.
 */
export async function build (t: Test, project: string): Promise<string> {
  const folder = await mkdtemp(join(tmpdir(), 'seed-build-'))
  await promisify(execFile)(process.execPath, [join(ROOT, 'node_modules/typescript/bin/tsc'), '-p', project, '--outDir', join(folder, 'dist')], { cwd: ROOT })
  for (const name of ['node_modules', 'package.json']) await symlink(join(ROOT, name), join(folder, name))
  t.teardown(async () => { await promisify(execFile)('rm', ['-rf', folder]) })
  return folder
}

/** Runs node with exactly this environment (and PATH); killed with the test at the latest. */
export function startProcess (t: Test, args: string[], env: Record<string, string>, cwd: string): TestProcess {
  const child = spawn(process.execPath, args, { cwd, env: { PATH: process.env['PATH']!, ...env }, stdio: ['ignore', 'pipe', 'pipe'] })
  let text = ''
  const ended = once(child, 'close').then(([code, signal]) => ({ code: code as number | null, signal: signal as NodeJS.Signals | null }))
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
        if (over === 'over' && !pattern.test(text)) throw new Error(`ended without printing ${String(pattern)}:\n${text}`)
      }
    }
  }
}

/** The built server as a process of its own on a free port, listening. */
export async function startServerProcess (t: Test, env: Record<string, string>): Promise<TestProcess & { url: string }> {
  const folder = await build(t, '.')
  const port = await freePort()
  const url = `http://127.0.0.1:${port}`
  const server = startProcess(t, ['--enable-source-maps', join(folder, 'dist/src/server.js')], { PORT: String(port), BASE_URL: url, HOST: '127.0.0.1', ...env }, folder)
  await server.printed(/Seed is ready/)
  return { ...server, url }
}

/** Writes a `.env` into a folder. */
export async function writeDotenv (folder: string, content: string): Promise<void> {
  await writeFile(join(folder, '.env'), content)
}
