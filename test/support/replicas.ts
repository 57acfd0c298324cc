import type { Test } from 'tap'
import type { Definition } from '../../src/define/definition.ts'
import { startDevProvider } from '../../dev/provider.ts'
import type { DevProvider } from '../../dev/provider.ts'
import { freePort } from './free-port.ts'
import { TOOL_SERVER, emptyFolder, startProcess } from './process.ts'
import type { TestProcess } from './process.ts'
import { ready, startSeed } from './seed.ts'
import type { TestSeed } from './seed.ts'
import { until } from './until.ts'

/** Several Seeds in this process on one store, which clients take for one server. */
export interface Replicas {
  /** BASE_URL of all of them. */
  url: string
  seeds: TestSeed[]
  /** Resolves when they have logged this message as often, together. */
  logged (message: string, times: number): Promise<void>
  provider: DevProvider
  /** An access token. */
  token (subject?: string): Promise<string>
  /** Fetches BASE_URL from one replica after the other. */
  roundRobin: typeof fetch
  /** Fetches BASE_URL from this replica. */
  at (index: number): typeof fetch
}

export async function startReplicas (t: Test, { redisUrl, count = 2, definitions, env = {} }: {
  redisUrl: string
  count?: number
  definitions?: readonly Definition[]
  env?: Record<string, string>
}): Promise<Replicas> {
  const provider = await startDevProvider({ algorithm: 'ES256' })
  t.teardown(async () => { await provider.close() })
  const seeds: TestSeed[] = []
  for (let index = 0; index < count; index++) {
    const port = await freePort()
    const seed = await startSeed(t, {
      sharedProvider: provider,
      ...(definitions !== undefined && { definitions }),
      env: {
        PORT: String(port),
        BASE_URL: BASE,
        ALLOWED_HOSTS: `127.0.0.1:${port}`,
        REDIS_URL: redisUrl,
        SEED_SECRET: SECRET,
        ...env
      }
    })
    seeds.push({ ...seed, url: `http://127.0.0.1:${port}` })
    await ready(seeds[index]!)
  }
  return {
    ...share(provider, seeds.map(({ url }) => url)),
    seeds,
    async logged (message, times) {
      const count = (): number => seeds.flatMap(({ logs }) => logs).filter(({ msg }) => msg === message).length
      await until(() => count() >= times, `"${message}" is logged ${times} times`)
    }
  }
}

/** The same as processes of their own, with the tools of interactive-tools.ts. */
export interface ReplicaProcesses extends Omit<Replicas, 'seeds'> {
  processes: ReadonlyArray<TestProcess & { url: string }>
  /** Ends one in order, and starts it again at the same URL. */
  restart (index: number): Promise<void>
  /** Ends all in order. @returns their exit codes */
  stop (): Promise<Array<number | null>>
}

export async function startReplicaProcesses (
  t: Test,
  { redisUrl, count = 2, env = {} }: { redisUrl: string; count?: number; env?: Record<string, string> }
): Promise<ReplicaProcesses> {
  const provider = await startDevProvider({ algorithm: 'ES256' })
  t.teardown(async () => { await provider.close() })
  const start = async (port: number): Promise<TestProcess & { url: string }> => {
    const running = startProcess(t, ['--enable-source-maps', TOOL_SERVER], {
      PORT: String(port),
      HOST: '127.0.0.1',
      BASE_URL: BASE,
      ALLOWED_HOSTS: `127.0.0.1:${port}`,
      OIDC_ISSUER: provider.issuer,
      OIDC_AUDIENCE: provider.clientId,
      REDIS_URL: redisUrl,
      SEED_SECRET: SECRET,
      CIMD_ENABLED: 'false',
      ...env
    }, await emptyFolder(t))
    await running.printed(/Seed is ready/)
    await ready({ url: `http://127.0.0.1:${port}` })
    return { ...running, url: `http://127.0.0.1:${port}` }
  }
  const processes = await Promise.all(Array.from({ length: count }, async () => await start(await freePort())))
  return {
    ...share(provider, processes.map(({ url }) => url)),
    processes,
    async logged (message, times) {
      const count = async (): Promise<number> => {
        const outputs = await Promise.all(processes.map(async ({ output }) => await output()))
        return outputs.join('').split(`"msg":"${message}"`).length - 1
      }
      await until(async () => await count() >= times, `"${message}" is logged ${times} times`)
    },
    async restart (index) {
      const { child, ended, url } = processes[index]!
      child.kill('SIGTERM')
      await ended
      processes[index] = await start(Number(new URL(url).port))
    },
    async stop () {
      for (const { child } of processes) child.kill('SIGTERM')
      return await Promise.all(processes.map(async ({ ended }) => (await ended).code))
    }
  }
}

const BASE = 'http://127.0.0.1:1'
const SECRET = 'one secret for all of the replicas'

function share (provider: DevProvider, urls: string[]): Omit<Replicas, 'seeds' | 'logged'> {
  let turn = 0
  const at = (index: number): typeof fetch => async (input, init) => {
    const { pathname, search } = new URL(String(input))
    return await fetch(urls[index % urls.length]! + pathname + search, init)
  }
  return {
    url: BASE,
    provider,
    token: async (subject) => await provider.mint(subject === undefined ? {} : { sub: subject }),
    roundRobin: async (input, init) => await at(turn++)(input, init),
    at
  }
}
