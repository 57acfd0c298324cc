import { once } from 'node:events'
import { createServer } from 'node:https'
import type { AddressInfo } from 'node:net'
import t from 'tap'
import type { Test } from 'tap'
import type { Config } from '../../src/config/config.ts'
import { checkMounts } from '../../src/doctor/mounts.ts'
import { examine } from '../../src/doctor/examine.ts'
import { readConfig, readConfigInspection } from '../../plugins/config.ts'
import { freePort } from '../support/free-port.ts'
import { selfSigned } from '../support/tls.ts'
import { ADD, NO_OFFERS, startUpstream, writeMounts } from '../support/upstream.ts'

const SEED_SECRET = 'the SEED_SECRET of these tests, 44 bytes long'
const OPEN = { AUTH_REQUIRED: 'false', CIMD_ENABLED: 'false', BASE_URL: 'http://127.0.0.1:9' }

/** Returns what `seed doctor` says of these mounts. */
async function diagnose (mounts: object, files: Record<string, string> = {}, changes: Partial<Config> = {}) {
  const SEED_MOUNTS = await writeMounts(mounts, files)
  const config = await readConfig({ environment: { ...OPEN, SEED_SECRET, SEED_MOUNTS } })
  return await checkMounts({ ...config, ...changes }, async () => NO_OFFERS)
}

/** Starts an upstream whose every answer has this status. */
async function startRefusing (t: Test, status: number, body = ''): Promise<string> {
  const upstream = await startUpstream(t)
  upstream.intercept = (_request, response) => {
    response.writeHead(status, { 'content-type': 'text/html' }).end(body)
    return true
  }
  return upstream.url
}

t.test('a mounted server that answers is named with its revision and what is offered of it', async (t) => {
  const [modern, session] = [await startUpstream(t), await startUpstream(t, 'session')]
  modern.tools = [ADD, { ...ADD, name: 'delete_all' }]
  t.match(await diagnose({
    calc: { url: `${modern.url}?key=s3cret`, tools: { deny: ['delete_*'] } }, old: { url: session.url, tools: false }
  }), [
    {
      check: 'mounts.calc',
      severity: 'ok',
      asked: `POST ${modern.url}, the lists of mount "calc"`,
      meaning: '"calc" offers 1 tool, 1 prompt, 1 resource, 1 resource template, by MCP 2026-07-28'
    },
    { check: 'mounts.old', severity: 'ok', meaning: /"old" offers 0 tools, 1 prompt, .* by MCP 2025-11-25/ }
  ])
})

t.test('what would be lost of a mounted server is a warning', async (t) => {
  const { url, ...upstream } = await startUpstream(t)
  upstream.tools.push({ ...ADD, name: '\u001b[31mred' })
  const rules = { allow: ['add', '*red'], deny: Array.from({ length: 11 }, (_value, index) => `gone-${index}`) }
  const findings = await diagnose({
    calc: { url, tools: rules }, none: { url, tools: false, prompts: false, resources: false }
  })
  t.match(findings, [
    { check: 'mounts.calc', severity: 'ok' },
    { severity: 'warning', answered: /^nothing fits tools.deny: gone-0, .* and 1 more$/, meaning: /rules are lost/ },
    { severity: 'warning', answered: /^Tool "calc_\\u001b\[31mred" \(/, setting: 'SEED_MOUNTS' },
    { check: 'mounts.none', severity: 'warning', meaning: /allow and deny of mount "none" leave nothing/ }
  ])
})

t.test('a mounted server that cannot be used is an error with its cause and remedy', async (t) => {
  const files = { key: 's3cret' }
  const [unauthorized, notFound, bad, page] = [
    await startRefusing(t, 401), await startRefusing(t, 404), await startRefusing(t, 502),
    await startRefusing(t, 200, '<html>')
  ]
  const hanging = await startUpstream(t)
  hanging.intercept = () => true
  const findings = await diagnose({
    away: { url: `http://127.0.0.1:${await freePort()}/mcp` },
    behind: { url: bad },
    elsewhere: { url: notFound },
    'needs-secret': { url: unauthorized },
    page: { url: page },
    secret: { url: unauthorized, secret: { file: 'key' } },
    slow: { url: hanging.url, connectTimeoutSeconds: 1 }
  }, files)
  t.same(findings.map(({ severity, setting }) => `${severity} ${setting!}`), Array(7).fill('error SEED_MOUNTS'))
  t.match(findings, [
    { answered: 'it cannot be reached (ECONNREFUSED)', meaning: /Nothing of "away" is offered: check the url of mount/ },
    { answered: 'it answered with HTTP status 502', meaning: /behind its proxy is not running/ },
    { answered: 'it answered with HTTP status 404', meaning: /the url of mount "elsewhere" has another path/ },
    { answered: 'it answered with HTTP status 401', meaning: /add secret.file to mount "needs-secret"/ },
    { answered: 'it answered with something other than MCP', meaning: /that of a web page/ },
    { answered: 'it answered with HTTP status 401', meaning: /check secret.file, secret.header and secret.scheme/ },
    { answered: 'it did not answer in time (connectTimeoutSeconds)', meaning: /a firewall drops the connection/ }
  ])
  t.notMatch(JSON.stringify(findings), /s3cret/)
})

t.test('a mounted server that takes too long does not hide what was found out about another one', async (t) => {
  const { url } = await startUpstream(t)
  const hanging = await startUpstream(t)
  hanging.intercept = () => true
  const SEED_MOUNTS = await writeMounts({ calc: { url }, slow: { url: hanging.url, connectTimeoutSeconds: 2 } })
  const config = await readConfig({ environment: { ...OPEN, SEED_SECRET, SEED_MOUNTS } })
  t.match(await checkMounts(config, async () => NO_OFFERS, 1_000), [
    { check: 'mounts.calc', severity: 'ok' },
    { check: 'mounts.slow', severity: 'unknown', answered: 'nothing within 1000 ms' }
  ])
})

t.test('a mounted server whose certificate is of an unknown CA is an error that names NODE_EXTRA_CA_CERTS', async (t) => {
  const { key, cert } = selfSigned(t, ['127.0.0.1'])
  const server = createServer({ key, cert }, (_request, response) => { response.end() }).listen(0, '127.0.0.1')
  await once(server, 'listening')
  t.teardown(() => { server.close() })
  const { port } = server.address() as AddressInfo
  t.match(await diagnose({ private: { url: `https://127.0.0.1:${port}/mcp` } }), [{
    severity: 'error', setting: 'NODE_EXTRA_CA_CERTS', meaning: /its certificate is of a CA that Node.js does not know/
  }])
})

t.test('no server is asked where the file of SEED_MOUNTS is not valid, or there is none', async (t) => {
  const examined = async (environment: Record<string, string>) => (await examine({
    inspection: await readConfigInspection({ environment: { ...OPEN, ...environment } }),
    loadOffers: async () => NO_OFFERS
  })).filter(({ check }) => check.startsWith('mounts.'))
  t.match(await examined({ SEED_MOUNTS: '/nowhere.yaml' }), [{ check: 'mounts.connection', severity: 'unknown' }])
  t.same(await examined({}), [])
})

t.test('seed doctor tells a mounted server who asks, as the running server does', async (t) => {
  const upstream = await startUpstream(t)
  upstream.intercept = ({ headers }, response) => {
    const { payload } = decoded(headers.authorization)
    if (payload?.['sub'] === OPEN.BASE_URL && payload['aud'] === 'urn:calc') return false
    response.writeHead(401).end()
    return true
  }
  t.match(await diagnose({
    calc: { url: upstream.url, identity: { assertion: { audience: 'urn:calc' } } },
    other: { url: upstream.url, identity: { assertion: {} } },
    'only-people': { url: upstream.url, identity: { tokenFor: { audience: 'calc-api' } } }
  }, {}, { authRequired: true, oauth: { mode: 'broker' } as Config['oauth'] }), [
    { check: 'mounts.calc', severity: 'ok' },
    { check: 'mounts.only-people', severity: 'error', meaning: /set identity.tokenFor.allowServerToken: true of mount/ },
    { check: 'mounts.other', severity: 'error', meaning: /refuses Seed's assertion: check identity.assertion.audience/ }
  ])
})

function decoded (authorization = ''): { payload?: Record<string, unknown> } {
  const [, part] = authorization.split('.')
  return part === undefined ? {} : { payload: JSON.parse(Buffer.from(part, 'base64url').toString()) as Record<string, unknown> }
}
