import { setTimeout as delay } from 'node:timers/promises'
import { once } from 'node:events'
import { createServer } from 'node:http'
import type { AddressInfo } from 'node:net'
import { join } from 'node:path'
import t from 'tap'
import { Type } from 'typebox'
import { readConfig, readConfigInspection } from '../../plugins/config.ts'
import { startDevProvider } from '../../dev/provider.ts'
import { checkConfiguration } from '../../src/doctor/configuration.ts'
import { checkClock } from '../../src/doctor/clock.ts'
import { checkMetadataDocuments } from '../../src/doctor/network.ts'
import { createReport, exitCodeOf, printReport } from '../../src/doctor/report.ts'
import { checkTools } from '../../src/doctor/tools.ts'
import { defineTool } from '../../src/define/tool.ts'
import { within } from '../../src/doctor/within.ts'

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
