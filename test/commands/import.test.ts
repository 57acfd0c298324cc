import { execFile } from 'node:child_process'
import { readFile, rm, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { promisify } from 'node:util'
import t from 'tap'
import { emptyFolder } from '../support/process.ts'
import { runCommand } from '../support/run-command.ts'

const execute = promisify(execFile)
const operation = (id: string, others: object = {}) => ({ operationId: id, summary: `Does\u001b[31m ${id}`, responses: { 204: { description: 'Done' } }, ...others })
const describeApi = (paths: object, others: object = {}) => JSON.stringify({ openapi: '3.0.3', info: { title: 'Pets', version: '1' }, paths, ...others })

/** Runs `seed import openapi` in a folder. */
async function runIn (folder: string, ...args: string[]) {
  // Paths are those of the current folder.
  const before = process.cwd()
  process.chdir(folder)
  try {
    return await runCommand(['import', 'openapi', ...args], {})
  } finally {
    process.chdir(before)
  }
}

t.test('seed import openapi writes tools into a project, and says what it did and what is next', async (t) => {
  const folder = await emptyFolder(t)
  const run = async (...args: string[]) => await runIn(folder, ...args)
  const spec = join(folder, 'pets.json')
  await writeFile(spec, describeApi({
    '/a': { get: operation('getA', { tags: ['first'] }), post: operation('upload', { requestBody: { content: { 'image/png': {} } } }) },
    '/b': { get: operation('getB', { parameters: [{ in: 'cookie', name: 'c', schema: {} }] }) },
    '/c': { get: { responses: { 204: { description: 'Done' } } } }
  }))
  const first = await run('pets.json')
  t.equal(first.code, 0)
  t.match(first.output, /^Pets 1: 3 of 4 operations are tools\./)
  t.match(first.output, / {2}written {3}src\/tools\/get-a\.ts\n {2}written {3}test\/get-a\.test\.ts/)
  t.match(first.output, /Without a tool:\n {2}POST \/a: its body is image\/png/)
  t.match(first.output, /Incomplete:\n {2}GET \/b: the parameter c is left out/)
  t.match(first.output, /Set PETS_URL, and one of\n +PETS_TOKEN_FILE: .*\n +PETS_AUDIENCE: .*\n +PETS_ASSERTION_AUDIENCE: /)
  t.match((await run('pets.json')).output, 'Nothing has changed.')

  await writeFile(join(folder, 'src/tools/get-a.ts'), '// mine')
  await writeFile(join(folder, 'src/tools/get-b.ts'), '// mine')
  await rm(join(folder, 'test/get-b.test.ts'))
  await writeFile(spec, describeApi({
    '/a': { get: operation('getA', { summary: 'Other' }) }, '/b': { get: operation('getB') }
  }, { servers: [{ url: '/pets/v1' }] }))
  const again = await run('pets.json')
  t.match(again.output, 'Set PETS_URL (in the description: /pets/v1), and one of')
  t.match(again.output, 'kept      src/tools/get-a.ts: you have changed it; the new version is src/tools/get-a.ts.new')
  t.match(again.output, 'kept      src/tools/get-b.ts: you have changed it')
  t.match(again.output, 'left out  test/get-b.test.ts: it was deleted')
  t.match(again.output, /No longer tools of this API; remove them with their tests:\n {2}src\/tools\/get-c\.ts \(GET \/c\)/)
  t.equal(await readFile(join(folder, 'src/tools/get-a.ts'), 'utf8'), '// mine')

  t.match(await run('pets.json', '--out', '../elsewhere'), { code: 1, output: /--out must be a folder below the current one/ })
  t.match(await run('pets.json', '--out', '.', '--tests', 'tests', '--tag', 'none'), { code: 1, output: '--tag none names no operation' })
  await writeFile(spec, describeApi({
    '/x': { $ref: 'other.json' },
    ...Object.fromEntries(Array.from({ length: 30 }, (_, index) =>
      [`/p${index}`, { get: index === 0 ? { responses: { 204: { description: 'Done' } } } : operation(`get${index}`, { tags: ['first'] }) }]))
  }))
  const listed = await run('pets.json')
  t.equal(listed.code, 1)
  t.match(listed.output, /\nwithout a tag\n {2}GET \/p0 +\n\n--tag first\n {2}GET \/p1 \(get1\) {2}Does \[31m get1\n/)
  t.match(listed.output, /Not readable:\n {2}\/x: it refers to other\.json/)
  t.match(listed.output, 'These are 30 operations: choose with --tag, --path or --operation')
  t.match(await run('pets.json', '--list'), { code: 0, output: /GET \/p29/ })
  t.match(await run('pets.json', '--operation', 'get1', '--path', '/p2', '--name', 'x'), { code: 0, output: /2 of 30 operations/ })
})

t.test('an operation of another server gets no tool but the command that makes it, with a client of its own', async (t) => {
  const folder = await emptyFolder(t)
  const spec = join(folder, 'my pets.json')
  const main = { servers: [{ url: 'https://pets.example.com' }] }
  const files = { servers: [{ url: 'https://files.example.com' }] }
  const get = operation('getA', { parameters: [{ in: 'cookie', name: 'c', schema: {} }] })
  const paths = { '/a': { get }, '/b': { get: operation('getB') }, "/it's/$(id)": { post: operation('upload', files) } }
  const read = async (file: string) => await readFile(join(folder, file), 'utf8')
  /** Splits a command as a shell does, and runs nothing else that is in it. */
  const follow = async (command: string) => {
    const { stdout } = await execute('sh', ['-c', `npx () { printf '%s\\0' "$@"; }; ${command}`])
    const [seed, ...args] = stdout.split('\0').slice(0, -1)
    t.equal(seed, 'seed')
    return await runIn(folder, ...args.slice(2))
  }

  // The tool is that of a time when the description had one server.
  const options = ['my pets.json', '--out', 'src/my tools', '--tests', 'tests', '--prefix', 'p_']
  await writeFile(spec, describeApi(paths, files))
  await runIn(folder, ...options)
  await writeFile(spec, describeApi(paths, main))
  const { output } = await runIn(folder, ...options)
  t.match(output, /^Pets 1: 2 of 3 operations are tools\./)
  t.match(output, /remove them with their tests:\n {2}src\/my tools\/p-upload\.ts \(POST /)
  const [, command = ''] = /Without a tool:\n {2}POST .*: its server is https:\/\/files\.example\.com, which needs a client of its own: (npx .*)\n/
    .exec(output) ?? []
  t.match(command, '--name pets_2')

  const early = await follow(command)
  t.match(early, { code: 1, output: 'src/my tools/p-upload.ts is of another import (src/my tools/_pets-import.json): ' })
  t.notMatch(early.output, 'you have changed it')
  await rm(join(folder, 'src/my tools/p-upload.ts'))
  await rm(join(folder, 'tests/p-upload.test.ts'))
  const followed = await follow(command)
  t.match(followed, { code: 0, output: 'written   src/my tools/p-upload.ts\n' })
  t.match(followed.output, 'Set PETS_2_URL, and one of')
  t.match(await read('src/my tools/p-upload.ts'), '_pets-2-client.js')
  t.match(await read('src/my tools/_pets-2-client.ts'), "DEFAULT_URL: string = 'https://files.example.com'")
  t.match(await read('src/my tools/_pets-client.ts'), "DEFAULT_URL: string = 'https://pets.example.com'")
  t.match(await follow(command), { code: 0, output: 'Nothing has changed.' })

  const again = await runIn(folder, ...options)
  t.match(again.output, command)
  t.match(again.output, 'Nothing has changed.')
  t.notMatch(again.output, 'remove them', 'the tool is that of the other import now')
  await writeFile(join(folder, 'pets.json'), describeApi({ '/a': { get }, '/b': { post: operation('upload', files) } }, main))
  t.match((await runIn(folder, 'pets.json')).output, / own: npx seed import openapi pets\.json --operation 'POST \/b' --name pets_2\n/)
})

t.test('a tool with the name of one of another import is not made, and a prefix makes it', async (t) => {
  const folder = await emptyFolder(t)
  await writeFile(join(folder, 'pets.json'), describeApi({ '/a': { get: operation('list') }, '/b': { get: operation('getB') } }))
  await writeFile(join(folder, 'shop.json'), describeApi({ '/a': { get: operation('list') }, '/c': { get: operation('getC') } }))
  await runIn(folder, 'pets.json')
  const { output } = await runIn(folder, 'shop.json', '--name', 'shop')
  t.match(output, 'GET /a: src/tools/list.ts is of another import (src/tools/_pets-import.json): take its --name, choose a --prefix, or remove the file')
  t.match(await readFile(join(folder, 'src/tools/list.ts'), 'utf8'), '_pets-client.js')
  t.match((await runIn(folder, 'shop.json', '--name', 'shop', '--prefix', 'shop_')).output, 'written   src/tools/shop-list.ts')
  t.match((await runIn(folder, 'pets.json')).output, 'Nothing has changed.')
})
