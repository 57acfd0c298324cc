import { execFile } from 'node:child_process'
import { cp, mkdir, readFile, symlink, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { promisify } from 'node:util'
import t from 'tap'
import { BUNDLE, emptyFolder } from '../support/process.ts'
import { ROOT } from '../support/root.ts'

/** The package as npm packs it, which authors of extensions install for types and tests. */

const run = promisify(execFile)

t.test('the packed package', async (t) => {
  const folder = await emptyFolder(t)
  const installed = join(folder, 'author/node_modules/seed-mcp-server')
  // As `npm run build` does.
  await run(
    process.execPath,
    ['node_modules/typescript-native/lib/tsc.js', '--emitDeclarationOnly', '--outDir', join(folder, 'dist')],
    { cwd: ROOT }
  )
  await cp(join(BUNDLE, '..'), join(folder, 'dist'), { recursive: true })
  for (const path of ['package.json', 'README.md', 'LICENSE']) await cp(join(ROOT, path), join(folder, path))
  await run('npm', ['pack', '--ignore-scripts'], { cwd: folder })
  const { version, exports } = JSON.parse(await readFile(join(ROOT, 'package.json'), 'utf8')) as {
    version: string
    exports: Record<string, { types: string, default: string }>
  }
  await mkdir(installed, { recursive: true })
  await writeFile(join(folder, 'author/package.json'), '{"type":"module"}')
  await run('tar', ['xzf', join(folder, `seed-mcp-server-${version}.tgz`), '--strip-components=1', '-C', installed])
  // What npm would install with it.
  await symlink(join(ROOT, 'node_modules'), join(installed, 'node_modules'))

  t.test('contains every file that its exports name', async (t) => {
    for (const { types, default: code } of Object.values(exports)) {
      for (const path of [types, code]) t.ok((await readFile(join(installed, path), 'utf8')).length > 0, path)
    }
  })

  t.test('can be imported', async (t) => {
    const program = `import { ToolError, Type, defineTool } from 'seed-mcp-server'
console.log(typeof defineTool, typeof Type.Object, new ToolError('x').name)`
    const { stdout } = await run(
      process.execPath,
      ['--input-type=module', '-e', program],
      { cwd: join(folder, 'author') }
    )
    t.equal(stdout, 'function function ToolError\n')
  })

  t.test('has types that find a mistake in a handler', async (t) => {
    const extension = (handler: string): string => `import { Type, defineTool } from 'seed-mcp-server'

export const add = defineTool({
  name: 'add',
  description: 'Adds',
  input: Type.Object({ a: Type.Number(), b: Type.Number() }),
  output: Type.Object({ sum: Type.Number() }),
  handler: ${handler}
})
`
    await writeFile(join(folder, 'author/good.ts'), extension('({ a, b }) => ({ sum: a + b })'))
    await writeFile(join(folder, 'author/input.ts'), extension('({ a, c }) => ({ sum: a + c })'))
    await writeFile(join(folder, 'author/output.ts'), extension('({ a, b }) => ({ sum: String(a + b) })'))
    const errors = await run(process.execPath, [
      join(ROOT, 'node_modules/typescript-native/lib/tsc.js'),
      '--noEmit', '--strict', '--module', 'nodenext', '--target', 'es2023', '--skipLibCheck',
      '--types', 'node', '--typeRoots', join(ROOT, 'node_modules/@types'),
      'good.ts', 'input.ts', 'output.ts'
    ], { cwd: join(folder, 'author') }).then(() => '', ({ stdout }: { stdout: string }) => stdout)
    t.notMatch(errors, 'good.ts')
    t.match(errors, /^input\.ts\(8,\d+\): error TS2339: Property 'c' does not exist/)
    t.match(errors, /^output\.ts\(\d+,\d+\): error TS[^]*Type 'string' is not assignable to type 'number'/m)
  })
})
