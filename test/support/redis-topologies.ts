import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { Redis } from 'ioredis'
import { freePort } from './free-port.ts'
import { findRedisBinary, spawnReady, startRedis } from './redis.ts'
import type { ConnectionOptions } from 'node:tls'
import type { RedisServer } from './redis.ts'
import { until } from './until.ts'
import type { Test } from 'tap'

const SLOTS = 16384

/** Command line of a server that speaks nothing but TLS, with the files of `privatelySigned`; for startRedis. */
export function tlsArguments (files: Record<'ca' | 'key' | 'cert', string>, port: number): string[] {
  return [
    '--port', '0', '--tls-port', String(
      port
    ), '--tls-replication', 'yes', '--tls-cluster', 'yes', '--tls-auth-clients', 'no',
    '--tls-ca-cert-file', files.ca, '--tls-key-file', files.key, '--tls-cert-file', files.cert
  ]
}

/** The rights that Seed's user needs according to docs/deploy.md, for the prefix of the contract. */
export const SEED_RIGHTS = [
  '~seed-test:*', '&seed-test:*', '+@all', '-@admin', '-@dangerous', '+info', '+cluster|slots', '+cluster|info'
]

/** A server that runs until the test ends. */
export async function startNode (t: Test, args: string[] | ((port: number) => string[])): Promise<RedisServer> {
  const server = await startRedis(args)
  t.teardown(() => server.stop())
  return server
}

/**
 * Starts a sentinel for `primary` (mymaster), which calls it down two seconds after its last answer. Returns the
 * port.
 */
export async function startSentinel (t: Test, primary: RedisServer, {
  password,
  lines = [],
  args = () => []
}: { password: string, lines?: string[], args?: (port: number) => string[] }): Promise<number> {
  const folder = mkdtempSync(join(tmpdir(), 'seed-sentinel-'))
  const file = join(folder, 'sentinel.conf')
  for (let tries = 0; tries < 10; tries++) {
    const port = await freePort()
    writeFileSync(file, [
      `sentinel monitor mymaster 127.0.0.1 ${primary.port} 1`,
      `sentinel auth-pass mymaster ${password}`,
      'sentinel down-after-milliseconds mymaster 2000',
      'sentinel failover-timeout mymaster 3000',
      ...lines
    ].join('\n'))
    const child = await spawnReady(
      findRedisBinary()!,
      [file, '--sentinel', '--bind', '127.0.0.1', '--port', String(port), '--dir', folder, ...args(port)],
      '+monitor master mymaster'
    )
    if (child === undefined) continue
    t.teardown(() => {
      child.kill('SIGKILL')
      rmSync(folder, { recursive: true, force: true })
    })
    return port
  }
  throw new Error('The sentinel does not start')
}

/** Arguments of a node of a cluster that calls another down one and a half seconds after its last answer. */
export const CLUSTER_ARGUMENTS = [
  '--cluster-enabled', 'yes', '--cluster-node-timeout', '1500', '--cluster-config-file', 'nodes.conf'
]

/**
 * Makes a cluster of empty servers with the slots in equal parts, as `redis-cli --cluster create` does. Resolves when
 * it
 * serves.
 */
export async function formCluster (primaries: RedisServer[], {
  replicas = [],
  ...options
}: { password?: string, tls?: ConnectionOptions, replicas?: RedisServer[] } = {}): Promise<void> {
  const admins = [...primaries, ...replicas].map(({ port }) => new Redis(port, '127.0.0.1', options))
  try {
    const ids = await Promise.all(admins.map((admin) => admin.cluster('MYID')))
    for (const [index, admin] of admins.entries()) {
      await admin.cluster('SET-CONFIG-EPOCH', index + 1)
      if (index > 0) await admins[0]!.cluster('MEET', '127.0.0.1', primaries.concat(replicas)[index]!.port)
      const [first, next] = [
        index, index + 1
      ].map((part) => Math.floor(part * SLOTS / primaries.length)) as [number, number]
      if (index < primaries.length) {
        await admin.cluster(
          'ADDSLOTS',
          ...Array.from({ length: next - first }, (_, slot) => first + slot)
        )
      }
    }
    await until(
      async () => (await clusterInfos(admins)).every((info) => info.includes(`cluster_known_nodes:${admins.length}\r`)),
      'the nodes know each other'
    )
    for (const [index, admin] of admins.slice(primaries.length).entries()) {
      await until(
        () => admin.cluster('REPLICATE', ids[index] as string).then(() => true, () => false),
        'the replica knows its primary'
      )
      await until(
        async () => (await admin.info('replication')).includes('master_link_status:up'),
        'the replica follows'
      )
    }
    await until(
      async () => (await clusterInfos(admins)).every((info) => info.includes('cluster_state:ok')),
      'the cluster is whole'
    )
  } finally {
    for (const admin of admins) admin.disconnect()
  }
}

async function clusterInfos (admins: Redis[]): Promise<string[]> {
  return await Promise.all(admins.map(async (admin) => await admin.cluster('INFO') as string))
}
