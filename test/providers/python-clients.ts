import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { copyFile } from 'node:fs/promises'
import { dirname, join } from 'node:path'
import { createInterface } from 'node:readline'
import { text } from 'node:stream/consumers'
import { ROOT } from '../support/root.ts'
import type { ConnectedClient, ConnectOptions, RealClient } from './client.ts'
import { installPython } from './python-environment.ts'

const SOURCE = join(ROOT, 'test/providers/python')
/** All in one virtual environment, beside the folders of the clients. */
const folderOf = (cacheFolder: string): string => join(dirname(cacheFolder), 'python')

/** Starts python/client.py, which reads and prints a line at a time, and lets the person sign in. */
async function connect (
  kind: string,
  { url, redirectUri, cacheFolder, signIn }: ConnectOptions
): Promise<ConnectedClient> {
  const folder = folderOf(cacheFolder)
  await copyFile(join(SOURCE, 'client.py'), join(folder, 'client.py'))
  const child = spawn(join(folder, 'bin/python'), [join(folder, 'client.py'), kind, url, redirectUri], {
    stdio: ['pipe', 'pipe', 'pipe']
  })
  const errors = text(child.stderr)
  const ended = once(child, 'close')
  const lines = createInterface({ input: child.stdout })[Symbol.asyncIterator]()

  async function next (): Promise<unknown> {
    const { value, done } = await lines.next() as { value: string, done: boolean }
    if (done) throw new Error(`the Python client ended: ${(await errors).slice(-2000)}`)
    return JSON.parse(value)
  }

  async function send (command: string): Promise<unknown> {
    child.stdin.write(`${command}\n`)
    return await next()
  }

  try {
    const { authorize } = await next() as { authorize: string }
    await send((await signIn(new URL(authorize))).href)
  } catch (err) {
    child.kill('SIGKILL')
    throw err
  }
  return {
    listTools: async () => await send('list') as string[],
    whoami: async () => await send('whoami') as Record<string, unknown>,
    spoilAccessToken () {
      child.stdin.write('spoil\n')
      next().catch(() => {})
    },
    async close () {
      try {
        const { deleted } = await send('close') as { deleted: number[] }
        await ended
        // 2026-07-28 has no sessions.
        const expected = kind === 'auto' ? '' : '204'
        if (deleted.join() !== expected) throw new Error(`its session ended with "${deleted.join()}", not "${expected}"`)
      } finally {
        child.kill('SIGKILL')
      }
    }
  }
}

/** The MCP SDK for Python in both eras of the protocol, and FastMCP's client. Those with sessions end them. */
export const PYTHON_CLIENTS: RealClient[] = ([
  ['Python SDK, 2025-11-25', 'legacy'],
  ['Python SDK, 2026-07-28', 'auto'],
  ['FastMCP', 'fastmcp']
] as const).map(([name, kind]) => ({
  name,
  providers: ['glewlwyd', 'better-auth'],
  install: async (cacheFolder) => { await installPython(folderOf(cacheFolder), SOURCE) },
  connect: async (options) => await connect(kind, options)
}))
