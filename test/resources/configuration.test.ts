import t from 'tap'
import { readConfig } from '../../plugins/config.ts'
import { REVISIONS } from '../../src/mcp/revisions.ts'
import { createConfigurationResource } from '../../src/resources/_configuration.ts'
import { createTestClient } from '../../src/testing/index.ts'

t.test('seed://configuration', async (t) => {
  const read = async (env: Record<string, string>) => {
    const client = await createTestClient({
      definitions: [createConfigurationResource(
        await readConfig({ environment: env }),
        REVISIONS
      )]
    })
    t.teardown(async () => { await client.close() })
    const { contents: [content], ...hints } = await client.readResource('seed://configuration')
    t.match(hints, { ttlMs: 300_000, cacheScope: 'public' })
    return (content as { text: string }).text
  }

  t.test('says how to sign in, and what the limits are', async (t) => {
    const text = await read({
      BASE_URL: 'https://mcp.example.com',
      OAUTH_MODE: 'broker',
      OIDC_ISSUER: 'https://id.example.com',
      OIDC_CLIENT_ID: 'seed-client',
      OIDC_CLIENT_SECRET: 'hunter2-client',
      SEED_SECRET: 'hunter2 of more than thirty-two characters',
      REDIS_URL: 'redis://:hunter2@redis.internal:6379',
      OIDC_SCOPES: 'openid email'
    })
    t.match(JSON.parse(text), {
      server: 'seed',
      resource: 'https://mcp.example.com/mcp',
      signIn: {
        required: true,
        mode: 'broker',
        authorizationServer: 'https://mcp.example.com',
        provider: 'https://id.example.com',
        scopes: ['openid', 'email']
      },
      limits: {
        requestsPerMinute: Number,
        callsAtOnce: Number,
        streamsAtOnce: Number,
        sessions: Number,
        toolTimeoutSeconds: Number,
        inputTimeoutSeconds: Number
      }
    })
    for (const secret of ['hunter2', 'redis', 'seed-client']) t.notMatch(text, secret)
    t.same(JSON.parse(text).protocolVersions.slice(0, 2), ['2026-07-28', '2025-11-25'])
  })

  t.test('names no provider without sign-in', async (t) => {
    t.match(JSON.parse(await read({ AUTH_REQUIRED: 'false' })).signIn, { required: false })
  })
})
