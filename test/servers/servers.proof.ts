import { mkdir } from 'node:fs/promises'
import { homedir } from 'node:os'
import { join } from 'node:path'
import { Client, StreamableHTTPClientTransport } from '@modelcontextprotocol/client'
import { StdioClientTransport } from '@modelcontextprotocol/client/stdio'
import t from 'tap'
import type { RealClient } from '../providers/client.ts'
import { GO_CLIENTS } from '../providers/go-client.ts'
import { NPM_CLIENTS } from '../providers/npm-clients.ts'
import { PYTHON_CLIENTS } from '../providers/python-clients.ts'
import { SDK_CLIENTS, sendRequest } from '../providers/sdk-clients.ts'
import { createBrowser } from '../support/browser.ts'
import { freePort } from '../support/free-port.ts'
import { ready, startSeed } from '../support/seed.ts'
import { PLAIN_REDIRECT_URI } from '../support/sign-in.ts'
import { until } from '../support/until.ts'
import { writeMounts } from '../support/upstream.ts'
import { OWN_NAMES, mountedNames, normalize, selectOffers, sortLists, useEverything } from './everything.ts'
import type { Everything } from './everything.ts'
import type { HttpEntry, RealServer, StdioEntry } from './server.ts'
import { SERVERS } from './servers.ts'

/**
 * `npm run servers`: real MCP servers are mounted in one Seed, and real clients sign in and use everything that they
 * offer. What a client gets must be what the server gives to a client that is connected to it directly.
 */
const cache = process.env['SEED_PROVIDERS_CACHE'] ?? join(homedir(), '.cache/seed-providers')
const CLIENTS: RealClient[] = [...SDK_CLIENTS, ...NPM_CLIENTS, ...PYTHON_CLIENTS, ...GO_CLIENTS]

/** What a server gives without Seed. */
interface Direct {
  /** URIs of its list of resources. */
  listed: string[]
  everything: Everything
}

async function useDirectly (server: RealServer, entry: HttpEntry | StdioEntry): Promise<Direct> {
  const client = new Client({ name: 'servers', version: '1.0.0' }, { versionNegotiation: { mode: 'auto' } })
  await client.connect('url' in entry
    ? new StreamableHTTPClientTransport(new URL(entry.url))
    : new StdioClientTransport({ ...entry, stderr: 'ignore' }))
  const { resources } = await client.listResources().catch(() => ({ resources: [] }))
  const listed = resources.map(({ uri }) => uri)
  const everything = await useEverything(
    async (method, params) => await sendRequest(client, method, params), server.plan, listed, OWN_NAMES
  )
  await client.close()
  return { listed, everything: sortLists(normalize(selectOffers(everything, server, false), server)) }
}

function namesOf (everything: Everything, list: string): string[] {
  return ((everything[list] ?? []) as Array<{ name: string }>).map(({ name }) => name).sort()
}

/** What Seed leaves out, as the log names it. */
function offersOf ({ refused }: Record<string, unknown>): string[] {
  return (refused as Array<{ offer: string }>).map(({ offer }) => offer)
}

function refusedOffers ({ name: mount, plan: { refused: { tools = [], prompts = [] } = {} } }: RealServer): string[] {
  return [
    ...tools.map((name) => `Tool "${mount}_${name}"`), ...prompts.map((name) => `Prompt "${mount}_${name}"`)
  ]
}

t.test('real clients use everything that real servers offer behind Seed, after signing in', {
  timeout: 1_200_000
}, async (t) => {
  for (const { install } of SERVERS) await install?.()
  const mounts: Record<string, HttpEntry | StdioEntry> = {}
  await Promise.all(SERVERS.map(async (server) => { mounts[server.name] = await server.start(t) }))
  const direct = new Map<RealServer, Direct>()
  for (const server of SERVERS) {
    const found = await useDirectly(server, mounts[server.name]!)
    direct.set(server, found)
    const { tools, uncalled = {}, prompts = {} } = server.plan
    t.same(namesOf(found.everything, 'tools/list'), [...Object.keys(tools), ...Object.keys(uncalled)].sort(),
      `${server.name}: each tool is called, or has a reason`)
    t.same(namesOf(found.everything, 'prompts/list'), Object.keys(prompts).sort(),
      `${server.name}: each prompt is used`)
  }

  const seed = await startSeed(t, {
    definitions: [],
    env: { OAUTH_MODE: 'broker', SEED_MOUNTS: await writeMounts(mounts) },
    timings: { mountsWaitMs: 60_000 }
  })
  await ready(seed)
  await until(() => seed.logs.filter(({ event }) => event === 'mount.connected').length === SERVERS.length,
    'all servers are connected')
  t.same(seed.logs.filter(({ event }) => event === 'mount.offers_refused').flatMap(offersOf).sort(),
    SERVERS.flatMap(refusedOffers).sort(), 'the log says what is left out')
  const signIn = async (url: URL): Promise<URL> => await createBrowser().signIn(url, { login: 'ada', password: 'ada' })

  for (const client of CLIENTS) {
    await t.test(client.name, { timeout: 180_000 }, async (t) => {
      const cacheFolder = join(cache, client.name)
      await mkdir(cacheFolder, { recursive: true })
      await client.install?.(cacheFolder)
      const connected = await client.connect({
        url: `${seed.url}/mcp`,
        redirectUri: client.redirectUri?.(await freePort()) ?? PLAIN_REDIRECT_URI,
        cacheFolder,
        signIn
      })
      const { request } = connected
      if (request === undefined) {
        const names = await connected.listTools()
        for (const { name } of SERVERS) t.ok(names.some((tool) => tool.startsWith(`${name}_`)), `tools of ${name}`)
      } else {
        for (const server of SERVERS) {
          const { listed, everything: expected } = direct.get(server)!
          const everything = await useEverything(request, server.plan, listed, mountedNames(server))
          const found = sortLists(normalize(selectOffers(everything, server, true), server))
          t.same(Object.keys(found), Object.keys(expected))
          for (const [label, result] of Object.entries(expected)) {
            t.same(found[label], result, `${server.name}: ${label}`)
          }
        }
      }
      await connected.close()
    })
  }
})
