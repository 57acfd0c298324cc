import { mkdtemp, readFile, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import t from 'tap'
import type { Test } from 'tap'
import { readConfigInspection } from '../../plugins/config.ts'
import type { Environment } from '../../src/config/load.ts'
import { EndpointsFileSchema } from '../../src/config/endpoint-schema.ts'
import { GOOD, loadConfig, problemsOf } from '../support/config.ts'
import { writeEndpoints } from '../support/endpoints.ts'
import { ROOT } from '../support/root.ts'
import { startSeed } from '../support/seed.ts'
import { writeMounts } from '../support/upstream.ts'

const BROKER = { ...GOOD, OAUTH_MODE: 'broker', BASE_URL: 'https://host.example/seed', SERVER_NAME: 'acme' }

/** Returns the problems of a file, without its path. */
async function fileProblems (t: Test, content: object | string, env: Environment = BROKER): Promise<string[]> {
  const SEED_ENDPOINTS = await writeEndpoints(content)
  return (await problemsOf(t, { ...env, SEED_ENDPOINTS }))
    .map((text) => text.replace(`SEED_ENDPOINTS (${SEED_ENDPOINTS}): `, ''))
}

t.test('without a file /mcp is the only endpoint, and offers everything', async (t) => {
  const { endpoints } = await loadConfig({ ...BROKER, SERVER_TITLE: 'Acme', SERVER_INSTRUCTIONS: 'Use them' })
  t.same(endpoints, [{
    name: undefined,
    path: '/mcp',
    resource: 'https://host.example/seed/mcp',
    scopes: ['openid', 'profile', 'email', 'offline_access'],
    access: { groups: [], emailDomains: [], hostedDomains: [], claims: [] },
    server: { name: 'acme', title: 'Acme', description: undefined, instructions: 'Use them' },
    selection: { mounts: { deny: [] }, tools: true, prompts: true, resources: true }
  }])
})

t.test('an operator writes YAML or JSON', async (t) => {
  const file = await writeEndpoints(`
# yaml-language-server: $schema=./endpoints.schema.json
main:
  access: { emailDomains: ['@Example.com'] }
  tools: { deny: [ops_*] }
endpoints:
  sales:
    title: Sales
    name: acme.sales
    description: Tickets and offers
    instructions: Search first
    scopes: [openid, sales]
    access:
      groups: [sales]
      hostedDomains: [Example.com]
      claims: { department: [Sales, Partners], active: true, level: 3 }
    mounts: [tickets]
    tools: { allow: [tickets_*], deny: [tickets_delete] }
    prompts: false
    resources: { allow: ['tickets://*'] }
  ops: { mounts: true }
`)
  const { endpoints: [main, ops, sales] } = await loadConfig({ ...BROKER, SEED_ENDPOINTS: file })
  t.match(main, {
    path: '/mcp',
    access: { emailDomains: ['example.com'] },
    selection: { mounts: { deny: ['tickets'] }, tools: { deny: ['ops_*'] } }
  }, 'a mount that another endpoint names is not at /mcp')
  t.match(ops, {
    name: 'ops',
    path: '/mcp/ops',
    resource: 'https://host.example/seed/mcp/ops',
    scopes: ['openid', 'profile', 'email', 'offline_access'],
    server: { name: 'acme-ops', title: 'Seed: ops', description: undefined, instructions: undefined },
    selection: { mounts: true, tools: true }
  })
  t.match(sales, {
    scopes: ['openid', 'sales'],
    access: {
      groups: ['sales'],
      hostedDomains: ['example.com'],
      claims: [
        { claim: 'department', values: ['Sales', 'Partners'] }, { claim: 'active', values: ['true'] },
        { claim: 'level', values: ['3'] }
      ]
    },
    server: { name: 'acme.sales', title: 'Sales', description: 'Tickets and offers', instructions: 'Search first' },
    selection: {
      mounts: { allow: ['tickets'] },
      tools: { allow: ['tickets_*'], deny: ['tickets_delete'] },
      prompts: false,
      resources: { allow: ['tickets://*'] }
    }
  })
  t.ok(Object.isFrozen(sales?.access.groups))
})

t.test('/mcp has mounts that another endpoint names if its own list has them, and a further endpoint has none unless it names them', async (t) => {
  const SEED_ENDPOINTS = await writeEndpoints({
    main: { mounts: ['tickets'] }, endpoints: { none: {}, sales: { mounts: ['tickets'] } }
  })
  const { endpoints } = await loadConfig({ ...BROKER, SEED_ENDPOINTS })
  t.same(endpoints.map(({ selection: { mounts } }) => mounts), [{ allow: ['tickets'] }, false, { allow: ['tickets'] }])
})

t.test('every problem of the file names the endpoint and the member', async (t) => {
  t.match(await fileProblems(t, 'endpoints: ['), [/neither YAML nor JSON/])
  t.match(await fileProblems(t, ''), ['the file is empty: write an endpoint below "endpoints:"'])
  t.match(await fileProblems(t, '7'), ['the file must be an object'])
  t.match(await fileProblems(t, { endpoints: { 'Sales Team': {} } }),
    ['endpoint "Sales Team": the name must have 1 to 32 lower-case letters, digits and -, and begin with a letter'])
  t.match(await fileProblems(t, { endpoints: { sales: { tool: true } } }), ['endpoint "sales": tool is not a known member'])
  t.match(await fileProblems(t, { endpoints: { sales: { access: { groups: [] } } } }), [/"sales": access.groups must not have/])
  t.match(await fileProblems(t, { main: { title: 'x' } }), ['main.title is not a known member'])
  t.match(await fileProblems(t, { main: { access: { emailDomains: ['anna@example.com'] } } }), [/main.access.emailDomains.0/])
  t.match(await fileProblems(t, { main: { access: { claims: { '': {} } } } }), ['main.access.claims. is not a known member'])
  const wrong = { tools: 7, prompts: 7, resources: 7, mounts: 7 }
  t.equal((await fileProblems(t, { endpoints: { a: wrong, b: wrong, c: wrong } })).length, 12, 'all at once')
  t.match(await problemsOf(t, { ...BROKER, SEED_ENDPOINTS: '/nowhere.yaml', BASE_URL: 'nonsense' }),
    [/BASE_URL/, 'SEED_ENDPOINTS (/nowhere.yaml): the file cannot be read (ENOENT): set SEED_ENDPOINTS to a file'])
})

t.test('further endpoints need broker mode, and rules for access need sign-in', async (t) => {
  const further = { endpoints: { sales: {} } }
  t.match(await fileProblems(t, further, GOOD), [/SEED_ENDPOINTS needs OAUTH_MODE=broker for further endpoints/])
  t.match(await fileProblems(t, { main: { access: { groups: ['a'] } } }, { AUTH_REQUIRED: 'false' }),
    [/SEED_ENDPOINTS has rules for access, which need AUTH_REQUIRED=true/])
  const mainAlone = await writeEndpoints({ main: { prompts: false } })
  t.equal((await loadConfig({ ...GOOD, SEED_ENDPOINTS: mainAlone })).endpoints.length, 1)
  const open = await loadConfig({ AUTH_REQUIRED: 'false', SEED_ENDPOINTS: await writeEndpoints(further) })
  t.equal(open.endpoints.length, 2)
})

t.test('a mount that SEED_MOUNTS does not have stops the start, and seed check names it', async (t) => {
  const SEED_ENDPOINTS = await writeEndpoints({ endpoints: { sales: { mounts: ['tickets', 'crm'] } } })
  const env = { AUTH_REQUIRED: 'false', SEED_ENDPOINTS }
  const message = 'SEED_ENDPOINTS names the mount "crm" for /mcp/sales, which neither SEED_MOUNTS nor an extension has'
  await t.rejects(startSeed(t, { env }), { name: 'ConfigError', message: /2 settings need attention/ })
  const SEED_MOUNTS = await writeMounts({ tickets: { url: 'http://127.0.0.1:1/mcp' } })
  await t.rejects(startSeed(t, { env: { ...env, SEED_MOUNTS } }), { message: new RegExp(message) })
  t.match((await readConfigInspection({ environment: env })).problems, { length: 2 })
  for (const broken of [{ SEED_MOUNTS: '"mounts.yaml"' }, { SEED_EXTENSIONS: '"mounts.ts"' }]) {
    const { problems } = await readConfigInspection({ environment: { ...env, ...broken } })
    t.match(problems, [{ setting: Object.keys(broken)[0] }], 'what the other setting has is not known')
    t.equal(problems.length, 1)
  }
  t.same((await readConfigInspection({ environment: { ...env, SEED_MOUNTS } })).problems, [{ setting: 'SEED_ENDPOINTS', message }])
})

t.test('a diagnosis goes on without a file that is not valid', async (t) => {
  const folder = await mkdtemp(join(tmpdir(), 'seed-endpoints-'))
  await writeFile(join(folder, 'bad.yaml'), 'endpoints: {sales: 7}')
  const { config, problems } = await readConfigInspection({
    environment: { ...BROKER, SEED_ENDPOINTS: join(folder, 'bad.yaml') }
  })
  t.equal(config.endpoints.length, 1)
  t.match(problems, [{ setting: 'SEED_ENDPOINTS', message: /endpoint "sales": must be an object/ }])
  const inspection = await readConfigInspection({
    environment: { ...BROKER, BASE_URL: 'x', SEED_ENDPOINTS: await writeEndpoints({ endpoints: { sales: {} } }) }
  })
  t.equal(inspection.config.endpoints.length, 2, 'a problem elsewhere leaves the endpoints')
})

t.test('docs/endpoints.schema.json is the schema of the file', async (t) => {
  const path = join(ROOT, 'docs/endpoints.schema.json')
  const schema = { $schema: 'https://json-schema.org/draft/2020-12/schema', ...JSON.parse(JSON.stringify(EndpointsFileSchema)) }
  if (process.env['UPDATE_ENDPOINTS_SCHEMA']) await writeFile(path, `${JSON.stringify(schema, null, 2)}\n`)
  else t.same(JSON.parse(await readFile(path, 'utf8')), schema, 'UPDATE_ENDPOINTS_SCHEMA=1 npm test -- test/config/endpoints.test.ts')
})
