import { execFileSync, spawnSync } from 'node:child_process'
import { existsSync, readFileSync, writeFileSync } from 'node:fs'
import { loadavg } from 'node:os'
import { basename, join, resolve } from 'node:path'
import { fileURLToPath } from 'node:url'
import { parseArgs } from 'node:util'
import type { Context, PartResult } from './context.ts'
import { startIdentity } from './identity.ts'
import { describeMachine, pinMyself } from './machine.ts'
import { measureCalls } from './parts/calls.ts'
import { measureFirstSight } from './parts/first-sight.ts'
import { measureLists } from './parts/lists.ts'
import { measureMemory } from './parts/memory.ts'
import { measureMountedCalls } from './parts/mounts.ts'
import { measureOpenLoop } from './parts/open-loop.ts'
import { measureStart } from './parts/start.ts'
import { drawPicture } from './picture.ts'
import { profileTarget } from './profile.ts'
import { PEERS } from './targets.ts'

/**
 * `npm run bench`: Seed beside a bare Fastify route and beside other servers, all on this machine.
 * bench/BENCH.md says how it measures.
 *
 * It ends with 1 when an answer is wrong, or with --strict when something was not reached.
 */
const PARTS: Record<string, (context: Context) => Promise<PartResult>> = {
  calls: measureCalls,
  lists: measureLists,
  mounts: measureMountedCalls,
  'open-loop': measureOpenLoop,
  'first-sight': measureFirstSight,
  memory: measureMemory,
  start: measureStart
}

const ROOT = fileURLToPath(new URL('../..', import.meta.url))

const { values } = parseArgs({
  options: {
    /** Parts, comma-separated. */
    parts: { type: 'string' },
    /** Targets of the comparison, comma-separated; the bare route always is one. */
    only: { type: 'string' },
    rounds: { type: 'string' },
    quick: { type: 'boolean', default: false },
    strict: { type: 'boolean', default: false },
    /** Another worktree, whose Seed is measured beside this one; more than once for more. */
    compare: { type: 'string', multiple: true, default: [] },
    /** A setting of Node's, with which Seed is measured beside itself without; more than once for more. */
    flags: { type: 'string', multiple: true, default: [] },
    /** The target whose time is profiled. */
    profile: { type: 'string' },
    'server-core': { type: 'string', default: '0' },
    'load-core': { type: 'string', default: '1' }
  }
})
const { quick, strict } = values
const parts = list(values.parts)
const only = list(values.only)
for (const part of parts) {
  if (!(part in PARTS)) throw new Error(`There is no part "${part}": ${Object.keys(PARTS).join(', ')}`)
}
const chosen = parts.length > 0 ? parts : quick || only.length > 0 ? ['calls'] : Object.keys(PARTS)
const complete = chosen.length === Object.keys(PARTS).length && only.length === 0 && !quick

if (chosen.includes('calls') && !existsSync(`${PEERS}node_modules/.package-lock.json`)) {
  progress('installing the other servers')
  execFileSync('npm', ['ci', '--prefix', PEERS, '--ignore-scripts', '--no-audit', '--no-fund'], {
    stdio: ['ignore', 2, 2]
  })
}
const builds = new Map(values.compare.map((folder) => build(resolve(process.env['INIT_CWD'] ?? '.', folder))))
const pinning = { server: Number(values['server-core']), load: Number(values['load-core']) }

const identity = await startIdentity()
const tokens = await identity.tokens(64)
pinMyself(pinning)
const loaded = `load average before the run: ${loadavg()
  .map((load) => load.toFixed(2))
  .join(', ')}; peers ${peerVersions()}`
const context: Context = {
  pinning,
  identity,
  provider: { ISSUER: identity.issuer, AUDIENCE: identity.audience, JWKS_URI: identity.jwksUri },
  tokens,
  sampling: quick ? { warmMs: 400, measureMs: 1_000, retakes: 0 } : { warmMs: 500, measureMs: 1_500, retakes: 2 },
  rounds: Number(values.rounds ?? (quick ? 2 : 3)),
  generations: 2,
  quick,
  only,
  builds,
  flags: values.flags,
  progress
}

const results: PartResult[] = []
let headline = ''
if (values.profile !== undefined) {
  console.log(
    await profileTarget(values.profile, join(ROOT, '.bench'), context).finally(async () => {
      await identity.close()
    })
  )
  process.exit()
}
const failures: string[] = []
for (const part of chosen) {
  try {
    const result = await PARTS[part]!(context)
    results.push(result)
    failures.push(...result.problems ?? [])
    headline = result.headline ?? headline
  } catch (err) {
    failures.push(`${part}: ${(err as Error).message}`)
    progress(`FAILED ${failures.at(-1)}`)
  }
}
await identity.close()

const given = process.argv.slice(2).join(' ')
const { measureMs, warmMs } = context.sampling
const report = [
  '# The benchmark',
  '',
  `Written by \`npm run bench${given === '' ? '' : ` -- ${given}`}\` ([how it measures](BENCH.md)).`,
  '',
  ...describeMachine(pinning).map((line) => `- ${line}`),
  `- ${loaded}`,
  `- all servers are started ${context.generations} times for ${context.rounds} rounds each, interleaved in random ` +
    `order, after a warm-up round; a sample takes ${measureMs / 1_000} s, after ${warmMs / 1_000} s of warm-up`,
  '',
  '## Targets',
  '',
  '| | requirement | measured | |',
  '|--:|---|---|---|',
  ...results
    .flatMap(({ verdicts }) => verdicts)
    .sort((a, b) => a.item.localeCompare(b.item))
    .map(
      ({ item, wanted, measured, reached }) =>
        `| ${item} | ${wanted} | ${measured} | ${reached ? 'met' : '**missed**'} |`
    ),
  ...failures.flatMap((failure) => ['', '**Failed**, so not measured:', '', '```', failure, '```']),
  ...results.flatMap(({ title, lines }) => ['', `## ${title}`, '', ...lines]),
  ''
].join('\n')
// A short run must not pass for a whole one.
const folder = join(ROOT, complete && failures.length === 0 ? 'bench' : '.bench')
writeFileSync(join(folder, 'RESULTS.md'), report)
const bars = results.flatMap((result) => result.bars ?? [])
if (bars.length > 0) writeFileSync(join(folder, 'results.svg'), drawPicture(bars, describeMachine(pinning)[0]!))
console.log(report)
for (const failure of failures) console.error(`FAILED ${failure}`)
if (headline !== '') console.log(headline)
if (failures.length > 0 || (strict && results.some(({ verdicts }) => verdicts.some(({ reached }) => !reached)))) {
  process.exitCode = 1
}

function list (value: string | undefined): string[] {
  return value === undefined ? [] : value.split(',').map((item) => item.trim())
}

/** The Seed of another worktree, built there where nothing else is. @returns its name and folder */
function build (folder: string): [string, string] {
  const out = join(folder, '.bench/compared')
  progress(`building ${folder}`)
  const { status } = spawnSync(
    process.execPath,
    [join(folder, 'node_modules/typescript/bin/tsc'), '-p', join(folder, 'tsconfig.json'), '--outDir', out],
    { stdio: ['ignore', 2, 2] }
  )
  if (status !== 0) throw new Error(`The Seed of ${folder} cannot be built`)
  return [`seed@${basename(folder)}`, out]
}

function peerVersions (): string {
  const { dependencies } = JSON.parse(readFileSync(join(PEERS, 'package.json'), 'utf8')) as {
    dependencies: Record<string, string>
  }
  return Object.entries(dependencies).map(([name, version]) => `${name} ${version}`).join(', ')
}

function progress (text: string): void {
  console.error(`${new Date().toISOString().slice(11, 19)} ${text}`)
}
