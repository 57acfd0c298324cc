import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { createInterface } from 'node:readline'
import { text } from 'node:stream/consumers'
import type { ConnectedClient, ConnectOptions } from './client.ts'

/** The answer to `request`. */
interface Answer {
  result?: unknown
  error?: string
}

/** A reason of the matrix has 400 characters. */
const LAST_CHARACTERS = 350

interface Program {
  command: string
  /** In front of the URL and the redirect URI. */
  args: readonly string[]
  /** 2026-07-28 has none: otherwise the end is a DELETE, which is to be answered with 204. */
  hasSessions: boolean
}

/**
 * Starts a client in another language, which reads and prints a line at a time (python/client.py describes them), and
 * lets the person sign in.
 */
export async function connectProgram (
  { command, args, hasSessions }: Program,
  { url, redirectUri, signIn }: ConnectOptions
): Promise<ConnectedClient> {
  const child = spawn(command, [...args, url, redirectUri], { stdio: ['pipe', 'pipe', 'pipe'] })
  // Of a client that has ended, the next line is missing, which says more than EPIPE.
  child.stdin.on('error', () => {})
  const errors = text(child.stderr)
  const ended = once(child, 'close')
  const lines = createInterface({ input: child.stdout })[Symbol.asyncIterator]()

  async function next (): Promise<unknown> {
    const { value, done } = await lines.next() as { value: string, done: boolean }
    if (done) throw new Error(`the client ended: ${lastLinesOf(await errors)}`)
    return JSON.parse(value)
  }

  async function send (line: string): Promise<unknown> {
    child.stdin.write(`${line}\n`)
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
    async request (method, params) {
      const { result, error } = await send(`request ${JSON.stringify({ method, params })}`) as Answer
      if (error !== undefined) throw new Error(error)
      return result
    },
    spoilAccessToken () {
      child.stdin.write('spoil\n')
      next().catch(() => {})
    },
    async close () {
      try {
        const { deleted } = await send('close') as { deleted: number[] }
        await ended
        const expected = hasSessions ? '204' : ''
        if (deleted.join() !== expected) throw new Error(`its session ended with "${deleted.join()}", not "${expected}"`)
      } finally {
        child.kill('SIGKILL')
      }
    }
  }
}

/** Returns the end of what a program printed: a traceback names the error in its last line. */
function lastLinesOf (printed: string): string {
  return printed.trim().slice(-LAST_CHARACTERS)
}
