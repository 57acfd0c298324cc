import type { Test } from 'tap'
import type { ToolDefinition } from '../../src/mcp/define.ts'
import { startDevProvider } from '../../dev/provider.ts'
import type { DevProvider } from '../../dev/provider.ts'
import { freePort } from './free-port.ts'
import { ready, startSeed } from './seed.ts'
import type { TestSeed } from './seed.ts'

/** Several Seeds on one store, which clients take for one server. */
export interface Replicas {
  /** BASE_URL of all of them. */
  url: string
  seeds: TestSeed[]
  provider: DevProvider
  /** An access token. */
  token (subject?: string): Promise<string>
  /** Fetches BASE_URL from one replica after the other. */
  roundRobin: typeof fetch
  /** Fetches BASE_URL from this replica. */
  at (index: number): typeof fetch
}

export async function startReplicas (t: Test, { redisUrl, count = 2, tools, env = {} }: {
  redisUrl: string
  count?: number
  tools?: readonly ToolDefinition[]
  env?: Record<string, string>
}): Promise<Replicas> {
  const provider = await startDevProvider({ algorithm: 'ES256' })
  t.teardown(async () => { await provider.close() })
  const url = 'http://127.0.0.1:1'
  const seeds: TestSeed[] = []
  for (let index = 0; index < count; index++) {
    const port = await freePort()
    const seed = await startSeed(t, {
      sharedProvider: provider,
      ...(tools !== undefined && { tools }),
      env: {
        PORT: String(port),
        BASE_URL: url,
        ALLOWED_HOSTS: `127.0.0.1:${port}`,
        REDIS_URL: redisUrl,
        SEED_SECRET: 'one secret for all of the replicas',
        ...env
      }
    })
    seeds.push({ ...seed, url: `http://127.0.0.1:${port}` })
    await ready(seeds[index]!)
  }
  let turn = 0
  const at = (index: number): typeof fetch => async (input, init) => {
    const { pathname, search } = new URL(String(input))
    return await fetch(seeds[index % count]!.url + pathname + search, init)
  }
  return {
    url,
    seeds,
    provider,
    token: async (subject) => await provider.mint(subject === undefined ? {} : { sub: subject }),
    roundRobin: async (input, init) => await at(turn++)(input, init),
    at
  }
}
