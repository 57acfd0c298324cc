import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import type { Context, PartResult } from '../context.ts'
import { checkServer, createTraffic } from '../messages.ts'
import { mountSettings, startMounted } from '../mounting.ts'
import { runRounds, spread } from '../rounds.ts'
import type { Sample } from '../rounds.ts'
import { startServer } from '../server-process.ts'
import { seedServer } from '../targets.ts'
import { markdownTable } from '../text.ts'

/** Seed's CPU time for a call that it passes on, in microseconds. */
const MAX_MICROS = 150

/**
 * A call of a mounted server's tool, beside the same call at that server and a tool of Seed's own. The mounted server
 * is a Seed without sign-in, which costs little: Seed in front of it is what limits.
 */
export async function measureMountedCalls (context: Context): Promise<PartResult> {
  const { pinning, provider, tokens } = context
  const folder = mkdtempSync(join(tmpdir(), 'seed-bench-mounts-'))
  const upstream = await startMounted(context)
  try {
    const seed = await startServer({
      ...seedServer('seed, mounting', provider, mountSettings(folder, upstream, 1)), core: pinning.server
    })
    try {
      const calls = [
        { name: 'the mounted server, directly', server: upstream, tool: 'ping', authenticated: false, helpers: [] },
        { name: 'a tool of Seed', server: seed, tool: 'ping', authenticated: true, helpers: [] },
        { name: 'through the mount', server: seed, tool: 'm1_ping', authenticated: true, helpers: [upstream.pid] }
      ]
      const subjects = []
      for (const { name, server: { port, pid }, tool, authenticated, helpers } of calls) {
        context.progress(`checking ${name}`)
        const traffic = await createTraffic({ kind: 'modern', port, tokens, tool })
        await checkServer(port, traffic, { kind: 'modern', tokens, tool, authenticated })
        subjects.push({ name, port, pid, traffic, helpers })
      }
      return report(calls.map(({ name }) => name), await runRounds(subjects, context))
    } finally {
      await seed.stop()
    }
  } finally {
    await upstream.stop()
    rmSync(folder, { recursive: true, force: true })
  }
}

function report (names: readonly string[], samples: readonly Sample[][]): PartResult {
  const median = (of: readonly Sample[], figure: (sample: Sample) => number): number => spread(of.map(figure)).median
  const [directly, , mounted] = samples as [Sample[], Sample[], Sample[]]
  const micros = spread(mounted.map(({ cpuMicros }) => cpuMicros))
  const atServer = median(mounted, ({ helperMicros }) => helperMicros)
  const alone = median(directly, ({ cpuMicros }) => cpuMicros)
  return {
    title: 'tools/call through a mount',
    verdicts: [
      {
        item: '9',
        wanted: `a call of a mounted server's tool: at most ${MAX_MICROS} µs of Seed's CPU time`,
        measured: `${micros.median.toFixed(0)} µs (${micros.min.toFixed(0)} to ${micros.max.toFixed(0)})`,
        reached: micros.median <= MAX_MICROS
      }
    ],
    lines: [
      'The mounted server is a Seed without sign-in, of 2026-07-28, on the core of the clients; Seed is on its own. ' +
        `For a call through the mount it takes ${atServer.toFixed(1)} µs of CPU time, directly ${alone.toFixed(1)}.`,
      '',
      ...markdownTable(
        ['', 'requests/s', 'CPU µs', 'of the mounted server, too'],
        samples.map((of, index) => [
          names[index]!,
          Math.round(median(of, ({ perSecond }) => perSecond)).toLocaleString('en'),
          median(of, ({ cpuMicros }) => cpuMicros).toFixed(1),
          of === mounted ? atServer.toFixed(1) : ''
        ])
      )
    ]
  }
}
