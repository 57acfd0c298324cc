import { once } from 'node:events'
import { createServer } from 'node:https'
import type { AddressInfo } from 'node:net'
import t from 'tap'
import type { Test } from 'tap'
import { checkVersion, judgeLatency, describeTopology } from '../../src/doctor/redis.ts'
import type { Finding, Report } from '../../src/doctor/finding.ts'
import { lacksRedis, ownRedisForTests } from '../support/redis.ts'
import { runCommand } from '../support/run-command.ts'
import { selfSigned } from '../support/tls.ts'

/** Runs the checks of a real Redis. */
async function diagnose (t: Test, args: string[], toUrl = (url: string): string => url) {
  const redis = (await ownRedisForTests(t, { args }))!
  const { printed } = await runCommand(['doctor', '--json'], {
    AUTH_REQUIRED: 'false', BASE_URL: 'http://127.0.0.1:9', REDIS_URL: toUrl(redis.url)
  })
  const { findings } = JSON.parse(printed) as Report
  return (check: string): Finding | undefined => findings.find((finding) => finding.check === check)
}

t.test('a Redis as the documents advise has nothing against it', async (t) => {
  if (lacksRedis(t)) return
  const find = await diagnose(t, ['--appendonly', 'yes', '--maxmemory', '100mb', '--maxmemory-policy', 'noeviction'])
  for (const check of ['connection', 'writes', 'version', 'eviction', 'persistence', 'room']) {
    t.equal(find(`store.${check}`)?.severity, 'ok', check)
  }
  t.ok(find('store.latency'))
})

t.test('eviction, no persistence, a full server, a replica and a wrong password are named', async (t) => {
  if (lacksRedis(t)) return
  const evicting = await diagnose(t, ['--maxmemory-policy', 'allkeys-lru'])
  t.match(evicting('store.eviction'), { severity: 'warning', setting: 'maxmemory-policy', value: 'noeviction' })
  t.match(evicting('store.persistence'), { severity: 'warning', setting: 'appendonly', value: 'yes' })
  t.match(evicting('store.room'), { severity: 'ok', answered: 'no maxmemory' })

  const full = await diagnose(t, ['--maxmemory', '1kb', '--maxmemory-policy', 'noeviction'])
  t.match(full('store.room'), { severity: 'warning', setting: 'maxmemory' })
  t.match(full('store.writes'), { severity: 'error', answered: 'OOM' })

  const replica = await diagnose(t, ['--replicaof', '127.0.0.1 9', '--replica-serve-stale-data', 'yes'])
  t.match(replica('store.writes'), { severity: 'error', answered: 'READONLY', setting: 'REDIS_URL' })

  const locked = await diagnose(t, ['--requirepass', 'right'], (url) => url.replace('redis://', 'redis://:wrong@'))
  t.match(locked('store.connection'), {
    severity: 'error',
    answered: 'WRONGPASS',
    meaning: /refuses the user or the password/
  })
})

t.test('a Redis that is not there may be the localhost of a container', async (t) => {
  for (const [host, isLocal] of [['127.0.0.1', true], ['redis.invalid', false]] as const) {
    const { printed } = await runCommand(['doctor', '--json'], {
      AUTH_REQUIRED: 'false', BASE_URL: 'http://127.0.0.1:9', REDIS_URL: `redis://${host}:9`
    })
    const { findings } = JSON.parse(printed) as Report
    const { meaning } = findings.find(({ check }) => check === 'store.connection')!
    t.match(meaning, /^Redis cannot be reached/)
    t.equal(/Inside a container/.test(meaning), isLocal, host)
  }
})

t.test('a certificate that is not trusted names REDIS_TLS_CA', async (t) => {
  const server = createServer(selfSigned(t, ['localhost'])).listen(0, '127.0.0.1')
  await once(server, 'listening')
  t.teardown(() => { server.close() })
  const { printed } = await runCommand(['doctor', '--json'], {
    AUTH_REQUIRED: 'false',
    BASE_URL: 'http://127.0.0.1:9',
    REDIS_URL: `rediss://localhost:${(server.address() as AddressInfo).port}`
  })
  const { findings } = JSON.parse(printed) as Report
  t.match(findings.find(({ check }) => check === 'store.connection'), { severity: 'error', setting: 'REDIS_TLS_CA' })
})

t.test('what the findings are about, where there are several servers', async (t) => {
  t.same(describeTopology('single'), [])
  t.match(describeTopology('sentinel'), [{ severity: 'ok', meaning: /primary that the sentinels name/ }])
  t.match(describeTopology('cluster'), [{ severity: 'unknown', meaning: /about one node/ }])
})

t.test('versions and latencies', async (t) => {
  t.equal(checkVersion({ redis_version: '7.2.4', valkey_version: '8.0.1' }).answered, 'Valkey 8.0.1')
  for (const [version, severity] of [['6.2.0', 'ok'], ['8.0.0', 'ok'], ['6.0.16', 'error'], ['5', 'error']] as const) {
    t.equal(checkVersion({ redis_version: version }).severity, severity, version)
  }
  t.equal(checkVersion({}).severity, 'error')
  t.equal(judgeLatency(1).severity, 'ok')
  t.equal(judgeLatency(100).severity, 'warning')
  t.match(judgeLatency(400), { severity: 'error', meaning: /300 ms/ })
})
