import { mkdir, mkdtemp, readFile, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { dirname, join } from 'node:path'
import t from 'tap'
import type { Test } from 'tap'
import { readConfigInspection } from '../../plugins/config.ts'
import { ConfigError } from '../../src/config/problem.ts'
import { createDefinitionLoader, loadOffers } from '../../src/definitions.ts'
import { checkMounts } from '../../src/doctor/mounts.ts'
import { loadAllDefinitions } from '../../src/extensions/load.ts'
import { defineMount } from '../../src/mounts/settings/define-mount.ts'
import type { DeclaredMount, MountDeclaration } from '../../src/mounts/settings/define-mount.ts'
import { readMounts } from '../../src/mounts/settings/mounts-file.ts'
import { runCommand } from '../support/run-command.ts'
import { modernRequest, postMcp, sendModern, startSeed } from '../support/seed.ts'
import type { TestSeed } from '../support/seed.ts'
import { startUpstream, writeMounts } from '../support/upstream.ts'

const OPEN = { AUTH_REQUIRED: 'false', CIMD_ENABLED: 'false' }

/** The text of an extension with these mounts. */
function extension (...mounts: object[]): string {
  const exports = mounts.map((mount, index) => `export const mount${index} = defineMount(${JSON.stringify(mount)})\n`)
  return `import { defineMount } from 'seed-mcp-server'\n${exports.join('')}`
}

/** Writes files into a folder, which SEED_EXTENSIONS can name. */
async function writeExtensions (files: Record<string, string>): Promise<string> {
  const folder = await mkdtemp(join(tmpdir(), 'seed-extension-'))
  for (const [name, text] of Object.entries(files)) {
    await mkdir(dirname(join(folder, name)), { recursive: true })
    await writeFile(join(folder, name), text)
  }
  return folder
}

/** Starts a server without sign-in that loads its extensions as the shipped one does. */
async function start (t: Test, env: Record<string, string>): Promise<TestSeed> {
  const loader = createDefinitionLoader()
  return await startSeed(t, {
    env: { ...OPEN, ...env },
    definitions: loader.load,
    mounts: loader.mounts,
    timings: { mountsWaitMs: 60_000 }
  })
}

async function toolsOf (seed: TestSeed, path = '/mcp'): Promise<string[]> {
  const response = await sendModern(seed.url, modernRequest('tools/list'), undefined, {}, path)
  const { result } = await response.json() as { result: { tools: Array<{ name: string }> } }
  return result.tools.map(({ name }) => name)
}

t.test('an extension mounts a server beside its own tools and beside the file, with a secret next to it', async (t) => {
  const upstream = await startUpstream(t)
  const SEED_EXTENSIONS = await writeExtensions({
    'tickets.js': `import { Type, defineTool } from 'seed-mcp-server'
export const hello = defineTool({ name: 'hello', description: 'Greets', input: Type.Object({}), handler: () => 'hello' })
${extension({
  name: 'calc',
  url: upstream.url,
  secret: { file: 'keys/calc' },
  connectTimeoutSeconds: 60,
  tools: { overrides: { add: { name: 'plus' } } }
})}`,
    'keys/calc': 's3cret\n'
  })
  const SEED_MOUNTS = await writeMounts({ file: { url: upstream.url, connectTimeoutSeconds: 60 } })
  const seed = await start(t, { SEED_EXTENSIONS, SEED_MOUNTS })
  t.match((await toolsOf(seed)).filter((name) => /_add|_plus|hello/.test(name)).sort(), ['calc_plus', 'file_add', 'hello'])
  const { body } = await postMcp(seed, modernRequest('tools/call', { name: 'calc_plus', arguments: { a: 1 } }))
  t.same(body.result.content, [{ type: 'text', text: '{"a":1}' }])
  t.equal(upstream.requests.at(-1)!.authorization, 'Bearer s3cret')
})

t.test('what is wrong with a mount of an extension stops the start, and the error names the file', async (t) => {
  const url = 'https://a.example/mcp'
  const problemsOf = async (...mounts: object[]): Promise<readonly string[]> => {
    const folder = await writeExtensions({ 'a.js': extension(...mounts) })
    const err: unknown = await start(t, { SEED_EXTENSIONS: folder }).then(() => undefined, (reason) => reason)
    t.type(err, ConfigError)
    return (err as ConfigError).problems.map((text) => text.replace(`SEED_EXTENSIONS (${folder}/a.js): `, ''))
  }
  t.same(await problemsOf({ url }), ['a mount needs a name'])
  t.match(await problemsOf({ name: 'Big_Name', url }), [/^mount "Big_Name": the name must have 1 to 32 lower-case letters/])
  t.same(await problemsOf({ name: 'a', url, tolls: true }), ['mount "a": tolls is not a known member'])
  t.same(await problemsOf({ name: 'a' }), ['mount "a": it must have either url or command'])
  t.match(await problemsOf({ name: 'a', url, connection: 'person' }), [/^mount "a": connection must be shared or session/])
  t.match(await problemsOf({ name: 'a', url, secret: { file: 'none' } }), [/^mount "a": secret.file .*\/none cannot be read/])
  t.match(await problemsOf({ name: 'a', url }, { name: 'a', url }), ['mount "a": another mount has this name already: choose another one'])
})

t.test('names and the missing prefix are of one mount, in the file and in all extensions', async (t) => {
  const url = 'https://a.example/mcp'
  const path = await writeMounts({ b: { url, prefix: false } })
  const declared = (declaration: MountDeclaration, file: string) =>
    [{ mount: defineMount(declaration), file, folder: '/ext' }]
  t.throws(() => readMounts(path, { declared: declared({ name: 'b', url }, '/ext/b.js') }),
    { message: /SEED_EXTENSIONS \(\/ext\/b.js\): mount "b": another mount has this name already/ })
  t.throws(() => readMounts(path, { declared: declared({ name: 'c', url, prefix: false }, '/ext/c.js') }),
    { message: /SEED_EXTENSIONS \(\/ext\/c.js\): mount "c": prefix is false for mount "b" already/ })
  const mounts = readMounts(path, { declared: declared({ name: 'a', command: 'server', cwd: 'work' }, '/ext/a.js') })
  t.match(mounts, [{ name: 'a', process: { command: 'server', cwd: '/ext/work' } }, { name: 'b' }])
})

t.test("a package's mount has its paths relative to the folder in which Seed is started", async (t) => {
  const from = await writeExtensions({
    'node_modules/acme-mounts/package.json': JSON.stringify({ name: 'acme-mounts', type: 'module', exports: './main.js' }),
    'node_modules/acme-mounts/main.js': extension({ name: 'b', url: 'https://b.example' }, { name: 'a', url: 'https://a.example' })
  })
  const mounts: DeclaredMount[] = []
  await loadAllDefinitions(['acme-mounts'], { from, mounts })
  t.match(mounts, [
    { mount: { name: 'b' }, file: 'acme-mounts', folder: from }, { mount: { name: 'a' }, file: 'acme-mounts', folder: from }
  ])
})

t.test('an endpoint may name the mount of an extension, and one that nothing has stops the start', async (t) => {
  const { url } = await startUpstream(t)
  const folder = await writeExtensions({
    'calc.js': extension({ name: 'calc', url, connectTimeoutSeconds: 60 }),
    'good.yaml': 'endpoints: { sales: { mounts: [calc] } }',
    'bad.yaml': 'endpoints: { sales: { mounts: [crm] } }'
  })
  const seed = await start(t, { SEED_EXTENSIONS: folder, SEED_ENDPOINTS: join(folder, 'good.yaml') })
  t.ok((await toolsOf(seed, '/mcp/sales')).includes('calc_add'))
  t.notOk((await toolsOf(seed)).includes('calc_add'), 'a mount that an endpoint names is not at /mcp')

  const environment = { ...OPEN, SEED_EXTENSIONS: folder, SEED_ENDPOINTS: join(folder, 'bad.yaml') }
  await t.rejects(start(t, environment), { name: 'ConfigError', message: /names the mount "crm" for \/mcp\/sales/ })
  t.equal((await runCommand(['check'], environment)).code, 0, 'seed check loads no extensions')
  const { config } = await readConfigInspection({ environment })
  t.match(await checkMounts(config, async () => await loadOffers(config)), [{
    check: 'mounts.definitions', severity: 'error', answered: /names the mount "crm"/, meaning: 'The server would not start'
  }])
})

t.test('the commands of the operator know the mounts of extensions', async (t) => {
  const { url } = await startUpstream(t)
  const SEED_EXTENSIONS = await writeExtensions({
    'calc.js': extension({ name: 'calc', url, groups: ['navy'], pin: { file: 'calc.lock.json' }, connectTimeoutSeconds: 60 })
  })
  const environment = { ...OPEN, SEED_EXTENSIONS }
  t.match(await runCommand(['mounts', 'accept', 'calc'], environment), { code: 0 })
  t.match(JSON.parse(await readFile(join(SEED_EXTENSIONS, 'calc.lock.json'), 'utf8')), { mount: 'calc' })
  t.match(await runCommand(['mounts', 'list'], environment), { code: 0, printed: `calc (${url}): connected` })
  t.match(await runCommand(['explain', '--tool', 'calc_add'], environment), { printed: /one of the groups navy/ })
  const { config } = await readConfigInspection({ environment })
  t.match(await checkMounts(config, async () => await loadOffers(config)), [{ check: 'mounts.calc', severity: 'ok' }])
  t.same(await checkMounts(config, async () => { throw new Error('cannot be loaded') }), [], 'that is a finding of tools')
})
