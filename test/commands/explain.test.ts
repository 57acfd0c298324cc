import { writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import t from 'tap'
import type { Test } from 'tap'
import { Type } from 'typebox'
import { explain } from '../../src/commands/explain.ts'
import { readConfig } from '../../plugins/config.ts'
import { definePrompt } from '../../src/define/prompt.ts'
import { defineResource, defineResourceTemplate } from '../../src/define/resource.ts'
import { defineTool } from '../../src/define/tool.ts'
import { KIND_CLAIM } from '../../src/tokens/principal.ts'
import { writeEndpoints } from '../support/endpoints.ts'
import { freePort } from '../support/free-port.ts'
import { COMPILED_CLI, emptyFolder, startProcess } from '../support/process.ts'
import { runCommand } from '../support/run-command.ts'
import { ADD, startUpstream, writeMounts } from '../support/upstream.ts'

const definitions = [
  defineTool({ name: 'open', description: 'x', input: Type.Object({}), handler: () => '' }),
  defineTool({
    name: 'refund',
    description: 'x',
    input: Type.Object({}),
    scopes: ['billing:write'],
    groups: ['billing', 'admins'],
    claims: { level: [3, 4] },
    handler: () => ''
  }),
  defineTool({
    name: 'approve', description: 'x', input: Type.Object({}), principalKind: 'person', handler: () => ''
  }),
  defineTool({
    name: 'pay', description: 'x', input: Type.Object({}), maxAge: 300, acr: ['phr', 'mfa'], handler: () => ''
  }),
  definePrompt({ name: 'dunning', scopes: ['billing:read'], handler: () => '' }),
  defineResource({ uri: 'bills://all', name: 'all', groups: ['billing'], read: () => '' }),
  defineResourceTemplate({ uriTemplate: 'bills://of/{id}', name: 'of', groups: ['admins'], read: () => '' })
]
const config = await readConfig({
  environment: {
    OIDC_ISSUER: 'https://id.example.com',
    OIDC_AUDIENCE: 'seed',
    OIDC_GROUPS_CLAIM: 'realm_access.roles',
    SCOPE_HIERARCHY: 'billing>billing:write,billing>billing:read'
  }
})

const BROKER = {
  OAUTH_MODE: 'broker', OIDC_CLIENT_ID: 'seed', OIDC_CLIENT_SECRET: 'secret', SEED_SECRET: 'x'.repeat(64)
}

t.test('explains that the person must sign in again, and when a sign-in is recent enough', (t) => {
  const refused = explain(config, { tool: 'pay', claims: { auth_time: 1_000, acr: 'pwd' } }, definitions)
  t.same({ ...refused, text: refused.text.replace(/\d+ s ago/, 'long ago') }, {
    isAllowed: false,
    text: [
      'Tool "pay": shown, but a call is answered with 401 insufficient_user_authentication: ' +
        'the person must sign in again',
      '- the person must have signed in within 300 s (maxAge); that was long ago',
      '- acr must be "phr" or "mfa"; the token has acr "pwd"',
      'It asks for: a sign-in within 300 s (maxAge); one of the levels (acr) phr, mfa',
      'The caller is a person',
      'Scopes of the token: none',
      'Groups (OIDC_GROUPS_CLAIM=realm_access.roles): none, as the token has no such claim',
      'Signed in at the provider: 1970-01-01T00:16:40.000Z (auth_time)',
      'Level of the sign-in: pwd (acr)'
    ].join('\n')
  })
  const claims = { auth_time: Math.floor(Date.now() / 1_000), acr: 'mfa' }
  t.match(explain(config, { tool: 'pay', claims }, definitions), { isAllowed: true, text: /^Tool "pay": allowed$/m })
  t.match(explain(config, { tool: 'pay', claims, kind: 'service' }, definitions), { isAllowed: false, text: /hidden/ })
  t.end()
})

t.test('explains the verdict with every reason for it', (t) => {
  const good = { scope: 'openid billing', realm_access: { roles: ['admins'] }, level: 4 }
  const explained = (options: Partial<Parameters<typeof explain>[1]>) => explain(
    config,
    { claims: good, ...options },
    definitions
  )

  t.same(explained({ tool: 'refund' }), {
    isAllowed: true,
    text: [
      'Tool "refund": allowed',
      'It asks for: all of the scopes billing:write; one of the groups billing, admins; claim level [3,4]',
      'The caller is a person',
      'Scopes of the token: openid, billing',
      'Groups (OIDC_GROUPS_CLAIM=realm_access.roles): admins'
    ].join('\n')
  })
  t.same(
    explained({ tool: 'open', claims: undefined }),
    { isAllowed: true, text: 'Tool "open": allowed\nIt asks for: nothing' }
  )
  t.match(explained({ tool: 'refund', scopes: 'openid' }), {
    isAllowed: false,
    text: /shown, but a call is answered with 403 insufficient_scope.*\n- the access token lacks the scopes billing:write\n/
  })
  const all = explained({ tool: 'refund', claims: {} })
  t.equal(all.isAllowed, false)
  for (const reason of [
    'hidden from this caller',
    'none of the groups billing, admins',
    'claim level must be 3 or 4',
    'lacks the scopes billing:write',
    'Scopes of the token: none',
    'none, as the token has no such claim'
  ]) t.match(all.text, reason)
  t.match(explained({ tool: 'refund', claims: { realm_access: { roles: [] } } }).text, 'none, as the list is empty')
  t.match(
    explained({ tool: 'refund', claims: { realm_access: { roles: [7] } } }).text,
    'none, as the claim is neither a string nor a list of strings: [7]'
  )
  t.match(explained({ tool: 'refund', claims: undefined }), { isAllowed: false, text: /hidden/ })
  t.match(explained({ tool: 'approve' }), { isAllowed: true, text: /It asks for: a person/ })
  t.match(explained({ tool: 'approve', kind: 'service' }), {
    isAllowed: false, text: /hidden from this caller.*\n- the caller must be a person; it is a service\n[^]*The caller is a service/
  })
  t.match(explained({ tool: 'approve', claims: { [KIND_CLAIM]: 'service' } }), { isAllowed: false })
  t.match(explained({ prompt: 'dunning' }), { isAllowed: true, text: /^Prompt "dunning"/ })
  t.match(explained({ resource: 'bills://all' }), { isAllowed: false, text: /^Resource "bills:/ })
  t.match(explained({ resource: 'bills://of/{id}' }), { isAllowed: true, text: /^Resource template/ })
  t.match(explained({ resource: 'bills://of/7' }), { isAllowed: true, text: /^Resource template/ })
  t.throws(() => explained({ tool: 'nosuch' }), { message: /nothing of this name. It has:\nPrompt "dunning"\n/ })
  t.throws(() => explained({ prompt: 'nosuch' }), { message: /nothing of this name/ })
  t.throws(() => explained({ resource: 'bills://nosuch' }), { message: /nothing of this name/ })
  t.throws(() => explained({ tool: 'refund', claims: { scope: ['billing'] } }), { message: /scope must be a string/ })
  t.end()
})

interface Outcome { code: number | null, output: string }

const ENVIRONMENT = { OIDC_ISSUER: 'https://id.example.com', OIDC_AUDIENCE: 'seed' }

/** Runs the command in this process. */
async function run (args: string[], environment: Record<string, string> = {}): Promise<Outcome> {
  return await runCommand(['explain', ...args], { ...ENVIRONMENT, ...environment })
}

/** Runs it as the command line does, in the folder of the files. */
async function runCli (t: Test, args: string[], folder: string): Promise<Outcome> {
  const cli = startProcess(
    t,
    ['--enable-source-maps', COMPILED_CLI, 'explain', ...args],
    ENVIRONMENT,
    folder
  )
  const { code } = await cli.ended
  return { code, output: await cli.output() }
}

t.test('seed explain knows everything that the server offers, and its exit code is the verdict', async (t) => {
  const folder = await emptyFolder(t)
  const file = (name: string): string => join(folder, name)
  for (const [name, content] of Object.entries({
    'claims.json': '{"sub":"ada","groups":["navy"]}',
    'list.json': '[]',
    'null.json': 'null',
    'text.json': '"x"',
    'guarded.mjs': `import { Type, defineTool } from 'seed-mcp-server'
export const guarded = defineTool({
  name: 'guarded', description: 'for admins', input: Type.Object({}), groups: ['admins'], handler: () => 'x'
})
`
  })) await writeFile(file(name), content)

  t.match(await runCli(t, ['--tool', 'whoami', '--claims', 'claims.json', '--scopes', 'openid email'], folder), {
    code: 0,
    output:
      /^Tool "whoami": allowed\nIt asks for: nothing\nThe caller is a person\nScopes of the token: openid, email\nGroups \(OIDC_GROUPS_CLAIM=groups\): navy\n$/
  })
  t.match(await run(['--prompt', 'greet', '--kind', 'service']), { code: 0, output: /The caller is a service/ })
  t.match(await run(['--prompt', 'greet', '--kind', 'robot']), { code: 1, output: /--kind is person or service/ })
  t.match(await run(['--prompt', 'greet', '--scopes', 'openid']), { code: 0, output: /Scopes of the token: openid/ })
  t.match(
    await run(['--tool', 'seed_ping']),
    { code: 0, output: 'Tool "seed_ping": allowed\nIt asks for: nothing\n' }
  )
  t.match(
    await run(['--tool', 'guarded', '--claims', file('claims.json')], { SEED_EXTENSIONS: file('guarded.mjs') }),
    {
      code: 1,
      output:
        /^Tool "guarded": hidden from this caller, as if it did not exist\n- the caller is in none of the groups admins; the token has navy\n/
    },
    'one of an extension too'
  )
  t.match(await runCli(t, ['--tool', 'nosuch'], folder), { code: 1, output: /nothing of this name/ })
  for (const name of ['list.json', 'null.json', 'text.json']) {
    t.match(await run(['--tool', 'whoami', '--claims', file(name)]), { code: 1, output: /must have one JSON object/ }, name)
  }
  t.match(await run(['--tool', 'whoami', '--claims', file('none.json')]), { code: 1, output: /^ENOENT/ })
  for (const args of [
    [],
    ['--tool', 'a', '--prompt', 'b'],
    ['--claims', file('claims.json')]
  ]) t.match(await run(args), { code: 1, output: /^seed explain: name one tool, prompt or resource\nseed explain --help / })
  t.match(await run(['--tool']), { code: 1, output: /^seed explain: option '--tool <name>' argument missing\nseed explain --help / })
  t.match(await run(['--tool', '--scopes', 'x']), { code: 1, output: /^seed explain: too many arguments/ })
  t.match(await run(['--tool', '--scopes']), { code: 1, output: /^seed explain: option '--tool' needs a value \('--scopes' is an option\)/ })
  t.match(await runCommand(['explain', '--help'], ENVIRONMENT), { code: 0, output: /^Usage: seed explain/ })
})

t.test('seed explain asks the mounted server of a name, and says where in the file the rules are', async (t) => {
  const { url, ...upstream } = await startUpstream(t)
  upstream.tools.push({ ...ADD, name: '\u001b[31mred' })
  const SEED_MOUNTS = await writeMounts({
    calc: {
      url,
      groups: ['navy'],
      tools: { overrides: { add: { name: 'sum', scopes: ['calc:sum'] } } },
      prompts: { overrides: { greet: { groups: ['navy', 'army'] } } }
    },
    away: { url: `http://127.0.0.1:${await freePort()}/mcp` }
  })
  const claims = join(await emptyFolder(t), 'claims.json')
  await writeFile(claims, '{"sub":"ada","groups":["navy"]}')
  const explainMounted = async (...args: string[]): Promise<Outcome> =>
    await run([...args, '--claims', claims], { SEED_MOUNTS })

  t.match(await explainMounted('--tool', 'calc_sum'), {
    code: 1,
    output: [
      'Tool "calc_sum": shown, but a call is answered with 403 insufficient_scope: the client may ask for more scopes',
      '- the access token lacks the scopes calc:sum',
      'It asks for: all of the scopes calc:sum; one of the groups navy',
      `It is "add" of ${url}`,
      'Its rules (SEED_MOUNTS): scopes of mount "calc", tools.overrides.add; groups of mount "calc"'
    ].join('\n')
  })
  t.match(await explainMounted('--tool', 'calc_sum', '--scopes', 'calc:sum'), { code: 0, output: /allowed/ })
  t.match(await explainMounted('--prompt', 'calc_greet'), { code: 0, output: /SEED_MOUNTS\): groups of mount "calc", prompts.overrides.greet\n/ })
  t.match(await explainMounted('--resource', 'calc+notes://7'), { code: 0, output: /It is "notes:\/\/\{id\}" of http/ })
  const unknown = await explainMounted('--tool', 'calc_add')
  t.match(unknown, { code: 1, output: /nothing of this name. It has:[^]*\nTool "calc_sum"\n[^]*calc_.*red" is not offered: / })
  t.notOk(unknown.output.includes('\u001b'))
  t.match(await explainMounted('--tool', 'away_x'), { code: 1, output: /mount "away" cannot be used.*ECONNREFUSED/ })
  t.match(await explainMounted('--tool', 'whoami'), { code: 0, output: /^Tool "whoami": allowed\nIt asks for: nothing\nThe/ },
    'what belongs to no mount needs none of them')
})

t.test('seed explain names the rule of a mount that excludes something, a URI of a template too', async (t) => {
  const { url, ...upstream } = await startUpstream(t)
  upstream.tools.push({ ...ADD, name: 'drop' })
  const SEED_MOUNTS = await writeMounts({
    calc: { url, tools: { deny: ['dr*'] }, resources: { allow: ['notes://{id}'], deny: ['notes://9'] } }
  })
  t.match(await run(['--tool', 'calc_drop'], { SEED_MOUNTS }), {
    code: 1,
    output: 'Tool "calc_drop" is not offered, as if it did not exist: mount "calc" excludes it (tools.deny: dr*)'
  })
  t.match(await run(['--resource', 'calc+notes://9'], { SEED_MOUNTS }), {
    code: 1, output: /^Resource template "calc\+notes:\/\/\{id\}": this URI is not offered, .* mount "calc" excludes it \(resources\)\n/
  })
  t.match(await run(['--resource', 'calc+notes://1'], { SEED_MOUNTS }), { code: 0 })
})

t.test('seed explain names no rules of a mount that has none', async (t) => {
  const SEED_MOUNTS = await writeMounts({ calc: { url: (await startUpstream(t)).url } })
  t.match(await run(['--tool', 'calc_add'], { SEED_MOUNTS }), {
    code: 0, output: /^Tool "calc_add": allowed\nIt asks for: nothing\nIt is "add" of http:.*\n$/
  })
})

t.test('says whether an MCP endpoint offers it, and who may use it there', async (t) => {
  const upstream = await startUpstream(t)
  const environment = {
    ...BROKER,
    SEED_ENDPOINTS: await writeEndpoints({
      main: { tools: { allow: ['whoami'] } },
      endpoints: {
        sales: { mounts: ['calc'], tools: { allow: ['calc_*', 'seed_ping'] }, resources: { allow: ['seed:*'] } },
        ops: { tools: false }
      }
    }),
    SEED_MOUNTS: await writeMounts({ calc: { url: upstream.url, groups: ['sales'] } })
  }
  const ask = async (...args: string[]) => await run(args, environment)
  t.match(await ask('--tool', 'seed_ping'), {
    code: 1,
    output: 'Tool "seed_ping" at /mcp: not offered, as if it did not exist: /mcp excludes it (not in tools.allow)\n' +
      'It is offered at: /mcp/sales\n'
  })
  t.match(await ask('--tool', 'seed_ping', '--endpoint', 'sales'), { code: 0, output: /^Tool "seed_ping" at \/mcp\/sales: / })
  t.match(await ask('--tool', 'calc_add', '--endpoint', '/mcp/sales'), {
    code: 1, output: /^Tool "calc_add" at \/mcp\/sales: hidden from this caller/
  })
  t.match(await ask('--tool', 'calc_add'), { code: 1, output: /at \/mcp: not offered.*excludes it \(mounts\)\nIt is offered at: \/mcp\/sales\n/ })
  t.match(await ask('--prompt', 'calc_greet', '--endpoint', 'ops'), { code: 1, output: /not offered.*\n.*\/mcp\/sales/ })
  t.match(await ask('--resource', 'calc+notes://7', '--endpoint', 'sales'), { code: 1, output: /\(not in resources.allow\)\n.*offered at: no endpoint/ })
  t.match(await ask('--tool', 'seed_ping', '--endpoint', 'nosuch'), {
    code: 1, output: /--endpoint is one of \/mcp, \/mcp\/ops, \/mcp\/sales/
  })
})

t.test('judges who may use an MCP endpoint at all, before the policy of what it offers', async (t) => {
  const environment = {
    ...BROKER,
    SEED_ENDPOINTS: await writeEndpoints({
      main: { access: { emailDomains: ['example.com'] } }, endpoints: { sales: { access: { groups: ['sales'] } } }
    })
  }
  const claims = join(await emptyFolder(t), 'claims.json')
  await writeFile(claims, '{"sub":"ada","groups":["ops"],"email":"ada@example.com","email_verified":true}')
  const ask = async (...args: string[]) => await run(['--tool', 'seed_ping', ...args], environment)
  t.match(await ask('--claims', claims, '--endpoint', 'sales'), {
    code: 1,
    output: [
      'Tool "seed_ping" at /mcp/sales: the endpoint lets nobody in like this caller, whatever they call',
      '- access.groups of /mcp/sales (SEED_ENDPOINTS): the groups sent ["ops"], admitted ["sales"]',
      'The caller is a person'
    ].join('\n')
  })
  t.match(await ask('--claims', claims), { code: 0, output: /^Tool "seed_ping" at \/mcp: allowed/ })
  t.match(await ask('--endpoint', 'sales'), {
    code: 1,
    output: 'Tool "seed_ping" at /mcp/sales: the endpoint lets nobody in without sign-in, whatever they call\n' +
      '- access of /mcp/sales (SEED_ENDPOINTS) judges the claims of an access token (--claims)\n'
  })
  t.match(await ask(), { code: 1, output: /^Tool "seed_ping" at \/mcp: the endpoint lets nobody in without sign-in/ })
  t.match(await ask('--endpoint', 'sales', '--scopes', 'openid'), { code: 1, output: /nobody in like this caller/ })
})

t.test('knows that a template leads to what an MCP endpoint does not offer', async (t) => {
  const [main, sales] = (await readConfig({
    environment: {
      AUTH_REQUIRED: 'false',
      SEED_ENDPOINTS: await writeEndpoints({
        main: { resources: { deny: ['bills://of/7'] } }, endpoints: { sales: { tools: { deny: ['open'] } } }
      })
    }
  })).endpoints
  const explained = (resource: string, endpoint = main) => explain(
    { ...config, endpoints: [main!, sales!] }, { resource, claims: { realm_access: { roles: ['admins'] } }, endpoint }, definitions
  ).isAllowed
  t.same([explained('bills://of/7'), explained('bills://of/8'), explained('bills://of/{id}')], [false, true, true])
  t.equal(explained('bills://of/7', sales), true)
})
