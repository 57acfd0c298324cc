import { cp, mkdir, symlink, writeFile } from 'node:fs/promises'
import { register } from 'node:module'
import { dirname, join } from 'node:path'
import t from 'tap'
import type { Test } from 'tap'
import { ToolError } from '../../src/define/tool.ts'
import type { ToolDefinition } from '../../src/define/tool.ts'
import { DefinitionError, describeDefinition } from '../../src/define/definition.ts'
import { linkExtensions } from '../../src/extensions/link.ts'
import { addFile, loadAllDefinitions, loadBuiltInDefinitions } from '../../src/extensions/load.ts'
import { createCatalog } from '../../src/mcp/catalog/catalog.ts'
import { createPolicyEvaluator } from '../../src/policy/evaluator.ts'
import { COMPILED_SERVER, SERVER, emptyFolder, startProcess } from '../support/process.ts'
import { freePort } from '../support/free-port.ts'
import { ROOT } from '../support/root.ts'
import { modernRequest } from '../support/seed.ts'

const FOLDER = join(ROOT, 'test/extensions/fixtures/folder/')
const THEIRS = [
  'Prompt "triage"',
  'Resource "tickets://all"',
  'Resource template "tickets://one/{id}"',
  'Tool "close_ticket"'
]
const policies = createPolicyEvaluator({ hierarchy: [], scopes: [] })

linkExtensions()

/** Runs TypeScript as Node 22.18 does by itself. */
if (!(process.features as { typescript?: string | false }).typescript) {
  register(`data:text/javascript,${encodeURIComponent(`
    import { createRequire } from 'node:module'
    import { fileURLToPath } from 'node:url'
    import { readFile } from 'node:fs/promises'
    const { transform } = createRequire(${JSON.stringify(import.meta.url)})('esbuild')
    export async function load (url, context, next) {
      if (!url.endsWith('.ts')) return await next(url, context)
      const { code } = await transform(await readFile(fileURLToPath(url), 'utf8'), { loader: 'ts' })
      return { format: 'module', source: code, shortCircuit: true }
    }
  `)}`)
}

/** Loads extensions and compiles all definitions, as the server does. @returns what the extensions add */
async function offered (extensions: string[], from: string): Promise<string[]> {
  const builtIn = new Set((await loadBuiltInDefinitions()).map(({ file }) => file))
  const loaded = await loadAllDefinitions(extensions, { from })
  try {
    createCatalog(loaded.map(({ definition }) => definition), policies)
  } catch (err) {
    throw addFile(err, loaded)
  }
  return loaded.filter(({ file }) => !builtIn.has(file)).map(({ definition }) => describeDefinition(definition)).sort()
}

/** Writes files into a folder that is removed after the test. */
async function folderOf (t: Test, files: Record<string, string>): Promise<string> {
  const folder = await emptyFolder(t)
  for (const [name, content] of Object.entries(files)) {
    await mkdir(dirname(join(folder, name)), { recursive: true })
    await writeFile(join(folder, name), content)
  }
  return folder
}

const tool = (name: string, rest = 'handler: () => \'done\''): string =>
  `import { defineTool, Type } from 'seed-mcp-server'
export const it = defineTool({ name: '${name}', description: 'does', input: Type.Object({}), ${rest} })
`

t.test('loads a folder and its subfolders, by absolute and by relative path', async (t) => {
  const from = await emptyFolder(t)
  await cp(FOLDER, join(from, 'mounted'), { recursive: true })
  t.same(await offered([join(from, 'mounted')], '/'), THEIRS)
  t.same(await offered(['./mounted'], from), THEIRS)
  t.same(await offered(['..'], join(from, 'mounted', 'tools')), THEIRS)
})

t.test('an extension uses the modules of this server, wherever it lies', async (t) => {
  const from = await emptyFolder(t)
  await cp(FOLDER, from, { recursive: true })
  const loaded = await loadAllDefinitions([from], { from })
  const closeTicket = loaded.find(({ definition }) => describeDefinition(definition) === 'Tool "close_ticket"')
  t.throws(() => (closeTicket!.definition as ToolDefinition).handler({ id: '8' }, {} as never), ToolError)
})

t.test('loads files, several entries, and symbolic links', async (t) => {
  const from = await folderOf(
    t,
    { 'a.js': tool('a'), 'b.mjs': tool('b'), 'linked/.keep': '', 'notes.txt': '', '.hidden.js': 'not JavaScript' }
  )
  await symlink('../a.js', join(from, 'linked', 'a.js'))
  t.same(await offered(['./b.mjs', './linked'], from), ['Tool "a"', 'Tool "b"'])
})

t.test('loads all that a package exports, resolved from the folder where Seed is started', async (t) => {
  const from = await folderOf(t, {
    'node_modules/@acme/tickets/package.json': JSON.stringify({
      name: '@acme/tickets',
      type: 'module',
      exports: { '.': { import: './main.js' }, './more': './more.js' }
    }),
    'node_modules/@acme/tickets/main.js': `export * from './one.js'
export * from './two.js'
export const version = 1
`,
    'node_modules/@acme/tickets/one.js': tool('one'),
    'node_modules/@acme/tickets/two.js': tool('two').replace('const it', 'const other'),
    'node_modules/@acme/tickets/more.js': tool('more')
  })
  t.same(await offered(['@acme/tickets'], from), ['Tool "one"', 'Tool "two"'])
  t.same(await offered(['@acme/tickets/more'], from), ['Tool "more"'])
})

t.test('loads TypeScript where Node runs it', async (t) => {
  const from = await folderOf(
    t,
    { 'a.ts': tool('a').replace('handler: ()', 'handler: (): string'), 'types.d.ts': 'export {}' }
  )
  const loaded = await loadAllDefinitions([from], { from, runsTypeScript: true })
  t.equal(describeDefinition(loaded.at(-1)!.definition), 'Tool "a"')
  await t.rejects(
    loadAllDefinitions([from], { from, runsTypeScript: false }),
    {
      name: 'ExtensionError',
      message: `${from}/a.ts is TypeScript, which Node ${process.versions.node} does not run: ` +
        'compile it to JavaScript, or use Node 22.18 or newer'
    }
  )
})

t.test('an error is one sentence with the file and the reason', async (t) => {
  const cases: Array<[name: string, files: Record<string, string>, message: string | RegExp, entry?: string]> = [
    ['a missing folder', {}, 'SEED_EXTENSIONS: FOLDER/nowhere does not exist', './nowhere'],
    [
      'a path through a file',
      { 'a.js': tool('a') },
      'SEED_EXTENSIONS: FOLDER/a.js/b cannot be read (ENOTDIR)',
      './a.js/b'
    ],
    ['a subfolder that is a file', { 'a.js': tool('a'), tools: '' }, 'FOLDER/tools cannot be read (ENOTDIR)'],
    [
      'a file that is no program',
      { 'notes.txt': '' },
      'SEED_EXTENSIONS: FOLDER/notes.txt is no .js, .mjs, .ts file',
      './notes.txt'
    ],
    [
      'an empty folder',
      {},
      /^SEED_EXTENSIONS: FOLDER holds no \.js, \.mjs, \.ts file, and neither do its folders tools, prompts, resources$/
    ],
    [
      'a name that is none',
      {},
      'SEED_EXTENSIONS: data:text/javascript is neither the path of a folder or file (/path or ./path) ' +
        'nor the name of a package',
      'data:text/javascript'
    ],
    ['a missing package', {}, /^nosuch cannot be loaded: Cannot find package 'nosuch' imported from /, 'nosuch'],
    [
      'a syntax error',
      { 'a.js': 'export const = 1' },
      /^FOLDER\/a\.js cannot be loaded: in it, or in a file that it imports: Unexpected token/
    ],
    [
      'a missing module',
      { 'a.js': "import 'nosuch'" },
      /^FOLDER\/a\.js cannot be loaded: Cannot find package 'nosuch' imported from /
    ],
    ['a file that throws', { 'a.js': "throw new Error('no database')" }, 'FOLDER/a.js cannot be loaded: no database'],
    [
      'a file that throws something else',
      { 'a.js': "throw 'a tantrum'" },
      'FOLDER/a.js cannot be loaded: it throws a tantrum'
    ],
    [
      'a file that offers nothing',
      { 'a.js': 'export const a = { kind: 1 }\nexport const b = null' },
      /^FOLDER\/a\.js exports nothing that defineTool, .* made/
    ],
    [
      'a name that the protocol does not allow',
      { 'a.js': tool('a b') },
      'FOLDER/a.js cannot be offered: Tool name "a b" must have 1 to 128 characters: letters, digits, _, - and .'
    ],
    [
      'a tool without handler',
      { 'a.js': tool('a', '') },
      'FOLDER/a.js cannot be offered: tool "a": handler is missing'
    ],
    [
      'a tool without input',
      { 'a.js': tool('a').replace(/input: .*?,/, '') },
      'FOLDER/a.js cannot be offered: tool "a": input is missing'
    ],
    [
      'a tool without a name',
      { 'a.js': tool('a').replace("name: 'a',", '') },
      'FOLDER/a.js cannot be offered: tool without a name: name is missing'
    ],
    [
      'the same name twice',
      { 'a.js': tool('same'), 'b.js': tool('same') },
      'Tool "same" is in FOLDER/a.js and in FOLDER/b.js: give one of them another name'
    ],
    [
      'the name of one of its own',
      { 'a.js': tool('seed_ping') },
      /^Tool "seed_ping" is in .*src\/tools\/seed-ping\.js and in FOLDER\/a\.js: give one of them another name$/
    ]
  ]
  for (const [name, files, message, entry = '.'] of cases) {
    const from = await folderOf(t, files)
    const err = await offered([entry], from).then(() => undefined, (err: Error) => err)
    t.equal(err?.name, 'ExtensionError', name)
    const sentence = err!.message.replaceAll(from, 'FOLDER')
    if (typeof message === 'string') t.equal(sentence, message, name)
    else t.match(sentence, message, name)
  }
})

t.test('everything that an extension declares is checked, and what is wrong is named', async (t) => {
  const tools: Array<[members: string, problem: string]> = [
    ['title: 5', 'title must be string'],
    ['icons: \'x\'', 'icons must be array'],
    ['icons: [{}]', 'icons.0.src is missing'],
    ['input: Type.String()', 'input must be the schema of an object, as Type.Object makes it'],
    ['output: Type.Union([Type.Object({}), Type.Object({})])', 'output must be the schema of an object'],
    ['input: Type.Object({ n: Type.Number({ default: 1n }) })', 'input must be an object with JSON of at most'],
    ['groups: \'admins\'', 'groups must be array'],
    ['scopes: [7]', 'scopes.0 must be string'],
    ['claims: { level: null }', 'claims.level must be string'],
    ["claims: { 'a\\nb': null }", 'claims.a\nb must be string'],
    ["claims: { '': 'x' }", 'claims. is not a member that Seed knows'],
    ['maxAge: \'60\'', 'maxAge must be number'],
    ['acr: \'phr\'', 'acr must be array'],
    ['principalKind: \'robot\'', 'principalKind must be equal to one of the allowed values'],
    ['_meta: \'x\'', '_meta must be an object with JSON'],
    ['_meta: { n: 1n }', '_meta must be an object with JSON'],
    ['_meta: { text: \'x\'.repeat(300_000) }', '_meta must be an object with JSON of at most 262144 characters'],
    ['annotations: { readOnlyHint: \'yes\' }', 'annotations.readOnlyHint must be boolean'],
    ['timeoutSeconds: 1e9', 'timeoutSeconds must be <= 86400'],
    ['group: [\'admins\']', 'group is not a member that Seed knows'],
    ['endpoints: [\'sales\']', 'endpoints.0 must match pattern'],
    ['endpoints: []', 'endpoints must not have fewer than 1'],
    ['handler: \'x\'', 'handler must be a function']
  ]
  for (const [members, problem] of tools) {
    const from = await folderOf(t, { 'a.js': tool('a', `handler: () => 'done', ${members}`) })
    const err = await offered(['.'], from).then(() => undefined, (err: Error) => err)
    t.match(err?.message, `${from}/a.js cannot be offered: tool "a": ${problem}`, members)
  }
  const others: Array<[definition: string, problem: string]> = [
    ["definePrompt({ name: 'a', handler: () => 'x', complete: 'x' })", 'prompt "a": complete must be an object of fun'],
    ["defineResource({ uri: 'x://a', name: 'a', size: -1, read: () => 'x' })", 'resource "a": size must be >= 0'],
    ["defineResource({ uri: 7, name: 'a', read: () => 'x' })", 'resource "a": uri must be string'],
    [
      "defineResourceTemplate({ uriTemplate: 'x://{id}', name: 'a', read: () => 'x', list: [] })",
      'resource-template "a": list must be a function'
    ]
  ]
  for (const [definition, problem] of others) {
    const imports = 'import { definePrompt, defineResource, defineResourceTemplate } from \'seed-mcp-server\''
    const from = await folderOf(t, { 'a.js': `${imports}\nexport const it = ${definition}\n` })
    const err = await offered(['.'], from).then(() => undefined, (err: Error) => err)
    t.match(err?.message, `${from}/a.js cannot be offered: ${problem}`, definition)
  }
  const from = await folderOf(t, { 'a.js': tool('a', 'handler: () => \'done\', title: undefined, principalKind: \'person\', maxAge: 60, acr: [\'phr\']') })
  t.same(await offered(['.'], from), ['Tool "a"'], 'a member that is undefined counts as absent')
})

t.test('a file whose top-level await never ends is named, within a limited time', async (t) => {
  const from = await folderOf(t, { 'a.js': `await new Promise(() => {})\n${tool('a')}` })
  await t.rejects(loadAllDefinitions([from], { from, timeoutMs: 200 }), {
    name: 'ExtensionError',
    message: `${from}/a.js cannot be loaded: it is not loaded after 0.2 seconds: an await at its top level does not end`
  })
})

t.test('an error about no loaded definition stays as it is', async (t) => {
  const [loaded] = await loadBuiltInDefinitions()
  for (const err of [new Error('no database'), new DefinitionError('is odd', loaded!.definition)]) {
    t.equal(addFile(err, []), err)
  }
})

t.test('the server process', async (t) => {
  const from = await emptyFolder(t)
  await cp(FOLDER, join(from, 'extensions'), { recursive: true })
  const start = (SEED_EXTENSIONS: string, env: Record<string, string>, server = SERVER) => startProcess(
    t,
    ['--enable-source-maps', '--disable-proto=delete', server],
    { AUTH_REQUIRED: 'false', HOST: '127.0.0.1', SEED_EXTENSIONS, ...env },
    from
  )

  for (const [what, program] of [['compiled', COMPILED_SERVER], ['bundled, as it ships', SERVER]] as const) {
    t.test(`${what}, offers an extension's tools, and knows its ToolError`, async (t) => {
      const port = String(await freePort())
      const server = start(join(from, 'extensions'), { PORT: port, BASE_URL: `http://127.0.0.1:${port}` }, program)
      await server.printed(/Seed is ready/)
      const { body, headers } = modernRequest('tools/call', { name: 'close_ticket', arguments: { id: '8' } })
      const answer = await fetch(`http://127.0.0.1:${port}/mcp`, {
        method: 'POST',
        body,
        headers: { ...headers, 'content-type': 'application/json', accept: 'application/json, text/event-stream' }
      })
      t.match(await answer.json(), { result: { isError: true, content: [{ text: 'There is no ticket 8' }] } })
    })
  }

  t.test('survives a tool that calls process.exit or floats a rejection, and its log names the file', async (t) => {
    await writeFile(join(from, 'reckless.mjs'), `import { defineTool, Type } from 'seed-mcp-server'
const reckless = (name, handler) => defineTool({ name, description: name, input: Type.Object({}), handler })
export const a = reckless('exits', () => process.exit(3))
export const b = reckless('floats', () => { (async () => { throw new Error('floated') })(); return 'done' })
export const c = reckless('floats_text', () => { Promise.reject('not an error'); return 'done' })
`)
    const port = String(await freePort())
    const url = `http://127.0.0.1:${port}`
    const server = start('./reckless.mjs', { PORT: port, BASE_URL: url }, COMPILED_SERVER)
    await server.printed(/Seed is ready/)
    const call = async (name: string) => {
      const { body, headers } = modernRequest('tools/call', { name, arguments: {} })
      const accept = 'application/json, text/event-stream'
      const common = { 'content-type': 'application/json', accept }
      return await (await fetch(`${url}/mcp`, { method: 'POST', body, headers: { ...headers, ...common } })).json()
    }
    t.match(await call('exits'), { result: { isError: true, content: [{ text: /^exits failed/ }] } })
    t.match(await call('floats'), { result: { content: [{ text: 'done' }] } })
    t.match(await call('floats_text'), { result: { content: [{ text: 'done' }] } })
    await server.printed(/"handler":"exits"[^\n]*process\.exit\(\) was called[^\n]*"file":"[^"]+\/reckless\.mjs"/)
    await server.printed(/"message":"floated"[^\n]*"definitions":\["Tool \\"exits\\""/)
    await server.printed(/Something other than an error was thrown: 'not an error'[^\n]*A promise was rejected/)
    t.equal((await fetch(`${url}/health`)).status, 200)
    server.child.kill('SIGTERM')
    t.same(await server.ended, { code: 0, signal: null })
  })

  t.test('does not start with a broken extension', async (t) => {
    for (const [text, message] of [
      [
        'export const = 1',
        /^\S*\/broken\.mjs cannot be loaded: in it, or in a file that it imports: Unexpected token '='$/
      ],
      [tool('a b'), /^\S*\/broken\.mjs cannot be offered: Tool name "a b" must have 1 to 128 characters.*$/m],
      ['process.exit(0)', /^\S*\/broken\.mjs cannot be loaded: process\.exit\(\) was called: .* must not end the server$/],
      ['setInterval(() => {}, 1000); throw new Error("no database")', /broken\.mjs cannot be loaded: no database$/]
    ] as const) {
      await writeFile(join(from, 'broken.mjs'), text)
      // A store whose connection is already being tried when the tool is refused keeps nothing running.
      const server = start('./extensions,./broken.mjs', { PORT: '0', REDIS_URL: 'redis://127.0.0.1:1' })
      t.same(await server.ended, { code: 1, signal: null })
      const line = (await server.output()).split('\n').find((text) => text.includes('"event":"server.not_started"'))
      t.match(JSON.parse(line!), { level: 60, msg: message })
    }
  })
})
