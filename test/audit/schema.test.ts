import { readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import t from 'tap'
import { describeConfiguration } from '../../src/audit/configuration.ts'
import { AuditRecordSchema } from '../../src/audit/record.ts'
import { messageTraceId, traceIdOf } from '../../src/audit/trace.ts'
import { clientKindOf } from '../../src/audit/client-kind.ts'
import { tokenOwner } from '../../src/audit/token-owner.ts'
import type { Config } from '../../src/config/config.ts'
import { GOOD, SECRET, loadConfig } from '../support/config.ts'
import { ROOT } from '../support/root.ts'

t.test('docs/audit-log.schema.json is the form of the lines (UPDATE_DOCS=1 writes it)', async (t) => {
  const path = join(ROOT, 'docs/audit-log.schema.json')
  const text = `${JSON.stringify({ $schema: 'https://json-schema.org/draft/2020-12/schema', ...AuditRecordSchema }, null, 2)}\n`
  if (process.env['UPDATE_DOCS'] !== undefined) writeFileSync(path, text)
  t.equal(readFileSync(path, 'utf8'), text)
})

t.test('the trace id is that of the message, or of its request', async (t) => {
  const [one, other] = ['0af7651916cd43dd8448eb211c80319c', '4bf92f3577b34da6a3ce929d0e0e4736']
  const header = `00-${one}-b7ad6b7169203331-01`
  t.equal(traceIdOf(header), one)
  const malformed = [
    undefined, '', 'x', `00-${'0'.repeat(32)}-b7ad6b7169203331-01`, `00-${one}-${'0'.repeat(16)}-01`, `${header}-more`,
    header.replace(/^00/, 'ff'), header.toUpperCase()
  ]
  for (const bad of malformed) t.equal(traceIdOf(bad), undefined, String(bad))
  t.equal(traceIdOf(header.replace(/^00/, '01') + '-more'), one, 'a later version')
  t.equal(messageTraceId({ traceparent: header }, undefined), one)
  const body = { params: { _meta: { traceparent: `00-${other}-00f067aa0ba902b7-01` } } }
  t.equal(messageTraceId({ traceparent: header }, body), other)
})

t.test('the kind of a client is known by its id; in proxy mode tokens name no MCP client', async (t) => {
  const trustedIssuers = [{ rules: [{ service: 'deploy' }] }]
  const config = (mode: string) =>
    ({ oauth: { mode, configuredClients: [{ id: 'ci' }], trustedIssuers } }) as unknown as Config
  const kindOf = clientKindOf(config('broker'))
  t.same(
    ['ci', 'deploy', 'https://claude.ai/x', 'http://localhost/x', 'seed-1', 'claude-code', undefined].map(kindOf),
    ['configured', 'configured', 'document', 'document', 'registered', 'unregistered', undefined]
  )
  t.equal(clientKindOf(config('proxy'))('ci'), undefined)
})

t.test('the configuration at start names the store, and no secret', async (t) => {
  const secrets = { OIDC_CLIENT_SECRET: 's3cret', SEED_SECRET: SECRET, REDIS_URL: 'redis://:s3cret@redis', AUDIT_CHAIN_KEY: SECRET }
  const described = describeConfiguration(await loadConfig({ ...GOOD, ...secrets, HTTPS_PROXY: 'http://u:s3cret@proxy' }))
  t.match(described, { store: 'redis', audit: { isChained: true } })
  t.notMatch(JSON.stringify(described), new RegExp(`s3cret|${SECRET}`))
})

t.test('the owner of a token is read from its payload, and from no other text', async (t) => {
  const payload = Buffer.from(JSON.stringify({ iss: 'https://id.example', sub: 'ada', grant: 1 })).toString('base64url')
  t.same(tokenOwner(`e30.${payload}.x`), { issuer: 'https://id.example', subject: 'ada' })
  for (const opaque of ['opaque', 'a.b.c', '']) t.same(tokenOwner(opaque), {})
})
