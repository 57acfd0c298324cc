import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { setTimeout as delay } from 'node:timers/promises'
import t from 'tap'
import type { Test } from 'tap'
import { startDevProvider } from '../../dev/provider.ts'
import type { DevProvider } from '../../dev/provider.ts'
import { createVerifier } from '../../src/audit/chain.ts'
import type { AuditRecord } from '../../src/audit/record.ts'
import { until } from '../support/until.ts'
import { freePort } from '../support/free-port.ts'
import { TOOL_SERVER, emptyFolder, startProcess } from '../support/process.ts'
import type { TestProcess } from '../support/process.ts'
import { ownRedisForTests } from '../support/redis.ts'
import type { RedisServer } from '../support/redis.ts'
import { ping } from '../support/seed.ts'
import { watchCalls } from '../support/seen-calls.ts'
import type { SeenCall } from '../support/seen-calls.ts'
import { startTcpProxy } from '../support/tcp-proxy.ts'
import type { TcpProxy } from '../support/tcp-proxy.ts'
import { startTraffic } from '../support/traffic.ts'

/**
 * Two replicas as processes of their own, one Redis, one provider, clients of both eras that know no affinity; and
 * things break in an order that chance decides. Whatever happens, each answer is right or an honest refusal, and each
 * call is in the audit log once, with the outcome that its client saw.
 *
 * CHAOS_ROUNDS sets how long it goes on, CHAOS_SEED another order.
 */
const ROUNDS = Number(process.env['CHAOS_ROUNDS'] ?? 10)
const SEED = Number(process.env['CHAOS_SEED'] ?? 1)

const CHAIN_KEY = 'the AUDIT_CHAIN_KEY of these tests, 44 bytes'

interface Replica {
  url: string
  /** AUDIT_LOG */
  auditLog: string
  /** The times at which it was killed, on the clock of `performance.now`. */
  kills: number[]
  /** Between this replica and Redis. */
  redis: TcpProxy
  start (): Promise<void>
  stop (signal: 'SIGTERM' | 'SIGKILL'): Promise<{ code: number | null }>
  /** The errors and refusals that its processes have logged so far. */
  complaints (): Promise<string[]>
}

async function startReplica (t: Test, provider: DevProvider, redis: RedisServer): Promise<Replica> {
  const port = await freePort()
  const proxy = await startTcpProxy(t, redis.port)
  const folder = await emptyFolder(t)
  const auditLog = join(folder, 'audit.log')
  const kills: number[] = []
  const env = {
    PORT: String(port),
    HOST: '127.0.0.1',
    BASE_URL: 'http://127.0.0.1:1',
    ALLOWED_HOSTS: `127.0.0.1:${port}`,
    OIDC_ISSUER: provider.issuer,
    OIDC_AUDIENCE: provider.clientId,
    REDIS_URL: `redis://127.0.0.1:${proxy.port}`,
    SEED_SECRET: 'one secret for all of the replicas',
    AUDIT_LOG: auditLog,
    AUDIT_CHAIN_KEY: CHAIN_KEY,
    CIMD_ENABLED: 'false',
    SHUTDOWN_GRACE_SECONDS: '5',
    MCP_LIMIT_PER_ADDRESS: '1000000',
    MCP_LIMIT_PER_PRINCIPAL: '1000000'
  }
  let running: TestProcess
  const all: TestProcess[] = []
  const url = `http://127.0.0.1:${port}`
  return {
    url,
    auditLog,
    kills,
    redis: proxy,
    async start () {
      running = startProcess(t, ['--enable-source-maps', TOOL_SERVER], env, folder)
      all.push(running)
      await running.printed(/Seed is ready/)
      await until(
        async () => (await fetch(`${url}/health/ready`).catch(() => undefined))?.status === 200,
        'the replica is ready'
      )
    },
    async stop (signal) {
      running.child.kill(signal)
      if (signal === 'SIGKILL') kills.push(performance.now())
      return await running.ended
    },
    async complaints () {
      const logs = await Promise.all(all.map(async ({ output }) => await output()))
      return logs.join('').split('\n').filter((line) => /"level":[456]0/.test(line) || /"status":(404|500)/.test(line))
    }
  }
}

/** A process that is killed takes the lines of this time with it, and those of the calls that it runs. */
const UNWRITTEN_MS = 100

/** Reads the lines of calls by their trace ids. */
function readCalls (replicas: Replica[]): Map<string, AuditRecord[]> {
  const byTrace = new Map<string, AuditRecord[]>()
  for (const { auditLog } of replicas) {
    // The last line may be half written, and a process that is killed may leave a part of one.
    const lines = readFileSync(auditLog, 'utf8').split('\n').slice(0, -1).filter((line) => line.endsWith('}'))
    for (const line of lines) {
      const record = JSON.parse(line) as AuditRecord
      if (record.trace !== undefined) byTrace.set(record.trace, [...byTrace.get(record.trace) ?? [], record])
    }
  }
  return byTrace
}

/**
 * Compares calls with the audit logs. A call that was answered has one line, with the outcome that its client saw; one
 * whose client saw no outcome has one at most. Only a process that was killed may have taken the line of an answered
 * call with it, if it ran it then or in the moment before.
 *
 * @returns what is wrong, and the number of lines that went with a killed process
 */
function compareCalls (calls: readonly SeenCall[], replicas: Replica[]): { wrong: string[], unwritten: number } {
  const byTrace = readCalls(replicas)
  const wrong: string[] = []
  let unwritten = 0
  for (const { trace, tool, target, outcome, sentAt, answeredAt } of calls) {
    const records = byTrace.get(trace) ?? []
    const isAnswered = outcome !== undefined && outcome !== 'unknown'
    const { kills } = replicas.find(({ url }) => url === target)!
    const isKilled = kills.some((at) => sentAt <= at && answeredAt >= at - UNWRITTEN_MS)
    if (isAnswered && records.length === 0 && isKilled) unwritten++
    else if (isAnswered ? records.length !== 1 || records[0]!.outcome !== outcome : records.length > 1) {
      wrong.push(`${tool} ${trace}: seen ${outcome}, recorded ${records.map((one) => JSON.stringify(one)).join()}`)
    }
  }
  return { wrong, unwritten }
}

/** Mulberry32: the same order for the same seed. */
function createChance (seed: number): <T>(of: T[]) => T {
  let state = seed
  return (of) => {
    state = (state + 0x6D2B79F5) | 0
    let mixed = Math.imul(state ^ (state >>> 15), 1 | state)
    mixed = (mixed + Math.imul(mixed ^ (mixed >>> 7), 61 | mixed)) ^ mixed
    return of[((mixed ^ (mixed >>> 14)) >>> 0) % of.length]!
  }
}

t.test(`nothing that breaks makes a wrong answer (CHAOS_SEED=${SEED})`, { timeout: 150_000 + ROUNDS * 20_000 }, async (t) => {
  // Everything is written down at once, so that a Redis that is killed comes back with all of it.
  const redis = await ownRedisForTests(t, { args: ['--appendonly', 'yes', '--appendfsync', 'always'] })
  if (!redis) return
  const provider = await startDevProvider({ algorithm: 'ES256' })
  t.teardown(async () => { await provider.close() })
  const replicas = [await startReplica(t, provider, redis), await startReplica(t, provider, redis)]
  await Promise.all(replicas.map(async ({ start }) => { await start() }))

  let killed = 0
  let current = 'the start'
  const chance = createChance(SEED)
  const watched = watchCalls()
  const traffic = startTraffic({
    fetch: watched.fetch,
    targets: replicas.map(({ url }) => url),
    token: async (sub) => await provider.mint({ sub }),
    mayBreak: () => killed > 0,
    during: () => current,
    modernClients: 4,
    sessionClients: 6
  })

  /** A replica is gone for a while; clients that meet its closed door or its broken connections are not wronged. */
  async function restart (signal: 'SIGTERM' | 'SIGKILL'): Promise<void> {
    const replica = chance(replicas)
    killed++
    const { code } = await replica.stop(signal)
    if (signal === 'SIGTERM') t.equal(code, 0, 'it leaves in order')
    await replica.start()
    // Connections that broke are noticed by their clients a moment later.
    await delay(500)
    killed--
  }

  const misfortunes: Record<string, () => Promise<void>> = {
    'a replica is restarted': async () => { await restart('SIGTERM') },
    'a replica is killed': async () => { await restart('SIGKILL') },
    'Redis is killed and returns': async () => {
      await redis.kill('SIGKILL')
      await delay(1_500)
      await redis.restart()
    },
    'Redis hangs': async () => {
      await redis.kill('SIGSTOP')
      await delay(2_000)
      await redis.kill('SIGCONT')
    },
    'one replica is cut off from Redis': async () => {
      const { redis: proxy } = chance(replicas)
      proxy.set('blackhole')
      await delay(2_000)
      proxy.set('clear')
    },
    'connections to Redis break': async () => {
      for (const { redis: proxy } of replicas) proxy.set('cut')
      await delay(500)
      for (const { redis: proxy } of replicas) proxy.set('clear')
    },
    'Redis is slow': async () => {
      for (const { redis: proxy } of replicas) proxy.set({ delayMs: 60 })
      await delay(1_500)
      for (const { redis: proxy } of replicas) proxy.set('clear')
    },
    'the provider is down': async () => {
      provider.setFault('*', 'down')
      await delay(1_500)
      provider.setFault('*', undefined)
    },
    'the provider hangs': async () => {
      provider.setFault('*', 'hang')
      await delay(1_500)
      provider.setFault('*', undefined)
    },
    'keys are rotated': async () => {
      await provider.rotateKeys()
    }
  }

  /** A replica that starts while the provider is away would not be ready for as long. */
  let names = Object.keys(misfortunes)
  for (let round = 0; round < ROUNDS; round++) {
    if (names.length === 0) names = Object.keys(misfortunes)
    const name = chance(names)
    names = names.filter((other) => other !== name)
    current = name
    t.comment(name)
    await misfortunes[name]!()
    for (const { url } of replicas) {
      await until(
        async () => (await ping(url, await provider.mint())).status === 200,
        `after "${name}" all is served again`
      )
    }
    const { right } = traffic.tally
    await until(() => traffic.tally.right >= right + 50, `after "${name}" clients go on`)
    const ended = watched.calls.filter(({ answeredAt }) => answeredAt < performance.now())
    let wrong: unknown[] = []
    const agree = (): boolean => {
      wrong = compareCalls(ended, replicas).wrong
      return wrong.length === 0
    }
    // In vain, it fails below, which shows the lines.
    await until(agree, 'the lines of all calls are written').catch(() => {})
    t.same(wrong.slice(0, 5), [], `after "${name}" each call is in the audit log as its client saw it`)
  }
  await traffic.stop()
  await watched.settled()
  for (const { stop } of replicas) await stop('SIGTERM')
  const { wrong: wrongLines, unwritten } = compareCalls(watched.calls, replicas)
  t.comment(`${watched.calls.length} calls; ${unwritten} lines of answered calls went with killed processes`)
  t.same(wrongLines.slice(0, 5), [], 'each call is in the audit log once, with the outcome that its client saw')
  for (const { auditLog } of replicas) {
    const verifier = createVerifier(CHAIN_KEY)
    readFileSync(auditLog, 'utf8').split('\n').forEach((line, at) => { verifier.check(line, auditLog, at + 1) })
    t.match(verifier.result(), { problems: [], lost: 0 }, 'no line is missing from its chain')
  }

  const { right, refused, broken, wrong } = traffic.tally
  t.comment(`${right} right, ${refused} refused, ${broken} broken`)
  t.strictSame(Object.fromEntries(wrong), {}, 'no answer was wrong')
  if (wrong.size > 0) for (const { complaints } of replicas) t.comment((await complaints()).join('\n'))
  t.ok(right > ROUNDS * 50)
})
