import { randomUUID } from 'node:crypto'
import t from 'tap'
import { lacksRedis } from '../support/redis.ts'
import { SEED_RIGHTS, startNode, tlsArguments } from '../support/redis-topologies.ts'
import { privatelySigned } from '../support/tls.ts'
import { until } from '../support/until.ts'
import { rejectsEverything, storeContract } from './contract.ts'
import { LOST, PATIENT, openAdmin, openStore, ready, shorten } from './open-redis.ts'

const PASSWORD = 'p@ss/word,1'
const ENCODED = encodeURIComponent(PASSWORD)

t.test('TLS, a private CA and a user with the least rights', async (t) => {
  if (lacksRedis(t)) return
  const { ca, files } = privatelySigned(t, ['127.0.0.1'])
  const redis = await startNode(t, (port) => [
    ...tlsArguments(files, port), '--requirepass', 'administrator',
    '--user', 'seed', 'on', `>${PASSWORD}`, ...SEED_RIGHTS,
    '--user', 'open', 'on', 'nopass', '~seed-test:*', '+@all'
  ])
  const url = `rediss://seed:${ENCODED}@127.0.0.1:${redis.port}`
  const admin = openAdmin(t, `rediss://:administrator@127.0.0.1:${redis.port}`, { tls: { ca } })

  await t.test('the contract', async (t) => {
    await storeContract(t, async (t) => {
      const keyPrefix = `seed-test:${randomUUID()}:`
      const { store, lines } = openStore(t, url, keyPrefix, { ...PATIENT, tlsCa: ca })
      await ready(store)
      t.same(lines, [])
      return { store, elapse: (seconds) => shorten(admin, keyPrefix, seconds) }
    })
  })

  await t.test('a user without a password', async (t) => {
    await ready(openStore(t, url.replace(`seed:${ENCODED}@`, 'open@'), 'seed-test:', { tlsCa: ca }).store)
  })

  for (const [what, url_, tlsCa, reason] of [
    ['no CA', url, undefined, /CERT|VERIFY/],
    ['another CA', url, privatelySigned(t, ['127.0.0.1']).ca, /CERT|VERIFY/],
    ['another name', url.replace('127.0.0.1', 'localhost'), ca, /^ERR_TLS_CERT_ALTNAME_INVALID$/]
  ] as const) {
    await t.test(`${what} is refused`, async (t) => {
      const { store, lines } = openStore(t, url_, 'seed-test:', { tlsCa })
      await rejectsEverything(t, store)
      await until(() => lines.length > 0, 'it is logged')
      t.match(lines, [{ msg: LOST, reason }])
    })
  }
})
