import { readFileSync } from 'node:fs'
import { arch, cpus, release, totalmem } from 'node:os'
import { parseArgs } from 'node:util'
import { Redis } from 'ioredis'
import { startDevProvider } from '../dev/provider.ts'
import { startRedis } from '../test/support/redis.ts'
import { startMeasuredSeed } from './measured-seed.ts'
import type { Memory } from './measured-seed.ts'
import { createMcpClients } from './mcp-client.ts'
import type { McpSession, McpStream } from './mcp-client.ts'
import { markdownTable } from './text.ts'

/**
 * `npm run soak`: what sessions and streams cost one Seed, and whether all of it comes back when they end. Redis, the
 * provider and the clients are started here, on loopback; Seed is a process of its own. Linux only, as it reads /proc.
 *
 * It ends with 1 when an answer is wrong or memory does not come back.
 */

const KIB = 1_024
const MIB = 1_048_576
/** The target, which is only reported. */
const SESSION_AIM = 2 * KIB
const STREAM_AIM = 12 * KIB
/** The allowed distance of memory from its start when all has ended: a tenth, or as much as it moves by itself. */
const back = (start: number): number => Math.max(start / 10, 3 * MIB)
/** The growth from the first cycle to the second that is allowed: 105 bytes a session. */
const GROWTH_BYTES = MIB / 2
const CYCLES = 2
const WORKERS = 16
/** Descriptors that are not those of streams. */
const SPARE_DESCRIPTORS = 200
const SESSION_KEYS = ['session', 'sessions-of', 'sessions', 'standalone', 'queue']

const { values } = parseArgs({
  options: {
    sessions: { type: 'string', default: '5000' },
    streams: { type: 'string', default: '2000' },
    principals: { type: 'string', default: '1000' },
    /** Seconds: streams are renewed every 30, and hear something every 15. */
    hold: { type: 'string', default: '35' }
  }
})
const [sessionCount, streamCount, principalCount, holdSeconds] = [
  values.sessions,
  values.streams,
  values.principals,
  values.hold
].map(Number) as [number, number, number, number]

interface Row extends Memory {
  what: string
  redis: number
  /** The thing of which this row has more than the row before it; the report gives the difference for each. */
  each?: { name: string, count: number, since: Row }
}

interface Cycle {
  start: Row
  sessions: Row
  streams: Row
  end: Row
}

const rows: Row[] = []
const facts: string[] = []
const problems: string[] = []

checkDescriptors()
const redis = await startRedis()
const store = new Redis(redis.url)
const redisVersion = /^(?:valkey|redis)_version:(.*)$/m.exec(await store.info('server'))?.[1]?.trim()
const provider = await startDevProvider({ algorithm: 'ES256' })
const seed = await startMeasuredSeed({
  OIDC_ISSUER: provider.issuer,
  OIDC_AUDIENCE: provider.clientId,
  SEED_SECRET: 'a secret of the soak, which nobody else has',
  REDIS_URL: redis.url,
  SESSIONS_PER_PRINCIPAL: '100000',
  SESSIONS_TOTAL: '1000000',
  STREAMS_PER_PRINCIPAL: '100000',
  CONNECTIONS_TOTAL: '1000000',
  MCP_LIMIT_PER_ADDRESS: '100000000',
  MCP_LIMIT_PER_PRINCIPAL: '100000000'
})
const clients = createMcpClients(seed.url)

try {
  const tokens = await times(
    principalCount,
    async (index) =>
      await provider.mint({
        sub: `user-${index}`,
        name: `User Number ${index}`,
        email: `user-${index}@example.com`,
        groups: ['engineering', 'mcp-users'],
        exp: Math.floor(Date.now() / 1_000) + 7_200
      })
  )
  await warmUp(tokens)
  const cold = await sample('warm')
  // Verified tokens are remembered, up to 10,000 of them: that belongs to the callers, not to their sessions.
  await times(tokens.length, async (index) => { await clients.callModern(tokens[index]!, 'seed_ping') })
  await sample(`${count(tokens.length)} callers known`, { name: 'caller', count: tokens.length, since: cold })

  const cycles: Cycle[] = []
  for (let number = 1; number <= CYCLES; number++) cycles.push(await runCycle(number, tokens))
  check(cycles)
} catch (err) {
  problems.push(`${(err as Error).stack}\n\nSeed's last lines:\n${seed.lastLines()}`)
} finally {
  await seed.stop()
  store.disconnect()
  await provider.close()
  await redis.stop()
}

console.log(report())
if (problems.length > 0) {
  console.error(`\nFAILED\n- ${problems.join('\n- ')}`)
  process.exitCode = 1
}

/** All that is measured has run before, often enough to be compiled and to have its buffers. */
async function warmUp (tokens: string[]): Promise<void> {
  const token = (index: number): string => tokens[index % 10]!
  for (let round = 0; round < 5; round++) {
    await times(300, async (index) => { await clients.callModern(token(index), 'seed_ping') })
    const sessions = await times(200, async (index) => await clients.initialize(token(index)))
    await times(sessions.length, async (index) => { await sessions[index]!.call('seed_ping') })
    const streams = await times(100, async (index) => await sessions[index]!.openStream())
    await clients.callModern(token(0), 'change_tools')
    await until(
      () => streams.every(({ messages }) => messages.length > 0),
      'the streams of the warm-up hear of the change'
    ).catch((err: Error) => {
      throw new Error(`${err.message}, ${streams.filter(({ messages }) => messages.length === 0).length} do not`)
    })
    for (const stream of streams.slice(50)) stream.close()
    await times(sessions.length, async (index) => { await sessions[index]!.end() })
  }
}

async function runCycle (number: number, tokens: string[]): Promise<Cycle> {
  const of = `cycle ${number}: `
  const start = await sample(`${of}start`)

  let since = performance.now()
  const made = await times(sessionCount, async (index) => await clients.initialize(tokens[index % tokens.length]!))
  facts.push(`${of}${count(sessionCount)} sessions made in ${seconds(since)}`)
  const sessions = await sample(`${of}${count(sessionCount)} idle sessions`, {
    name: 'session',
    count: sessionCount,
    since: start
  })

  since = performance.now()
  const open = await times(streamCount, async (index) => await made[index]!.openStream())
  facts.push(`${of}${count(streamCount)} streams opened in ${seconds(since)}`)
  const streams = await sample(`${of}plus ${count(streamCount)} open streams`, {
    name: 'stream',
    count: streamCount,
    since: sessions
  })

  await new Promise((resolve) => { setTimeout(resolve, holdSeconds * 1_000) })
  const lost = open.filter(({ over }) => over).length
  if (lost > 0) problems.push(`${of}${count(lost)} streams ended by themselves within ${holdSeconds} s`)
  const unheard = open.filter(({ keepAlives }) => keepAlives < Math.floor(holdSeconds / 15)).length
  if (unheard > 0) problems.push(`${of}${count(unheard)} streams did not hear every 15 s that they are open`)
  await announce(of, tokens[0]!, open)
  await sample(`${of}after ${holdSeconds} s, and an event on each stream`, {
    name: 'stream',
    count: streamCount,
    since: sessions
  })

  since = performance.now()
  await end(of, made, open, start)
  facts.push(`${of}all ended in ${seconds(since)}`)
  return { start, sessions, streams, end: await sample(`${of}all ended`) }
}

/** The server says once that its tools have changed: each stream hears it once. */
async function announce (of: string, token: string, streams: McpStream[]): Promise<void> {
  const since = performance.now()
  await clients.callModern(token, 'change_tools')
  await until(
    () => streams.every(({ messages }) => messages.length > 0),
    `${of}every stream hears of the change`
  ).catch((err: Error) => {
    problems.push(err.message)
  })
  // Whether it comes a second time.
  await new Promise((resolve) => { setTimeout(resolve, 2_000) })
  const wrong = streams.filter(
    ({ messages }) => messages.length !== 1 || messages[0]!.method !== 'notifications/tools/list_changed'
  ).length
  if (wrong > 0) {
    problems.push(`${of}${count(wrong)} of ${count(streams.length)} streams did not get the change exactly once`)
  }
  const after = streams
    .flatMap(({ messages }) => messages.slice(0, 1))
    .map(({ at }) => at - since)
    .sort((a, b) => a - b)
  facts.push(
    `${of}a change of tools reached ${count(streams.length - wrong)} of ${count(streams.length)} streams ` +
      `exactly once: the first after ${after[0]?.toFixed(0)} ms, the last after ${after.at(-1)?.toFixed(0)} ms`
  )
}

/** Half of the streams are left by their clients; the others end with their sessions. */
async function end (of: string, sessions: McpSession[], streams: McpStream[], start: Row): Promise<void> {
  const left = streams.filter((_stream, index) => index % 2 === 0)
  for (const stream of left) stream.close()
  await times(sessions.length, async (index) => { await sessions[index]!.end() })
  await until(() => streams.every(({ over }) => over), `${of}streams end with their sessions`)
  clients.closeIdle()
  await until(async () => await seed.sockets() <= start.sockets, `${of}Seed closes the connections`)
  let kept: string[] = []
  const areGone = async (): Promise<boolean> => (kept = await sessionKeys()).length === 0
  await until(areGone, `${of}no session keys stay in Redis`).catch((err: Error) => {
    problems.push(`${err.message}: ${count(kept.length)} keys, such as ${kept[0]}`)
  })
}

async function sessionKeys (): Promise<string[]> {
  const found: string[] = []
  for await (const keys of store.scanStream({ match: 'seed:*', count: 1_000 })) {
    found.push(...(keys as string[]).filter((key) => SESSION_KEYS.includes(key.split(':')[1]!)))
  }
  return found
}

async function sample (what: string, each?: Row['each']): Promise<Row> {
  clients.closeIdle()
  const memory = await seed.measure()
  const used = Number(/^used_memory:(\d+)/m.exec(await store.info('memory'))?.[1])
  const row: Row = { what, ...memory, redis: used, ...(each !== undefined && { each }) }
  rows.push(row)
  console.error(`${new Date().toISOString().slice(11, 19)} ${what}: ${mib(row.heap)} MiB heap, ${mib(row.rss)} MiB RSS`)
  return row
}

function check (cycles: Cycle[]): void {
  for (const [index, { start, sessions, streams, end }] of cycles.entries()) {
    const of = `cycle ${index + 1}: `
    for (const kind of ['heap', 'rss'] as const) {
      const session = (sessions[kind] - start[kind]) / sessionCount
      const stream = (streams[kind] - sessions[kind]) / streamCount
      facts.push(`${of}${kind}: ${perUnit('session', session, SESSION_AIM)}, ${perUnit('stream', stream, STREAM_AIM)}`)
      // The first start is what every end is compared with: a leak must not hide behind a later one.
      const begun = cycles[0]!.start[kind]
      if (end[kind] - begun > back(begun)) {
        problems.push(`${of}${kind} was ${mib(begun)} MiB at the start and is ${mib(end[kind])} MiB at the end`)
      }
    }
  }
  const growth = cycles.at(-1)!.end.heap - cycles[0]!.end.heap
  facts.push(`heap after the last cycle minus that after the first: ${kib(growth)} KiB`)
  if (growth > GROWTH_BYTES) {
    problems.push(`the heap has grown by ${kib(growth)} KiB from the end of the first cycle to that of the last`)
  }
}

function perUnit (unit: string, bytes: number, aim: number): string {
  return `${kib(bytes)} KiB per ${unit} (aim ${kib(aim)}: ${bytes <= aim ? 'met' : 'MISSED'})`
}

function report (): string {
  const head = ['', 'heap MiB', 'RSS MiB', 'Redis MiB', 'sockets', 'KiB each: heap', 'RSS', 'Redis']
  const table = markdownTable(head, rows.map((row) => {
    const { what, heap, rss, redis, sockets, each } = row
    const share = (kind: 'heap' | 'rss' | 'redis'): string =>
      each === undefined ? '' : kib((row[kind] - each.since[kind]) / each.count)
    return [what, mib(heap), mib(rss), mib(redis), String(sockets), share('heap'), share('rss'), share('redis')]
  }))
  return [machine(), '', ...table, '', ...facts.map((fact) => `- ${fact}`)].join('\n')
}

function machine (): string {
  const date = new Date().toISOString().slice(0, 10)
  const memory = (totalmem() / MIB / KIB).toFixed(0)
  return `${date}; ${cpus().length} × ${cpus()[0]?.model.trim()} (${arch()}), ${memory} GiB; ` +
    `Linux ${release()}, Node ${process.version}, Redis ${redisVersion}`
}

/** Here and in Seed there is a socket for each stream; a child has the limits of its parent. */
function checkDescriptors (): void {
  const [, allowed] = /^Max open files\s+(\d+)/m.exec(readFileSync('/proc/self/limits', 'utf8')) ?? []
  const needed = streamCount + SPARE_DESCRIPTORS
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

async function until (holds: () => boolean | Promise<boolean>, what: string): Promise<void> {
  const deadline = performance.now() + 20_000
  while (!await holds()) {
    if (performance.now() > deadline) throw new Error(`not within 20 s: ${what}`)
    await new Promise((resolve) => { setTimeout(resolve, 20) })
  }
}

function count (number: number): string {
  return number.toLocaleString('en')
}

function seconds (since: number): string {
  return `${((performance.now() - since) / 1_000).toFixed(1)} s`
}

function kib (bytes: number): string {
  return (bytes / KIB).toFixed(2)
}

function mib (bytes: number): string {
  return (bytes / MIB).toFixed(1)
}
