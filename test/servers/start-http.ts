import type { Test } from 'tap'
import { freePort } from '../support/free-port.ts'
import { emptyFolder, startCommand } from '../support/process.ts'
import { until } from '../support/until.ts'
import type { HttpEntry } from './server.ts'

/**
 * Starts a program that speaks Streamable HTTP at `/mcp` of a port, and waits until it listens.
 *
 * @param givenPort a free one by default
 */
export async function startHttp (
  t: Test,
  command: string,
  args: (port: string) => string[],
  env: (port: string) => Record<string, string> = () => ({}),
  givenPort?: number
): Promise<HttpEntry> {
  const port = String(givenPort ?? await freePort())
  const url = `http://127.0.0.1:${port}/mcp`
  const home = await emptyFolder(t)
  const server = startCommand(t, command, args(port), { HOME: home, ...env(port) }, home)
  let hasEnded = false
  server.ended.then(() => { hasEnded = true })
  await until(async () => {
    if (hasEnded) throw new Error(`${command} has ended: ${await server.output()}`)
    return await fetch(url, { method: 'DELETE' }).then(() => true, () => false)
  }, `${command} listens`)
  return { url }
}
