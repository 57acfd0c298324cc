import { setTimeout as delay } from 'node:timers/promises'
import { once } from 'node:events'
import { createServer } from 'node:http'
import type { AddressInfo } from 'node:net'
import { join } from 'node:path'
import t from 'tap'
import { Type } from 'typebox'
import { readConfig, readConfigInspection } from '../../plugins/config.ts'
import { startDevProvider } from '../../dev/provider.ts'
import { checkAccess, checkConfiguration } from '../../src/doctor/configuration.ts'
import { checkClock } from '../../src/doctor/clock.ts'
import { checkMetadataDocuments } from '../../src/doctor/network.ts'
import { createReport, exitCodeOf, printReport } from '../../src/doctor/report.ts'
import { checkTools } from '../../src/doctor/tools.ts'
import { defineTool } from '../../src/define/tool.ts'
import { within } from '../../src/doctor/within.ts'
import { writeEndpoints } from '../support/endpoints.ts'

const ENVIRONMENT = { OIDC_ISSUER: 'https://id.example.com', OIDC_AUDIENCE: 'x' }

t.test('a check that hangs or fails is a finding', async (t) => {
  t.match(await within('a.b', async () => await delay(60_000, [], { ref: false }), 10),
    [{ check: 'a.b', severity: 'unknown', answered: 'nothing within 10 ms' }])
  t.match(await within('a.b', async () => { throw new Error('broken') }), [{ severity: 'unknown', answered: 'broken' }])
})

t.test('a setting in .env that Docker Compose would change is a warning', async (t) => {
  const path = join(t.testdir({ env: 'ACCESS_CONTACT=it$help\n' }), 'env')
  const inspection = await readConfigInspection({ environment: ENVIRONMENT, dotenvPath: path })
  t.match(checkConfiguration(inspection), [
    { severity: 'ok' }, { severity: 'warning', setting: 'ACCESS_CONTACT', meaning: /Docker Compose/ }
  ])
  const broken = await readConfigInspection({ environment: { ...ENVIRONMENT, PORT: 'x' }, dotenvPath: path })
  t.match(checkConfiguration(broken), [{ severity: 'error', setting: 'PORT' }, { severity: 'warning' }])
})

t.test('who may sign in is said of each MCP endpoint, and a rule about an email address that is not asked for is a warning', async (t) => {
  const examine = async (content: object, environment: Record<string, string> = {}) => checkAccess(await readConfig({
    environment: { ...ENVIRONMENT, OAUTH_MODE: 'broker', SEED_ENDPOINTS: await writeEndpoints(content), ...environment }
  }))
  const access = { groups: ['sales'] }
  t.match(await examine({ endpoints: { sales: {} } }), [{ severity: 'ok', answered: 'none is set', meaning: /^Everybody/ }])
  t.match(await examine({ endpoints: { sales: { access } } }), [{
    severity: 'ok', answered: 'set for /mcp/sales', meaning: /is limited; everybody whom the provider admits may use \/mcp$/
  }])
  t.match(await examine({ main: { access }, endpoints: { sales: { access } } }), [{
    answered: 'set for /mcp, /mcp/sales', meaning: 'Access is limited at each MCP endpoint'
  }])
  const emails = { endpoints: { sales: { scopes: ['openid', 'email'], access: { emailDomains: ['a.example'] } } } }
  t.equal((await examine(emails)).length, 1, 'OIDC_SCOPES asks for the address by default')
  t.match(await examine(emails, { OIDC_SCOPES: 'openid', ACCESS_EMAIL_DOMAINS: 'b.example' }), [{}, {
    check: 'configuration.email-scope', severity: 'warning', meaning: /^ACCESS_EMAIL_DOMAINS needs/, value: 'openid email'
  }, {
    check: 'configuration.email-scope', meaning: /^access.emailDomains of \/mcp\/sales \(SEED_ENDPOINTS\) needs/
  }])
})

t.test('clocks that differ are found by the Date header', async (t) => {
  const provider = await startDevProvider()
  t.teardown(async () => { await provider.close() })
  const config = await readConfig({ environment: { ...ENVIRONMENT, OIDC_ISSUER: provider.issuer } })
  for (const [seconds, severity, answered] of [
    [0, 'ok', /./], [10, 'warning', /ahead/], [-10, 'warning', /behind/], [120, 'error', /1\d\d s ahead/]
  ] as const) {
    t.match(await checkClock(config, () => Date.now() + seconds * 1_000), [{ severity, answered }], `${seconds}`)
  }
  const silent = createServer((_request, response) => {
    response.sendDate = false
    response.end()
  }).listen(0, '127.0.0.1')
  await once(silent, 'listening')
  t.teardown(() => { silent.close() })
  const issuer = `http://127.0.0.1:${(silent.address() as AddressInfo).port}`
  const without = await readConfig({ environment: { ...ENVIRONMENT, OIDC_ISSUER: issuer } })
  t.match(await checkClock(without, Date.now), [{ severity: 'unknown', answered: 'no Date header' }])
})

t.test('metadata documents of clients are fetched as the server fetches them', async (t) => {
  const config = await readConfig({ environment: ENVIRONMENT })
  const { probeUrl } = config.oauth.metadataDocuments
  const answer = (body: string) => async () => ({ status: 200, headers: {}, body })
  t.match(await checkMetadataDocuments(config, answer(JSON.stringify({ client_id: probeUrl }))), [{ severity: 'ok' }])
  t.match(await checkMetadataDocuments(config, answer('{}')), [{ severity: 'warning', setting: 'CIMD_PROBE_URL' }])
})

t.test('more tools than clients take are a warning', async (t) => {
  const tools = Array.from({ length: 201 }, (_value, index) =>
    defineTool({ name: `tool-${index}`, description: 'x', input: Type.Object({}), handler: () => '' }))
  t.match(await checkTools(async () => tools), [
    { severity: 'ok', answered: /^201/ }, { severity: 'warning', asked: 'all tools' }
  ])
})

t.test('a report without warnings exits with 0', async (t) => {
  const finding = { check: 'tools.definitions', severity: 'ok' as const, asked: 'x', answered: 'y', meaning: 'z' }
  const report = createReport([finding], [])
  t.equal(exitCodeOf(report), 0)
  t.match(printReport(report), /Nothing is wrong that could be checked/)
})
