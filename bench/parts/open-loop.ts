import type { Context, PartResult } from '../context.ts'
import { closedLoop, openLoop, percentile } from '../load.ts'
import { checkServer, createBareTraffic, createTraffic } from '../messages.ts'
import { spread } from '../rounds.ts'
import { startServer } from '../server-process.ts'
import { callTargets } from '../targets.ts'
import { markdownTable } from '../text.ts'

const PER_SECOND = 1_000
/** A multiple of the bare route's p99. */
const MAX_RATIO = 3
const NAMES = ['bare-a', 'seed', 'recipe']

/** Measures the latency of calls at a load that all can bear. */
export async function measureOpenLoop (context: Context): Promise<PartResult> {
  const { pinning, provider, tokens, quick, rounds, progress } = context
  const seconds = quick ? 2 : 8
  const targets = callTargets(provider, new Map()).filter(({ name }) => NAMES.includes(name))
  const running: Array<{
    name: string
    label: string
    latencies: Array<{ p50: number; p99: number; p999: number }>
    sample(): Promise<Float64Array>
    stop(): Promise<void>
  }> = []
  try {
    for (const { name, label, kind, base, server: spec, authenticated } of targets) {
      progress(`checking ${name}`)
      const server = await startServer({ ...spec, core: pinning.server })
      const { port } = server
      running.push({
        name,
        label,
        latencies: [],
        sample: async () => await openLoop(port, traffic, { perSecond: PER_SECOND, seconds }),
        stop: server.stop
      })
      const traffic = await (base === true ? createBareTraffic : createTraffic)({ kind, port, tokens })
      await checkServer(port, traffic, { kind, tokens, authenticated })
      await closedLoop(port, traffic, { warmMs: 500, measureMs: quick ? 1_000 : 3_000, edge () {} })
    }
    for (let round = 1; round <= rounds; round++) {
      for (const { name, latencies, sample } of running) {
        const sorted = await sample()
        latencies.push({ p50: percentile(sorted, 0.5), p99: percentile(sorted, 0.99), p999: percentile(sorted, 0.999) })
        progress(
          `round ${round} of ${rounds}: ${name}: p99 ${latencies.at(-1)!.p99.toFixed(2)} ms at ${PER_SECOND} a second`
        )
      }
    }
  } finally {
    for (const { stop } of running) await stop()
  }
  const [bare, seed] = running as [typeof running[0], typeof running[0]]
  const ratio = spread(seed.latencies.map(({ p99 }, round) => p99 / bare.latencies[round]!.p99))
  return {
    title: `${PER_SECOND.toLocaleString('en')} requests per second, open loop`,
    verdicts: [
      {
        item: '4',
        wanted:
          `p99 at ${PER_SECOND.toLocaleString('en')} requests per second: ` +
          `at most ${MAX_RATIO} times that of the bare route`,
        measured: `${ratio.median.toFixed(1)} times (${ratio.min.toFixed(1)} to ${ratio.max.toFixed(1)})`,
        reached: ratio.median <= MAX_RATIO
      }
    ],
    lines: [
      'Latency is measured from the moment a request was due, whatever happened to earlier ones. Medians of ' +
        `${rounds} interleaved rounds of ${seconds} s.`,
      '',
      ...markdownTable(
        ['', 'p50 ms', 'p99 ms', 'p99.9 ms'],
        running.map(({ label, latencies }) => [
          label,
          ...(['p50', 'p99', 'p999'] as const).map((figure) =>
            spread(latencies.map((of) => of[figure])).median.toFixed(2)
          )
        ])
      )
    ]
  }
}
