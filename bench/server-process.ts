import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { closeSync, mkdtempSync, openSync, readFileSync, rmSync } from 'node:fs'
import { connect } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { freePort } from '../test/support/free-port.ts'

/** A server in a process of its own, on its own core. */
export interface ServerProcess {
  port: number
  pid: number
  /** The last lines that it printed. */
  lastLines (): string
  /** @param signal SIGINT lets `--cpu-prof` write */
  stop (signal?: NodeJS.Signals): Promise<void>
}

export interface ServerOptions {
  name: string
  core: number
  /** Arguments of node: flags, and the script. */
  args: string[]
  env: Record<string, string>
  /** A path that answers 200 once the server may be used; without one it may be used when it listens. */
  ready?: string
}

const START_MS = 15_000

/** Its output goes to a file, as that of a service does. */
export async function startServer ({ name, core, args, env, ready }: ServerOptions): Promise<ServerProcess> {
  const folder = mkdtempSync(join(tmpdir(), 'seed-bench-'))
  const logFile = join(folder, 'output.log')
  const log = openSync(logFile, 'a')
  const port = await freePort()
  const child = spawn('taskset', ['-c', String(core), process.execPath, ...args], {
    cwd: folder,
    env: {
      PATH: process.env['PATH']!,
      NODE_ENV: 'production',
      HOST: '127.0.0.1',
      PORT: String(port),
      BASE_URL: `http://127.0.0.1:${port}`,
      ...env
    },
    stdio: ['ignore', log, log]
  })
  closeSync(log)
  const kill = (): void => { child.kill('SIGKILL') }
  process.once('exit', kill)
  const ended = once(child, 'exit')
  const over = (): boolean => child.exitCode !== null || child.signalCode !== null

  const server: ServerProcess = {
    port,
    pid: child.pid!,
    lastLines: () => readFileSync(logFile, 'utf8').trimEnd().split('\n').slice(-15).join('\n'),
    async stop (signal = 'SIGKILL') {
      child.kill(signal)
      if (!over()) await ended
      process.removeListener('exit', kill)
      rmSync(folder, { recursive: true, force: true })
    }
  }
  const deadline = performance.now() + START_MS
  while (!await (ready === undefined ? listens(port) : isReady(port, ready))) {
    if (over() || performance.now() > deadline) {
      const lines = server.lastLines()
      await server.stop()
      throw new Error(`${name} does not start:\n${lines}`)
    }
    await new Promise((resolve) => { setTimeout(resolve, 20) })
  }
  return server
}

async function listens (port: number): Promise<boolean> {
  return await new Promise((resolve) => {
    const socket = connect(port, '127.0.0.1')
    socket
      .once('connect', () => {
        resolve(true)
      })
      .once('error', () => {
        resolve(false)
      })
      .once('connect', () => {
        socket.destroy()
      })
  })
}

async function isReady (port: number, path: string): Promise<boolean> {
  return await fetch(`http://127.0.0.1:${port}${path}`).then(({ ok }) => ok, () => false)
}
