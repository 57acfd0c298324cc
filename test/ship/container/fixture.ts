import { mkdir, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { ROOT } from '../../support/root.ts'
import type { Engine } from './engine.ts'

/** The surroundings of the image in tests: tools of one's own, a client, and waiting for a container. */

export const IMAGE = 'seed-mcp-server:latest'
export const PROVIDER_IMAGE = 'seed-demo-provider:latest'
const CLIENT = join(ROOT, '.test-build/test/ship/container/client.js')

export interface ClientResult {
  tools: string[]
  results: Array<{ structuredContent?: Record<string, unknown>, failed?: string }>
  accessToken: string
}

/** Signs in at a container as a real MCP client on the machine does, and calls a tool some times at once. */
export async function callSignedIn (
  engine: Engine, tool: string, { count = 1, args = {} }: { count?: number, args?: object } = {}
): Promise<ClientResult> {
  const url = 'http://localhost:3000/mcp'
  const command = [CLIENT, url, tool, String(count), JSON.stringify(args)]
  const { code, stdout, stderr } = await engine.inNetwork(process.execPath, command, { env: { NODE_OPTIONS: '' } })
  if (code !== 0) throw new Error(`The client ended with ${code}:\n${stdout}${stderr}`)
  return JSON.parse(stdout) as ClientResult
}

/** Writes an extension folder with a package of its own, as its author installs it. */
export async function writeExtensions (folder: string): Promise<void> {
  await mkdir(join(folder, 'node_modules/greetings'), { recursive: true })
  await writeFile(
    join(folder, 'node_modules/greetings/package.json'),
    '{"name":"greetings","version":"1.0.0","type":"module","exports":"./index.js"}'
  )
  await writeFile(join(folder, 'node_modules/greetings/index.js'), "export const greet = (name) => 'Hello ' + name\n")
  await writeFile(
    join(folder, 'tools.js'),
    `import { getHeapStatistics } from 'node:v8'
import { setTimeout as sleep } from 'node:timers/promises'
import { defineTool } from 'seed-mcp-server'
import { greet } from 'greetings'
const tool = (name, output, handler) => defineTool({
  name, description: name, input: { type: 'object' }, output: { type: 'object', additionalProperties: true }, handler
})
export const greeting = tool('greeting', {}, (input, { principal }) => ({ text: greet(principal.name) }))
export const heap = tool('heap', {}, () => ({ megabytes: Math.round(getHeapStatistics().heap_size_limit / 2 ** 20) }))
export const slow = tool('slow', {}, async () => {
  console.log('a slow call began')
  await sleep(2_000)
  return { done: true }
})
`
  )
}

/** Waits until Seed is ready, its provider and Redis included. */
export async function waitUntilReady (engine: Engine): Promise<void> {
  const deadline = Date.now() + 60_000
  for (;;) {
    const { stdout } = await engine.inNetwork('curl', ['-s', 'http://localhost:3000/health/ready'])
    if (stdout.includes('"ready"')) return
    if (Date.now() > deadline) {
      throw new Error(`Seed is not ready: ${stdout}\n${await engine.dockerOutput(['ps', '-a'])}`)
    }
    await new Promise((resolve) => setTimeout(resolve, 200))
  }
}

/** Waits until a container's own health check says that it is well. */
export async function waitUntilHealthy (engine: Engine, container: string): Promise<void> {
  const deadline = Date.now() + 60_000
  for (;;) {
    const state = await engine.dockerOutput(['inspect', '--format', '{{.State.Health.Status}} {{.State.Status}}', container])
    if (state.startsWith('healthy')) return
    if (Date.now() > deadline || state.endsWith('exited')) {
      const { stdout, stderr } = await engine.docker(['logs', '--tail', '50', container])
      throw new Error(`${container} is ${state}:\n${stdout}${stderr}`)
    }
    await new Promise((resolve) => setTimeout(resolve, 200))
  }
}

/** Waits until the log of a container has a line so many times. */
export async function waitForLog (engine: Engine, container: string, line: string, times = 1): Promise<void> {
  const deadline = Date.now() + 60_000
  for (;;) {
    const { stdout, stderr } = await engine.docker(['logs', container])
    if (stdout.split(line).length > times) return
    if (Date.now() > deadline) throw new Error(`${container} did not log "${line}" ${times} times:\n${stdout}${stderr}`)
    await new Promise((resolve) => setTimeout(resolve, 100))
  }
}

/** The numbers of a memory limit that V8 got: 60 % of the container's. */
export const HEAP_SHARE = 0.6
