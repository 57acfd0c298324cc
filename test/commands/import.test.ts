import { readFile, rm, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import t from 'tap'
import { emptyFolder } from '../support/process.ts'
import { runCommand } from '../support/run-command.ts'

const operation = (id: string, others: object = {}) => ({ operationId: id, summary: `Does\u001b[31m ${id}`, responses: { 204: { description: 'Done' } }, ...others })
const describeApi = (paths: object, others: object = {}) => JSON.stringify({ openapi: '3.0.3', info: { title: 'Pets', version: '1' }, paths, ...others })

t.test('seed import openapi writes tools into a project, and says what it did and what is next', async (t) => {
  const folder = await emptyFolder(t)
  const run = async (...args: string[]) => {
    // Paths are those of the current folder.
    const before = process.cwd()
    process.chdir(folder)
    try {
      return await runCommand(['import', 'openapi', ...args], {})
    } finally {
      process.chdir(before)
    }
  }
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
  t.match(again.output, /No longer in the description; remove them with their tests:\n {2}src\/tools\/get-c\.ts \(GET \/c\)/)
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
