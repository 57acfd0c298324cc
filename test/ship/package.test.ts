import { execFile } from 'node:child_process'
import { cp, readFile, readdir, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { promisify } from 'node:util'
import t from 'tap'
import { callSignedIn } from '../support/call-signed-in.ts'
import { freePort } from '../support/free-port.ts'
import { NPM_ENV, packFolder, packPackage, startTree } from '../support/package.ts'
import { emptyFolder } from '../support/process.ts'
import { ROOT } from '../support/root.ts'
import { startStopwatch } from '../support/stopwatch.ts'

/** The package as `npm pack` makes it in a fresh clone, and the ways in that begin with it in an empty folder. */

const run = promisify(execFile)
const PROGRAMS = {
  tsc: join(ROOT, 'node_modules/typescript-native/lib/tsc.js'),
  publint: join(ROOT, 'node_modules/publint/src/cli.js'),
  attw: join(ROOT, 'node_modules/@arethetypeswrong/cli/dist/index.js')
}

async function node (program: keyof typeof PROGRAMS, args: readonly string[], cwd: string): Promise<string> {
  return await run(process.execPath, [PROGRAMS[program], ...args], { cwd }).then(
    () => 'passed',
    ({ stdout, stderr }: { stdout: string, stderr: string }) => stdout + stderr
  )
}

t.test('the packed package', async (t) => {
  const tarball = await packPackage(t)
  const folder = await emptyFolder(t)
  await writeFile(join(folder, 'package.json'), '{"type":"module","private":true}')
  await run('npm', ['install', tarball], { cwd: folder, env: NPM_ENV })
  const installed = join(folder, 'node_modules/seed-mcp-server')

  t.test('brings few packages: what the bundle holds is not installed again', async (t) => {
    const packages = (await readdir(join(folder, 'node_modules'))).filter((name) => !name.startsWith('.'))
    t.same(packages.sort(), ['@modelcontextprotocol', 'seed-mcp-server', 'typebox', 'zod'])
  })

  t.test('passes publint and attw', async (t) => {
    t.equal(await node('publint', ['run', '--strict', '--pack', 'false', installed], folder), 'passed')
    t.equal(await node('attw', [tarball, '--profile', 'esm-only'], folder), 'passed')
  })

  t.test('can be imported', async (t) => {
    const program = `import { ToolError, Type, defineTool } from 'seed-mcp-server'
import { createTestClient } from 'seed-mcp-server/testing'
console.log(typeof defineTool, typeof Type.Object, new ToolError('x').name, typeof createTestClient)`
    const { stdout } = await run(process.execPath, ['--input-type=module', '-e', program], { cwd: folder })
    t.equal(stdout, 'function function ToolError function\n')
  })

  t.test('has types that find a mistake in a handler, under the strictest settings', async (t) => {
    const extension = (handler: string): string => `import { Type, defineTool } from 'seed-mcp-server'
import { createTestClient } from 'seed-mcp-server/testing'

export const client = createTestClient
export const add = defineTool({
  name: 'add',
  description: 'Adds',
  input: Type.Object({ a: Type.Number(), b: Type.Number() }),
  output: Type.Object({ sum: Type.Number() }),
  handler: ${handler}
})
`
    await writeFile(join(folder, 'good.ts'), extension('({ a, b }) => ({ sum: a + b })'))
    await writeFile(join(folder, 'input.ts'), extension('({ a, c }) => ({ sum: a + c })'))
    await writeFile(join(folder, 'output.ts'), extension('({ a, b }) => ({ sum: String(a + b) })'))
    const strict = [
      '--noEmit', '--strict', '--target', 'es2023', '--skipLibCheck', 'false', '--exactOptionalPropertyTypes',
      '--noUncheckedIndexedAccess', '--noPropertyAccessFromIndexSignature', '--noImplicitOverride', '--noImplicitReturns',
      '--verbatimModuleSyntax', '--isolatedModules'
    ]
    const withNode = ['--types', 'node', '--typeRoots', join(ROOT, 'node_modules/@types')]
    const [errors, withBundler] = await Promise.all([
      node('tsc', [...strict, ...withNode, '--module', 'nodenext', 'good.ts', 'input.ts', 'output.ts'], folder),
      node('tsc', [...strict, ...withNode, '--module', 'esnext', '--moduleResolution', 'bundler', 'good.ts'], folder)
    ])
    t.equal(withBundler, 'passed', 'with a bundler')
    t.equal(errors.match(/^\S+: error /gm)?.length, 2, errors)
    t.match(errors, /^input\.ts\(10,\d+\): error TS2339: Property 'c' does not exist/)
    t.match(errors, /^output\.ts\(\d+,\d+\): error TS[^]*Type 'string' is not assignable to type 'number'/m)
  })

  t.test('npx seed-mcp-server in an empty folder says how to go on; demo ends in a signed-in call', async (t) => {
    const empty = await emptyFolder(t)
    const npx = (...args: string[]) =>
      startTree(t, 'npx', ['--yes', '--package', tarball, '--', 'seed-mcp-server', ...args], empty)
    await npx().printed(/three ways to go on:[^]*npx seed-mcp-server demo/)

    const port = String(await freePort())
    const providerPort = String(await freePort())
    const seconds = startStopwatch()
    const demo = npx('demo', '--port', port, '--provider-port', providerPort)
    await demo.printed(/Seed is running/)
    t.match(await callSignedIn(`http://localhost:${port}/mcp`), { status: 'ok', caller: { subject: 'ada' } })
    t.comment(`npx seed-mcp-server demo: ${seconds()} s from an empty folder to a signed-in call`)
    await demo.stop()
  })

  t.test('seed serve starts what is installed, without sign-in if that is asked for', async (t) => {
    const port = String(await freePort())
    const server = startTree(t, join(folder, 'node_modules/.bin/seed'), ['serve', '--port', port], folder, {
      AUTH_REQUIRED: 'false'
    })
    await server.printed(/Seed is ready/)
    const { stdout } = await run(join(folder, 'node_modules/.bin/seed'), ['health'], { env: { ...NPM_ENV, PORT: port } })
    t.match(stdout, /\/health\/live: \{"status":"ok"/)
    await server.stop()
  })

  t.test('npm create seed-mcp in an empty folder writes a project whose tool a signed-in client calls', async (t) => {
    const empty = await emptyFolder(t)
    const creator = await emptyFolder(t)
    await cp(join(ROOT, 'packages/create-seed-mcp'), creator, { recursive: true })
    const own = JSON.parse(await readFile(join(creator, 'package.json'), 'utf8')) as Record<string, unknown>
    const seed = JSON.parse(await readFile(join(ROOT, 'package.json'), 'utf8')) as Record<string, unknown>
    t.equal(own['version'], seed['version'])
    t.same(own['dependencies'], { 'seed-mcp-server': `^${String(seed['version'])}` })

    const npx = startTree(t, 'npx', [
      '--yes', '--package', await packFolder(creator), '--package', tarball,
      '--', 'create-seed-mcp', 'my-server', '--package', `file:${tarball}`
    ], empty)
    await npx.printed(/Wrote .*my-server\. Next:/)
    const project = join(empty, 'my-server')
    const npm = async (...args: string[]): Promise<string> =>
      await run('npm', args, { cwd: project, env: NPM_ENV }).then(
        ({ stdout }) => stdout,
        ({ stdout, stderr }: { stdout: string, stderr: string }) => stdout + stderr
      )
    await npm('install')
    t.match(await npm('run', 'seed', '--', 'new', 'tool', 'close_ticket'), /Wrote src\/tools\/close-ticket\.ts/)
    t.match(await npm('test'), /# pass 3\n# fail 0/)

    const port = String(await freePort())
    const demo = startTree(
      t, 'npm', ['run', 'demo', '--', '--port', port, '--provider-port', String(await freePort())], project
    )
    await demo.printed(/Seed is running/)
    t.same(await callSignedIn(`http://localhost:${port}/mcp`, 'add', { a: 2, b: 3 }), { sum: 5, caller: 'ada' })
    await demo.stop()
  })

  t.test('has every file that its exports name, and no types of its inside', async (t) => {
    const { exports } = JSON.parse(await readFile(join(installed, 'package.json'), 'utf8')) as {
      exports: Record<string, string | Record<string, string>>
    }
    for (const file of Object.values(exports).flatMap((targets) => Object.values(typeof targets === 'string' ? [targets] : targets))) {
      t.ok((await readFile(join(installed, file), 'utf8')).length > 0, file)
    }
    t.notOk((await readdir(join(installed, 'dist/src'))).includes('http'))
  })
})
