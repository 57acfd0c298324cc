import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { accessSync, constants, mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { delimiter, join } from 'node:path'
import type { ChildProcess } from 'node:child_process'
import type { Test } from 'tap'
import { freePort } from './free-port.ts'

const BINARIES = ['redis-server', 'valkey-server']
const INSTALL = 'no redis-server or valkey-server on PATH: apt-get install redis-server'

export interface RedisServer {
  readonly url: string
  readonly port: number
  readonly pid: number
  /** Sends `signal`; after one that ends the server, resolves when it has ended. */
  kill (signal: NodeJS.Signals): Promise<void>
  /** Starts the killed server again on the same port, empty. */
  restart (): Promise<void>
  stop (): Promise<void>
}

export function findRedisBinary (): string | undefined {
  const candidates = (process.env.PATH ?? '').split(delimiter).flatMap((folder) => BINARIES.map((name) => join(
    folder,
    name
  )))
  return candidates.find((path) => {
    try {
      accessSync(path, constants.X_OK)
      return true
    } catch {
      return false
    }
  })
}

/**
 * A Redis for the contract: TEST_REDIS_URL, else a server of its own. Without either it fails in CI and skips
 * elsewhere, by name, so that nobody takes a run without Redis for a run with it.
 *
 *     const redis = await redisForTests(t)
 *     if (!redis) return
 */
export async function redisForTests (t: Test): Promise<{ url: string } | undefined> {
  const url = process.env.TEST_REDIS_URL
  return url ? { url } : await ownRedisForTests(t, { hint: `${INSTALL}, or set TEST_REDIS_URL` })
}

/** A Redis that the test may kill, fill or lock; stopped when the test ends. */
export async function ownRedisForTests (t: Test, {
  args = [],
  hint = INSTALL
}: { args?: string[], hint?: string } = {}): Promise<RedisServer | undefined> {
  if (lacksRedis(t, hint)) return undefined
  const server = await startRedis(args)
  t.teardown(() => server.stop())
  return server
}

/** Without a binary the test fails in CI and is skipped elsewhere, by name. */
export function lacksRedis (t: Test, hint = INSTALL): boolean {
  if (findRedisBinary() !== undefined) return false
  if (process.env.CI) t.fail(hint)
  else t.plan(0, hint)
  return true
}

/** @param args more of the command line; a function of the port, where they must name it */
export async function startRedis (args: string[] | ((port: number) => string[]) = []): Promise<RedisServer> {
  const binary = findRedisBinary()
  if (binary === undefined) throw new Error(INSTALL)
  const folder = mkdtempSync(join(tmpdir(), 'seed-redis-'))
  const options = ['--bind', '127.0.0.1', '--save', '', '--appendonly', 'no', '--dir', folder]
  const start = (port: number): Promise<ChildProcess | undefined> => {
    return spawnReady(
      binary,
      ['--port', String(port), ...options, ...typeof args === 'function' ? args(port) : args],
      'Ready to accept connections'
    )
  }

  // Another process may take the port between the look and the bind.
  let port = await freePort()
  let server = await start(port)
  for (let tries = 1; server === undefined && tries < 10; tries++) {
    port = await freePort()
    server = await start(port)
  }
  if (server === undefined) throw new Error(`${binary} does not start`)
  let child = server

  async function kill (signal: NodeJS.Signals): Promise<void> {
    if (child.exitCode !== null || child.signalCode !== null) return
    const ended = signal === 'SIGSTOP' || signal === 'SIGCONT' ? undefined : once(child, 'exit')
    child.kill(signal)
    await ended
  }

  return {
    url: `redis://127.0.0.1:${port}`,
    port,
    get pid () { return child.pid as number },
    kill,
    async restart () {
      for (let tries = 0; tries < 10; tries++) {
        const again = await start(port)
        if (again !== undefined) {
          child = again
          return
        }
      }
      throw new Error(`${binary} does not start again on port ${port}`)
    },
    async stop () {
      await kill('SIGKILL')
      rmSync(folder, { recursive: true, force: true })
    }
  }
}

/** The server once it has said `ready`; undefined when it ended before that (its port was taken). */
export async function spawnReady (binary: string, args: string[], ready: string): Promise<ChildProcess | undefined> {
  const child = spawn(binary, args, { stdio: ['ignore', 'pipe', 'ignore'] })
  const end = (): void => { child.kill('SIGKILL') }
  process.once('exit', end)
  child.once('exit', () => process.removeListener('exit', end))
  return await new Promise((resolve) => {
    let output = ''
    child.stdout.on('data', (chunk: Buffer) => {
      output += chunk.toString()
      if (output.includes(ready)) resolve(child)
    })
    child.once('exit', () => resolve(undefined))
  })
}
