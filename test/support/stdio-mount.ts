import { readFileSync } from 'node:fs'
import { fileURLToPath } from 'node:url'
import type { Test } from 'tap'
import type { OpenServer } from './open-server.ts'
import { until } from './until.ts'
import { startMounted } from './upstream.ts'

const ENDING = import.meta.url.slice(import.meta.url.lastIndexOf('.'))

/** test/support/stdio-server.ts */
export const STDIO_SERVER = fileURLToPath(new URL(`./stdio-server${ENDING}`, import.meta.url))
/** test/support/stdio-sdk-v1-server.ts */
export const SDK_V1_SERVER = fileURLToPath(new URL(`./stdio-sdk-v1-server${ENDING}`, import.meta.url))
/** The process that ends those of mounted servers. */
export const WATCHDOG = fileURLToPath(new URL(`../../src/mounts/watchdog${ENDING}`, import.meta.url))

/** A mount of a server on stdio. tap's own code in each process, by NODE_OPTIONS, would take a second. */
export function stdioMount (modes: string[] = [], members: object = {}, server = STDIO_SERVER): object {
  return { command: 'env', args: ['-u', 'NODE_OPTIONS', process.execPath, server, ...modes], ...members }
}

/** A server that has a mount on stdio. */
export interface StdioMounted extends OpenServer {
  /** Calls a tool of it. @returns its text */
  call (tool: string, args?: object): Promise<string>
}

/** Starts a server without sign-in that has this mount, as `local`, and waits until it is connected. */
export async function startStdio (t: Test, mount: object, env: Record<string, string> = {}): Promise<StdioMounted> {
  const seed = await startMounted(t, { local: mount }, { env })
  await seed.logged(({ event }) => event === 'mount.connected')
  return {
    ...seed,
    async call (tool, args = {}) {
      const { response } = await seed.send('legacy', 'tools/call', { name: `local_${tool}`, arguments: args })
      return response.result.content[0].text
    }
  }
}

export function isRunning (pid: number): boolean {
  try {
    process.kill(pid, 0)
    return readFileSync(`/proc/${pid}/stat`, 'utf8').split(' ')[2] !== 'Z'
  } catch {
    return false
  }
}

export async function untilEnded (...pids: number[]): Promise<void> {
  await until(() => !pids.some(isRunning), 'the processes have ended')
}
