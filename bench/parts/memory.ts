import { readFileSync } from 'node:fs'
import { startRedis } from '../../test/support/redis.ts'
import type { RedisServer } from '../../test/support/redis.ts'
import type { Context, PartResult, Verdict } from '../context.ts'
import { sendAll } from '../load.ts'
import { createMcpClients } from '../mcp-client.ts'
import type { McpSession, McpStream } from '../mcp-client.ts'
import { startMeasuredSeed } from '../measured-seed.ts'
import type { MeasuredSeed, Memory } from '../measured-seed.ts'
import { createTraffic } from '../messages.ts'
import { SEED_SCRIPT, seedServer } from '../targets.ts'
import { markdownTable } from '../text.ts'
import { FIRST_USER, USERS } from './first-sight.ts'

const KIB = 1_024
const MIB = 1_048_576
const MAX_SESSION = 2 * KIB
const MAX_STREAM = 12 * KIB
const MAX_STREAMS = 150 * MIB
/** The growth that memory may show after all calls: less than three bytes of heap for each. */
const MAX_GROWTH = { heap: 2 * MIB, rss: 10 * MIB }
/** The growth of the cache of verified tokens for another 10,000 users, when it is full of 10,000 already. */
const MAX_CACHE_GROWTH = MIB
/** Descriptors that are not those of streams. */
const SPARE_DESCRIPTORS = 200
const WORKERS = 16

interface Row extends Memory {
  what: string
}

/** Memory that sessions, streams and calls take in the process, after garbage collection. SOAK.md tests more. */
export async function measureMemory (context: Context): Promise<PartResult> {
  const { quick, tokens, identity, progress } = context
  const [sessionCount, streamCount, callCount] = quick ? [1_000, 500, 50_000] : [5_000, 10_000, 1_000_000]
  checkDescriptors(streamCount)
  const rows: Row[] = []
  const verdicts: Verdict[] = []

  const sample = async (seed: MeasuredSeed, what: string): Promise<Memory> => {
    const memory = await seed.measure()
    rows.push({ what, ...memory })
    progress(`${what}: ${mib(memory.heap)} MiB heap, ${mib(memory.rss)} MiB RSS`)
    return memory
  }

  for (const kind of ['memory', 'Redis'] as const) {
    await withSeed(context, kind, async (seed) => {
      const clients = createMcpClients(seed.url)
      const open = async (count: number): Promise<McpSession[]> =>
        await times(count, async (index) => await clients.initialize(tokens[index % tokens.length]!))
      // As many as let the young generation grow to its size, which is none of theirs.
      const warm = await open(quick ? 500 : 3_000)
      await times(warm.length, async (index) => { await warm[index]!.call('ping') })
      const streamed = await times(warm.length, async (index) => await warm[index]!.openStream())
      for (const stream of streamed) stream.close()
      await times(warm.length, async (index) => { await warm[index]!.end() })
      clients.closeIdle()

      const before = await sample(seed, `${kind}: warm`)
      const sessions = await open(kind === 'Redis' ? Math.max(sessionCount, streamCount) : sessionCount)
      clients.closeIdle()
      const idle = await sample(seed, `${kind}: ${count(sessions.length)} idle sessions`)
      const session = (idle.rss - before.rss) / sessions.length
      verdicts.push({
        item: '6',
        wanted: `an idle session (${kind}): at most ${kib(MAX_SESSION)} KiB of RSS`,
        measured: `${kib(session)} KiB (heap ${kib((idle.heap - before.heap) / sessions.length)})`,
        reached: session <= MAX_SESSION
      })
      if (kind === 'memory') return

      const streams: McpStream[] = await times(streamCount, async (index) => await sessions[index]!.openStream())
      const held = await sample(seed, `${kind}: plus ${count(streamCount)} open streams`)
      // Without what V8 has reserved and does not use: it is as much for one stream as for all.
      const stream = (held.rss - held.unused - (idle.rss - idle.unused)) / streamCount
      const ended = streams.filter(({ over }) => over).length
      if (ended > 0) {
        throw new Error(`${ended} of ${streamCount} streams have ended on their own:\n${seed.lastLines()}`)
      }
      verdicts.push(
        {
          item: '6',
          wanted: `an open stream: at most ${kib(MAX_STREAM)} KiB of RSS in use`,
          measured: `${kib(stream)} KiB (heap ${kib((held.heap - idle.heap) / streamCount)})`,
          reached: stream <= MAX_STREAM
        },
        {
          item: '6',
          wanted: `${count(streamCount)} streams: at most ${mib(MAX_STREAMS)} MiB`,
          measured: `${mib(held.rss - idle.rss)} MiB more, ${mib(held.rss)} MiB in all`,
          reached: held.rss - idle.rss <= MAX_STREAMS
        }
      )
      for (const stream of streams) stream.close()
    })
  }

  await withSeed(context, 'memory', async (seed) => {
    const port = Number(new URL(seed.url).port)
    const traffic = await createTraffic({ kind: 'modern', port, tokens })
    await sendAll(port, traffic, { count: Math.min(100_000, callCount) })
    const before = await sample(seed, `after ${count(Math.min(100_000, callCount))} calls`)
    const elapsed = await sendAll(port, traffic, { count: callCount })
    progress(`${count(callCount)} calls in ${(elapsed / 1_000).toFixed(0)} s`)
    const after = await sample(seed, `after another ${count(callCount)} calls`)
    const grown = { heap: after.heap - before.heap, rss: after.rss - before.rss }
    verdicts.push({
      item: '6',
      wanted:
        `${count(callCount)} calls leave memory unchanged: heap within ${mib(MAX_GROWTH.heap)} MiB, ` +
        `RSS within ${mib(MAX_GROWTH.rss)} MiB`,
      measured: `heap ${mib(grown.heap)} MiB, RSS ${mib(grown.rss)} MiB`,
      reached: grown.heap <= MAX_GROWTH.heap && grown.rss <= MAX_GROWTH.rss
    })
  })

  progress(`making ${count(2 * USERS)} tokens`)
  const users = [await identity.tokens(USERS, FIRST_USER), await identity.tokens(USERS, FIRST_USER + USERS)]
  await withSeed(context, 'memory', async (seed) => {
    const port = Number(new URL(seed.url).port)
    await sendAll(port, await createTraffic({ kind: 'modern', port, tokens }), { count: 10_000 })
    const known: Memory[] = []
    for (const [index, those] of users.entries()) {
      await sendAll(port, await createTraffic({ kind: 'modern', port, tokens: those, variants: those.length }))
      // What is counted of each in a minute (limits) goes with the minute, and is no part of the cache.
      await minuteIsOver()
      await sendAll(port, await createTraffic({ kind: 'modern', port, tokens: those.slice(0, 64) }), { count: 64 })
      known.push(await sample(seed, `${index === 0 ? '' : 'another '}${count(USERS)} users have called`))
    }
    const grown = known[1]!.heap - known[0]!.heap
    verdicts.push({
      item: '5',
      wanted:
        `another ${count(USERS)} users do not grow the token cache beyond its limit: ` +
        `heap within ${mib(MAX_CACHE_GROWTH)} MiB`,
      measured: `${mib(grown)} MiB`,
      reached: grown <= MAX_CACHE_GROWTH
    })
  })

  return {
    title: 'Memory',
    verdicts,
    lines: [
      '*Heap* is `heapUsed + external` after a full garbage collection; *RSS* is measured from outside the process. ' +
        'With Redis, sessions are stored there. *Reserved* is heap that V8 holds and does not use, mostly 31 MiB for ' +
        'its young generation under load; it is excluded from the figure per stream and included in that of 10,000 ' +
        'streams. `npm run soak` tests more, and that all memory is returned.',
      '',
      ...markdownTable(
        ['', 'heap MiB', 'RSS MiB', 'reserved', 'sockets'],
        rows.map(({ what, heap, rss, unused, sockets }) => [what, mib(heap), mib(rss), mib(unused), String(sockets)])
      )
    ]
  }
}

async function minuteIsOver (): Promise<void> {
  await new Promise((resolve) => { setTimeout(resolve, 60_100 - Date.now() % 60_000) })
}

async function withSeed (
  { provider, pinning }: Context,
  kind: 'memory' | 'Redis',
  work: (seed: MeasuredSeed) => Promise<void>
): Promise<void> {
  const redis: RedisServer | undefined = kind === 'Redis' ? await startRedis() : undefined
  try {
    const seed = await startMeasuredSeed({
      ...seedServer('seed', provider).env,
      LOG_LEVEL: 'warn',
      SESSIONS_PER_PRINCIPAL: '1000000',
      SESSIONS_TOTAL: '1000001',
      STREAMS_PER_PRINCIPAL: '1000000',
      CONNECTIONS_TOTAL: '1000000',
      ...(redis !== undefined && { REDIS_URL: redis.url })
    }, { script: SEED_SCRIPT, core: pinning.server })
    try {
      await work(seed)
    } finally {
      await seed.stop()
    }
  } finally {
    await redis?.stop()
  }
}

/** Here and in Seed there is a socket for each stream; a child has the limits of its parent. */
function checkDescriptors (streams: number): void {
  const [, allowed] = /^Max open files\s+(\d+)/m.exec(readFileSync('/proc/self/limits', 'utf8')) ?? []
  const needed = streams + SPARE_DESCRIPTORS
  if (Number(allowed) < needed) {
    throw new Error(`${needed} open files are needed and ${allowed} are allowed: ulimit -n ${needed}`)
  }
}

/** Does something so many times, a few at once; what it gave, in order. */
async function times<T> (count: number, act: (index: number) => Promise<T>): Promise<T[]> {
  const results: T[] = []
  let next = 0
  await Promise.all(Array.from({ length: WORKERS }, async () => {
    while (next < count) {
      const index = next++
      results[index] = await act(index)
    }
  }))
  return results
}

function count (number: number): string {
  return number.toLocaleString('en')
}

function kib (bytes: number): string {
  return (bytes / KIB).toFixed(2)
}

function mib (bytes: number): string {
  return (bytes / MIB).toFixed(1)
}
