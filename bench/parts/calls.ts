import { startRedis } from '../../test/support/redis.ts'
import type { RedisServer } from '../../test/support/redis.ts'
import type { Bar, Context, PartResult, Verdict } from '../context.ts'
import { NO_ANSWER } from '../load.ts'
import { checkServer, createBareTraffic, createTraffic } from '../messages.ts'
import { DISTURBED, MIN_SHARE, runRounds, spread } from '../rounds.ts'
import type { Sample, Spread, Subject } from '../rounds.ts'
import { startServer } from '../server-process.ts'
import type { ServerProcess } from '../server-process.ts'
import { callTargets } from '../targets.ts'
import type { ServerSpec, Target } from '../targets.ts'
import { markdownTable, times } from '../text.ts'

/** A row of the comparison: `ratio` of the bare route in the same round. */
interface CallRow {
  target: Target
  samples: Sample[]
  ratio: Spread
  /** Round by round. */
  ratios: number[]
  /** CPU time per request of the base, divided by this one's. It depends less on what else runs on the machine. */
  cpuRatio: Spread
}

/** tools/call with valid tokens that were seen before, at saturation: Seed beside the bare route and all others. */
export async function measureCalls (context: Context): Promise<PartResult> {
  const { provider, only, builds, flags } = context
  const targets = callTargets(provider, builds, flags).filter(
    ({ name, base }) =>
      base === true || only.length === 0 || only.includes(name) || flags.includes(name.slice('seed'.length))
  )
  const samples: Sample[][] = targets.map(() => [])
  const problems = new Map<string, string>()
  for (let generation = 0; generation < context.generations; generation++) {
    for (const [index, more] of (await measureGeneration(targets, context, problems)).entries()) {
      samples[index]!.push(...more)
    }
  }
  const broken = targets.find(({ name, base }) => base === true && problems.has(name))
  if (broken !== undefined) throw new Error(problems.get(broken.name))
  // Another server that stops answering has its earlier rounds, and that is told.
  const hung = targets.filter(
    ({ name, peer }, index) =>
      peer === true && problems.get(name)?.includes(NO_ANSWER) === true && samples[index]!.length >= MIN_ROUNDS
  )
  const told = hung.map(({ name, label }) => {
    const about = `- ${label}: ${problems.get(name)!}; earlier rounds count.`
    problems.delete(name)
    return about
  })
  const kept = targets.map(({ name }) => !problems.has(name))
  const { lines, ...rest } = report(
    targets.filter((_target, index) => kept[index]),
    samples.filter((_of, index) => kept[index])
  )
  return { ...rest, lines: [...lines, ...told], problems: [...problems.values()] }
}

const MIN_ROUNDS = 2

/** All servers started, checked, measured, stopped. */
async function measureGeneration (
  targets: readonly Target[],
  context: Context,
  problems: Map<string, string>
): Promise<Sample[][]> {
  const { pinning, tokens } = context
  const servers = new Map<string, ServerProcess>()
  const redises: RedisServer[] = []
  try {
    const subjects: Subject[] = []
    for (const target of targets) {
      context.progress(`checking ${target.name}`)
      const { server: spec, kind, base, authenticated } = target
      if (!servers.has(spec.name)) servers.set(spec.name, await start(spec))
      const { port, pid, lastLines } = servers.get(spec.name)!
      try {
        const traffic = await (base === true ? createBareTraffic : createTraffic)({ kind, port, tokens })
        await checkServer(port, traffic, { kind, tokens, authenticated })
        subjects.push({
          name: target.name,
          port,
          pid,
          traffic,
          helpers: spec.redis === true ? [redises.at(-1)!.pid] : []
        })
      } catch (err) {
        throw new Error(`${target.name}: ${(err as Error).message}\n${lastLines()}`)
      }
    }
    return await runRounds(subjects, { ...context, problems })
  } finally {
    for (const server of servers.values()) await server.stop()
    for (const redis of redises) await redis.stop()
  }

  async function start (spec: ServerSpec): Promise<ServerProcess> {
    const env = { ...spec.env }
    if (spec.redis === true) {
      const redis = await startRedis()
      redises.push(redis)
      env['REDIS_URL'] = redis.url
    }
    return await startServer({ ...spec, env, core: pinning.server })
  }
}

function report (targets: readonly Target[], samples: readonly Sample[][]): PartResult {
  const find = (name: string, round: number): Sample =>
    samples[targets.findIndex((target) => target.name === name)]![round]!
  const base = ({ kind }: Target, round: number, figure: (sample: Sample) => number): number => {
    const era = kind === 'modern' ? '' : '-2025'
    return (figure(find(`bare-a${era}`, round)) + figure(find(`bare-b${era}`, round))) / 2
  }
  const rows = targets.map((target, index): CallRow => {
    const of = samples[index]!
    const ratios = of.map(({ perSecond }, round) => perSecond / base(target, round, ({ perSecond }) => perSecond))
    const cpuRatios = of.map(({ cpuMicros }, round) => base(target, round, ({ cpuMicros }) => cpuMicros) / cpuMicros)
    return { target, samples: of, ratios, ratio: spread(ratios), cpuRatio: spread(cpuRatios) }
  })
  const noise = rows.filter(({ target }) => target.base === true).flatMap(({ ratios }) => ratios)
  const disturbed = samples.flat().filter(({ foreign }) => foreign > DISTURBED).length
  const idle = rows.filter(({ samples }) => spread(samples.map(({ share }) => share)).median < MIN_SHARE)
  const { verdicts, headline } = check(rows)
  return {
    title: 'tools/call',
    verdicts,
    headline,
    bars: bars(rows),
    lines: [
      'A `ping` tool without arguments that returns `pong`; RS256 tokens of 64 users, each seen before; 1,024 ' +
        'different requests in rotation; 50 connections, closed loop. *Ratio*: requests per second, divided by the ' +
        'mean of the two bare routes in the same round for the same request. *By CPU*: CPU time per request of the ' +
        'bare routes, divided by that of the server; it is steadier when something else runs on the machine.',
      '',
      ...markdownTable(
        ['', 'tools', 'ratio', 'min to max', 'by CPU', 'requests/s', 'CPU µs/request', 'p99 ms', 'RSS MiB'],
        rows.map(({ target, samples, ratio, cpuRatio }) => {
          const median = (of: (sample: Sample) => number): number => spread(samples.map(of)).median
          return [
            target.label,
            target.tools === 0 ? '' : String(target.tools),
            ratio.median.toFixed(2),
            `${ratio.min.toFixed(2)} to ${ratio.max.toFixed(2)}`,
            cpuRatio.median.toFixed(2),
            Math.round(median(({ perSecond }) => perSecond)).toLocaleString('en'),
            median(({ cpuMicros }) => cpuMicros).toFixed(1),
            median(({ p99 }) => p99).toFixed(1),
            (median(({ rss }) => rss) / 1_048_576).toFixed(0)
          ]
        })
      ),
      '',
      `- Noise: the bare routes against their own mean: ${spread(noise).min.toFixed(2)} to ` +
        `${spread(noise).max.toFixed(2)}. Smaller differences mean nothing.`,
      `- Disturbed samples (other processes took more than ${DISTURBED * 100} % of a core, in every retake too): ` +
        `${disturbed} of ${samples.flat().length}.`,
      `- Servers that used less than ${MIN_SHARE * 100} % of their core: ` +
        `${idle.length === 0 ? 'none' : idle.map(({ target }) => target.label).join('; ')}. ` +
        '(Kernel time for their sockets is not included.)',
      '- p99 is measured at saturation and depends mostly on the machine.'
    ]
  }
}

/** Compares with the targets: ratios of the bare route, and how much faster than each other server. */
function check (rows: readonly CallRow[]): { verdicts: Verdict[], headline: string | undefined } {
  const find = (name: string): CallRow | undefined => rows.find(({ target }) => target.name === name)
  const verdicts: Verdict[] = []

  const atLeast = (name: string, wanted: number, aim?: number): void => {
    const row = find(name)
    if (row === undefined) return
    verdicts.push({
      item: '1',
      wanted:
        `${row.target.label}: at least ${wanted.toFixed(2)} of the bare route` +
        (aim === undefined ? '' : ` (aim ${aim.toFixed(2)})`),
      measured: `${row.ratio.median.toFixed(2)} (${row.ratio.min.toFixed(2)} to ${row.ratio.max.toFixed(2)})`,
      reached: row.ratio.median >= wanted
    })
  }
  atLeast('seed', 0.60, 0.70)
  atLeast('seed-session', 0.65)
  atLeast('seed-session-redis', 0.60)
  atLeast('seed-log', 0.45, 0.55)

  const seed = find('seed')
  if (seed === undefined) return { verdicts, headline: undefined }
  const measured = find('seed-metrics')
  if (measured !== undefined) {
    // CPU time per call, round by round: at a few percent, rates depend more on what else the machine does.
    const costs = spread(measured.samples.map(({ cpuMicros }, round) => cpuMicros / seed.samples[round]!.cpuMicros))
    const percent = (ratio: number): string => `${((ratio - 1) * 100).toFixed(1)} %`
    verdicts.push({
      item: '8',
      wanted: `${measured.target.label}: at most 3 % more CPU time for a call than without`,
      measured: `${percent(costs.median)} (${percent(costs.min)} to ${percent(costs.max)})`,
      reached: costs.median <= 1.03
    })
  }
  /** Round by round, so that what slows both cancels out. */
  const timesOf = ({ samples }: CallRow, ours: CallRow = seed): Spread =>
    spread(samples.map(({ perSecond }, round) => ours.samples[round]!.perSecond / perSecond))
  const moreThan = (name: string, wanted: number): void => {
    const row = find(name)
    if (row === undefined) return
    const found = timesOf(row)
    verdicts.push({
      item: '2',
      wanted:
        `at least ${wanted} times as fast as ${row.target.label}` +
        (row.target.tools === 1 ? ' (which has 1 tool; Seed has 20)' : ''),
      measured: `${times(found.median)} (${times(found.min)} to ${times(found.max)})`,
      reached: found.median >= wanted
    })
  }
  moreThan('recipe', 10)
  moreThan('recipe-20', 10)
  moreThan('recipe-jose', 12)
  moreThan('recipe-20-jose', 12)
  for (const row of rows.filter(({ target }) => target.peer === true)) {
    const ours = row.target.kind === 'modern' ? seed : find('seed-session')
    if (ours === undefined) continue
    const found = timesOf(row, ours)
    verdicts.push({
      item: '2',
      wanted: `faster than ${row.target.label}`,
      measured: `${times(found.median)} (${times(found.min)} to ${times(found.max)})`,
      reached: found.min > 1
    })
  }
  const recipe = find('recipe')
  const ofRecipe =
    recipe === undefined
      ? ''
      : `, ${times(timesOf(recipe).median)} as fast as the MCP SDK's recipe on Fastify with the same token cache`
  return {
    verdicts,
    headline:
      `tools/call on Seed: ${seed.ratio.median.toFixed(2)} (${seed.ratio.min.toFixed(2)} to ` +
      `${seed.ratio.max.toFixed(2)}) of a bare Fastify route${ofRecipe}`
  }
}

/** The bare route once; the fastest first. */
function bars (rows: readonly CallRow[]): Bar[] {
  const others = rows
    .filter(({ target }) => target.base !== true)
    .map(({ target, ratio }): Bar => ({
      label: target.label,
      ratio: ratio.median,
      kind: target.name.startsWith('seed') ? 'seed' : target.name.startsWith('bare') ? 'base' : 'other'
    }))
  return [
    { label: 'bare Fastify 5 route, no sign-in', ratio: 1, kind: 'base' },
    ...others.sort((a, b) => b.ratio - a.ratio)
  ]
}
