import { existsSync, readFileSync, rmSync } from 'node:fs'
import { join } from 'node:path'
import type { Profiler } from 'node:inspector'
import { fileURLToPath } from 'node:url'
import { startRedis } from '../test/support/redis.ts'
import type { Context } from './context.ts'
import { closedLoop } from './load.ts'
import { checkServer, createBareTraffic, createTraffic } from './messages.ts'
import { startServer } from './server-process.ts'
import { mountSettings, startMounted } from './mounting.ts'
import { callTargets, seedServer } from './targets.ts'
import type { Target } from './targets.ts'
import { markdownTable } from './text.ts'

const MEASURE_MS = 5_000
const WARM_MS = 3_000
const MAX_ROWS = 40
/** Seed with a call of a mounted server's tool. */
const MOUNT = 'mount'
const PRELOADED = new URL('./servers/profiled.js', import.meta.url).href
/** Seed file by file: in a bundle, no share has the name of its module. */
const MODULES = fileURLToPath(new URL('..', import.meta.url))

interface Share {
  name: string
  micros: number
}

/** Profiles one target, or `mount`, under load: self time of functions and of packages, for one request. */
export async function profileTarget (
  name: string,
  folder: string,
  context: Context
): Promise<string> {
  const { provider, builds } = context
  if (name === MOUNT) {
    const upstream = await startMounted(context)
    const server = seedServer(name, provider, mountSettings(folder, upstream, 1))
    const target = { name, label: '', server, kind: 'modern' as const, tools: 0, authenticated: true }
    return await profileServer(target, folder, context, 'm1_ping').finally(async () => { await upstream.stop() })
  }
  const targets = callTargets(provider, builds)
  const target = targets.find((target) => target.name === name)
  if (target === undefined) {
    throw new Error(`There is no target "${name}": ${[...targets.map(({ name }) => name), MOUNT].join(', ')}`)
  }
  return await profileServer(target, folder, context)
}

/** @param tool called instead of the benchmark's own */
async function profileServer (
  { name, server: spec, kind, base, authenticated }: Target,
  folder: string,
  { tokens, pinning }: Context,
  tool?: string
): Promise<string> {
  const file = join(folder, `${name}.cpuprofile`)
  // That of a run before this one would be taken for this one's.
  rmSync(file, { force: true })
  const redis = spec.redis === true ? await startRedis() : undefined
  const server = await startServer({
    ...spec,
    core: pinning.server,
    args: ['--import', PRELOADED, ...spec.args],
    env: { BENCH_SEED: MODULES, ...spec.env, BENCH_PROFILE: file, ...(redis !== undefined && { REDIS_URL: redis.url }) }
  })
  try {
    const traffic = await (base === true ? createBareTraffic : createTraffic)({
      kind, port: server.port, tokens, ...(tool !== undefined && { tool })
    })
    await checkServer(server.port, traffic, { kind, tokens, authenticated, ...(tool !== undefined && { tool }) })
    const { requests } = await closedLoop(server.port, traffic, {
      warmMs: WARM_MS,
      measureMs: MEASURE_MS,
      edge () {
        process.kill(server.pid, 'SIGWINCH')
      }
    })
    const deadline = performance.now() + 30_000
    while (!isWritten(file)) {
      if (performance.now() > deadline) throw new Error(`${name} wrote no profile:\n${server.lastLines()}`)
      await new Promise((resolve) => { setTimeout(resolve, 100) })
    }
    const profile = JSON.parse(readFileSync(file, 'utf8')) as Profiler.Profile
    return render(name, profile, requests, file)
  } finally {
    await server.stop()
    await redis?.stop()
  }
}

function isWritten (file: string): boolean {
  return existsSync(file) && readFileSync(file, 'latin1').endsWith('}')
}

function render (
  name: string,
  { nodes, samples = [], timeDeltas = [] }: Profiler.Profile,
  requests: number,
  file: string
): string {
  const self = new Map<number, number>()
  for (const [index, id] of samples.entries()) {
    self.set(id, (self.get(id) ?? 0) + Math.max(0, timeDeltas[index + 1] ?? 0))
  }
  const total = [...self.values()].reduce((sum, micros) => sum + micros, 0)
  const byFunction = new Map<string, number>()
  const byPackage = new Map<string, number>()
  for (const { id, callFrame: { functionName, url, lineNumber } } of nodes) {
    const micros = self.get(id) ?? 0
    const place = placeOf(url)
    add(
      byFunction,
      `${functionName || '(anonymous)'} ${place === '' ? '' : `${place}:${lineNumber + 1}`}`.trim(),
      micros
    )
    add(byPackage, packageOf(functionName, place), micros)
  }
  const table = (shares: Map<string, number>): string[] =>
    markdownTable(
      ['self time', 'µs/request', '%'],
      sorted(shares)
        .slice(0, MAX_ROWS)
        .map(({ name, micros }) => [name, (micros / requests).toFixed(2), ((micros / total) * 100).toFixed(1)])
    )
  return [
    `${name}: ${requests} requests, ${(total / requests).toFixed(1)} µs each; the profiler costs some of it. ${file}`,
    '',
    ...table(byPackage),
    '',
    ...table(byFunction)
  ].join('\n')
}

function add (shares: Map<string, number>, name: string, micros: number): void {
  shares.set(name, (shares.get(name) ?? 0) + micros)
}

function sorted (shares: Map<string, number>): Share[] {
  return [...shares]
    .map(([name, micros]) => ({ name, micros }))
    .filter(({ micros }) => micros > 0)
    .sort((a, b) => b.micros - a.micros)
}

/** The path without what all have in common. */
function placeOf (url: string): string {
  return url.replace(/^file:\/\//, '').replace(/^.*\/node_modules\//, '').replace(/^.*\/\.bench\/(compared\/)?/, '')
}

function packageOf (functionName: string, place: string): string {
  if (place === '') return functionName.startsWith('(') ? functionName : 'V8 and Node, in C++'
  if (place.startsWith('node:')) return place.split('/').slice(0, 2).join('/')
  if (/^(src|plugins|routes|bench)\//.test(place)) return place
  return place.split('/').slice(0, place.startsWith('@') ? 2 : 1).join('/')
}
