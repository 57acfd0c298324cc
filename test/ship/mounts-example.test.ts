import { mkdir, readFile, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import t from 'tap'
import { freePort } from '../support/free-port.ts'
import { startTree } from '../support/package.ts'
import { emptyFolder } from '../support/process.ts'
import { ROOT } from '../support/root.ts'
import { modernRequest, postMcp, ready, startSeed } from '../support/seed.ts'

/** The example of docs/mounts.md, as it stands there but for its folders and its port. Needs the npm registry. */
t.test('the example of docs/mounts.md: two servers of npm, and groups that decide who sees what', async (t) => {
  const section = (await readFile(join(ROOT, 'docs/mounts.md'), 'utf8')).split('\n## ')
    .find((text) => text.startsWith('Example: two servers from npm'))!
  const [folder, port] = [await emptyFolder(t), String(await freePort())]
  const localize = (text: string): string => text
    .replaceAll('/opt/mcp', join(folder, 'mcp')).replaceAll('/srv/documents', join(folder, 'documents')).replaceAll('3001', port)
  const [commands, mounts] = ['bash', 'yaml'].map((language) =>
    localize(new RegExp(`\`\`\`${language}\n([^]*?)\`\`\``).exec(section)![1]!)) as [string, string]
  await mkdir(join(folder, 'documents'))
  await writeFile(join(folder, 'documents/plan.txt'), 'The plan')
  await writeFile(join(folder, 'mounts.yaml'), mounts)
  await startTree(t, 'bash', ['-e', '-c', commands], folder).printed(/listening on port/)

  const seed = await startSeed(t, {
    definitions: [], timings: { mountsWaitMs: 60_000 }, env: { SEED_MOUNTS: join(folder, 'mounts.yaml') }
  })
  await ready(seed)
  const tokenOf = async (sub: string, groups: string[]) => await seed.provider.mint({ sub, groups })
  const [ada, bob, eve] = [await tokenOf('ada', ['engineering']), await tokenOf('bob', ['support']), await tokenOf('eve', [])]
  const toolsOf = async (token: string): Promise<string[]> =>
    (await postMcp(seed, modernRequest('tools/list', {}), token)).body.result.tools.map(({ name }: { name: string }) => name)
  const call = async (token: string, name: string, args: object) =>
    (await postMcp(seed, modernRequest('tools/call', { name, arguments: args }), token))
  const has = async (token: string, ...names: string[]): Promise<boolean[]> => {
    const tools = await toolsOf(token)
    return names.map((name) => tools.includes(name))
  }
  const names = ['demo_echo', 'demo_get-env', 'files_read_text_file', 'files_write_file']
  t.same(await has(ada, ...names), [true, false, true, true])
  t.same(await has(bob, ...names), [false, false, true, false])
  t.same(await has(eve, ...names), [false, false, false, false])
  t.match((await call(ada, 'demo_echo', { message: 'hi' })).body.result.content, [{ text: 'Echo: hi' }])
  const path = join(folder, 'documents/plan.txt')
  t.match((await call(bob, 'files_read_text_file', { path })).body.result.content, [{ text: 'The plan' }])
  t.equal((await call(bob, 'files_write_file', { path, content: 'Another plan' })).body.result?.isError ?? true, true)
  t.equal(await readFile(path, 'utf8'), 'The plan')
})
