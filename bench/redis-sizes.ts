import { Redis } from 'ioredis'
import { startDevProvider } from '../dev/provider.ts'
import { getTokens, refresh, toCallback } from '../test/support/broker.ts'
import { call } from '../test/support/mcp.ts'
import { startRawSession } from '../test/support/raw-client.ts'
import { startRedis } from '../test/support/redis.ts'
import { startMeasuredSeed } from './measured-seed.ts'
import { markdownTable } from './text.ts'

/**
 * `npm run redis-sizes`: what each kind of record takes in Redis. People sign in at a development provider, refresh,
 * and open sessions whose calls are streamed; then every key is measured with MEMORY USAGE, its name and Redis' own
 * overhead included.
 */

const PEOPLE = 100
const EVENTS = 100
const PREFIX = 'seed:'

const redis = await startRedis()
const connection = new Redis(redis.url)
const redirectUris: string[] = []
const provider = await startDevProvider({ algorithm: 'ES256', fixedRedirectUris: redirectUris })
const limits = ['OAUTH_LIMIT_PER_ADDRESS', 'OAUTH_LIMIT_PER_CLIENT', 'DCR_LIMIT_PER_ADDRESS', 'CALLS_PER_PRINCIPAL']
const seed = await startMeasuredSeed({
  OAUTH_MODE: 'broker',
  OIDC_ISSUER: provider.issuer,
  OIDC_AUDIENCE: provider.clientId,
  SEED_SECRET: 'a secret that measures how large records are',
  REDIS_URL: redis.url,
  REDIS_KEY_PREFIX: PREFIX,
  SESSIONS_PER_PRINCIPAL: '100000',
  SESSIONS_TOTAL: '1000000',
  ...Object.fromEntries(limits.map((name) => [name, '1000000']))
})
redirectUris.push(`${seed.url}/oauth/callback`)

try {
  for (let person = 0; person < PEOPLE; person++) {
    const { clientId, accessToken, refreshToken } = await getTokens(seed)
    const { statusCode, body } = await refresh(seed.url, clientId, refreshToken)
    if (statusCode !== 200) throw new Error(`A refresh got ${statusCode}: ${body}`)
    const session = await startRawSession(seed.url, accessToken)
    const progress = { _meta: { progressToken: 1 } }
    await (await session.post(call('count', { steps: EVENTS, pauseMs: 0 }, progress))).events!.rest()
    if (person % 10 === 0) await toCallback(seed)
  }
  const { accessToken, clientId } = await getTokens(seed)
  await fetch(`${seed.url}/oauth/revoke`, {
    method: 'POST', body: new URLSearchParams({ client_id: clientId, token: accessToken })
  })
  for (const line of await measure()) console.log(line)
} finally {
  await seed.stop()
  connection.disconnect()
  await provider.close()
  await redis.stop()
}

async function measure (): Promise<string[]> {
  const kinds = new Map<string, Array<{ bytes: number, ttl: number }>>()
  for await (const found of connection.scanStream({ match: `${PREFIX}*`, count: 1_000 })) {
    for (const key of found as string[]) {
      const kind = key.slice(PREFIX.length).split(':')[0]!
      const bytes = await connection.memory('USAGE', key, 'SAMPLES', 0)
      kinds.set(kind, [...kinds.get(kind) ?? [], { bytes: Number(bytes), ttl: await connection.ttl(key) }])
    }
  }
  const rows = [...kinds].sort(([a], [b]) => a < b ? -1 : 1).map(([kind, records]) => {
    const bytes = records.map((record) => record.bytes)
    const mean = bytes.reduce((sum, one) => sum + one, 0) / bytes.length
    const ttl = Math.max(...records.map((record) => record.ttl))
    return [`\`${kind}\``, ...[records.length, mean, Math.max(...bytes), ttl].map((figure) => figure.toFixed(0))]
  })
  return [
    `${PEOPLE} people, one client, grant and session each; a streamed call of ${EVENTS} progress and log messages each`,
    '',
    ...markdownTable(['key', 'keys', 'mean bytes', 'largest', 'longest TTL s'], rows)
  ]
}
