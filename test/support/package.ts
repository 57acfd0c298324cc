import { execFile, spawn } from 'node:child_process'
import { once } from 'node:events'
import { cp, symlink } from 'node:fs/promises'
import { join } from 'node:path'
import { promisify } from 'node:util'
import type { Test } from 'tap'
import { emptyFolder } from './process.ts'
import { ROOT } from './root.ts'

const run = promisify(execFile)

/** npm keeps what it fetches here, so that a second run of the tests is quick and the user's cache stays as it is. */
export const NPM_ENV = {
  PATH: process.env['PATH']!,
  HOME: process.env['HOME']!,
  npm_config_cache: join(ROOT, '.test-build/npm-cache'),
  npm_config_prefer_offline: 'true',
  npm_config_update_notifier: 'false',
  npm_config_audit: 'false',
  npm_config_fund: 'false'
}

/** What a clone has that the package is made of. */
const SOURCES = [
  'src', 'plugins', 'routes', 'dev', 'packages', 'tsconfig.json', 'package.json', '.npmrc', 'README.md', 'LICENSE',
  'CHANGELOG.md'
]

/** Runs `npm pack` in a copy of the repository in which nothing is built. Returns the tarball. */
export async function packPackage (t: Test): Promise<string> {
  const clone = await emptyFolder(t)
  for (const path of SOURCES) await cp(join(ROOT, path), join(clone, path), { recursive: true })
  await symlink(join(ROOT, 'node_modules'), join(clone, 'node_modules'))
  return await packFolder(clone)
}

/** Runs `npm pack` in a folder. Returns the tarball. */
export async function packFolder (folder: string): Promise<string> {
  const { stdout } = await run('npm', ['pack', '--json'], { cwd: folder, env: NPM_ENV, maxBuffer: 10_000_000 })
  // Scripts print before npm does.
  const [{ filename }] = JSON.parse(stdout.slice(stdout.indexOf('[\n'))) as [{ filename: string }]
  return join(folder, filename)
}

/** A command with all that it starts, which ends with the test. */
export interface CommandTree {
  /** Resolves once the output holds a match; rejects with the output when the command ends without one. */
  printed (pattern: RegExp): Promise<string>
  /** Ends the command and all that it has started. */
  stop (): Promise<void>
}

/** Starts a command, such as npx, in a process group of its own. */
export function startTree (
  t: Test, command: string, args: readonly string[], cwd: string, env: Record<string, string> = {}
): CommandTree {
  const child = spawn(command, args, { cwd, env: { ...NPM_ENV, ...env }, detached: true, stdio: ['ignore', 'pipe', 'pipe'] })
  let output = ''
  for (const stream of [child.stdout, child.stderr]) {
    stream.setEncoding('utf8').on('data', (chunk: string) => {
      output += chunk
      child.emit('printed')
    })
  }
  const ended = once(child, 'close')
  const stop = async (): Promise<void> => {
    try {
      process.kill(-child.pid!, 'SIGTERM')
    } catch {
      // It has ended by itself.
    }
    await ended
  }
  t.teardown(stop)
  return {
    stop,
    async printed (pattern) {
      for (;;) {
        if (pattern.test(output)) return output
        const hasEnded = await Promise.race([once(child, 'printed').then(() => false), ended.then(() => true)])
        if (hasEnded && !pattern.test(output)) throw new Error(`ended without printing ${String(pattern)}:\n${output}`)
      }
    }
  }
}
