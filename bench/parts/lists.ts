import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import type { Context, PartResult } from '../context.ts'
import { checkServer, createTraffic, exchange } from '../messages.ts'
import type { Traffic } from '../load.ts'
import { MOUNTED_TOOLS, MOUNTS, mountSettings, startMounted } from '../mounting.ts'
import { runRounds, spread } from '../rounds.ts'
import type { Subject } from '../rounds.ts'
import { startServer } from '../server-process.ts'
import type { ServerProcess } from '../server-process.ts'
import { TOOLS, bareServer, seedServer } from '../targets.ts'
import { markdownTable } from '../text.ts'

/** Numbers of tools. Those of the last row are of mounted servers, but for Seed's own. */
const COUNTS = [5, 40, 400, MOUNTED_TOOLS + TOOLS]
const MOUNTS_MS = 30_000
/** Allowed extra cost, compared with the fewest tools: a quarter more, plus the noise of the bare route. */
const GROWTH = 1.25
const NOISE = 0.1

/** tools/list, beside a bare route that writes the same bytes: what comes on top must not grow with the tools. */
export async function measureLists (context: Context): Promise<PartResult> {
  const { pinning, provider, tokens } = context
  const folder = mkdtempSync(join(tmpdir(), 'seed-bench-lists-'))
  const servers: ServerProcess[] = []
  const subjects: Subject[] = []
  const bytes: number[] = []
  try {
    const mounted = await startMounted(context)
    servers.push(mounted)
    for (const count of COUNTS) {
      context.progress(`checking tools/list with ${count} tools`)
      const settings = count > MOUNTED_TOOLS
        ? { ...mountSettings(folder, mounted, MOUNTS), LIST_PAGE_SIZE: String(count) }
        : { BENCH_TOOLS: String(count) }
      const spec = seedServer(`seed, ${count} tools`, provider, settings)
      const seed = await startServer({ ...spec, core: pinning.server })
      servers.push(seed)
      const traffic = await createTraffic({ kind: 'modern', port: seed.port, tokens, list: count })
      if (count > MOUNTED_TOOLS) await waitForMounts(seed.port, traffic)
      await checkServer(seed.port, traffic, { kind: 'modern', tokens, list: count, authenticated: true })
      const { body } = await exchange(seed.port, traffic.requests[0]!)
      const file = join(folder, `${count}.json`)
      writeFileSync(file, JSON.stringify((JSON.parse(body) as { result: unknown }).result))
      bytes.push(Buffer.byteLength(body))
      const bare = await startServer({
        ...bareServer(`bare, ${count} tools`, provider, { BENCH_LIST: file }),
        core: pinning.server
      })
      servers.push(bare)
      subjects.push(
        { name: `seed, ${count} tools`, port: seed.port, pid: seed.pid, traffic, helpers: [] },
        {
          name: `bare, ${count} tools`,
          port: bare.port,
          pid: bare.pid,
          traffic: await createTraffic({ kind: 'modern', port: bare.port, tokens, list: count }),
          helpers: []
        }
      )
    }
    const samples = await runRounds(subjects, context)
    const micros = samples.map((of) => spread(of.map(({ cpuMicros }) => cpuMicros)).median)
    const extra = COUNTS.map((_count, index) => micros[index * 2]! - micros[index * 2 + 1]!)
    const allowed = COUNTS.map((_count, index) => extra[0]! * GROWTH + micros[index * 2 + 1]! * NOISE)
    return {
      title: 'tools/list',
      verdicts: [
        {
          item: '3',
          wanted:
            'the cost of tools/list grows with the bytes written and nothing else: on top of a bare route that ' +
            `writes the same bytes, as much CPU time with 400 tools as with 5, and with those of ${MOUNTS} mounts`,
          measured: COUNTS.map((count, index) => {
            return `${extra[index]!.toFixed(1)} µs with ${count} (at most ${allowed[index]!.toFixed(1)})`
          }).join(', '),
          reached: extra.every((cost, index) => cost <= allowed[index]!)
        }
      ],
      lines: markdownTable(
        ['tools', 'bytes', 'Seed: requests/s', 'CPU µs', 'bare, same bytes: requests/s', 'CPU µs', 'on top µs'],
        COUNTS.map((count, index) => {
          const perSecond = (at: number): string =>
            Math.round(spread(samples[at]!.map((sample) => sample.perSecond)).median).toLocaleString('en')
          return [
            count > MOUNTED_TOOLS ? `${count}, ${MOUNTED_TOOLS} of them of ${MOUNTS} mounts` : String(count),
            bytes[index]!.toLocaleString('en'),
            perSecond(index * 2),
            micros[index * 2]!.toFixed(1),
            perSecond(index * 2 + 1),
            micros[index * 2 + 1]!.toFixed(1),
            extra[index]!.toFixed(1)
          ]
        })
      )
    }
  } finally {
    for (const server of servers) await server.stop()
    rmSync(folder, { recursive: true, force: true })
  }
}

/** Waits until all mounted servers are listed: the start goes on without those that take longer. */
async function waitForMounts (port: number, { requests, check }: Traffic): Promise<void> {
  const deadline = performance.now() + MOUNTS_MS
  while (check(0, await exchange(port, requests[0]!)) !== undefined && performance.now() < deadline) {
    await new Promise((resolve) => { setTimeout(resolve, 50) })
  }
}
