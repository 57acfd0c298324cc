import { writeFileSync } from 'node:fs'
import { join } from 'node:path'
import type { Context } from './context.ts'
import { startServer } from './server-process.ts'
import type { ServerProcess } from './server-process.ts'
import { TOOLS, seedServer } from './targets.ts'

/** Starts a server to mount: a Seed without sign-in, with the tools of the benchmark, on the core of the load. */
export async function startMounted ({ provider, pinning }: Context): Promise<ServerProcess> {
  return await startServer({ ...seedServer('mounted', provider, { AUTH_REQUIRED: 'false' }), core: pinning.load })
}

/**
 * Returns the settings of a Seed that mounts a server `count` times, under the names `m1`, `m2` and so on.
 *
 * @param folder gets the file of SEED_MOUNTS
 */
export function mountSettings (folder: string, { port }: ServerProcess, count: number): Record<string, string> {
  const file = join(folder, `${count}-mounts.json`)
  const names = Array.from({ length: count }, (_none, index) => `m${index + 1}`)
  const mounts = Object.fromEntries(names.map((name) => [name, { url: `http://127.0.0.1:${port}/mcp` }]))
  writeFileSync(file, JSON.stringify({ mounts }))
  return { SEED_MOUNTS: file }
}

export const MOUNTS = 50
export const MOUNTED_TOOLS = MOUNTS * TOOLS
