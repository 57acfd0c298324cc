import { execFile } from 'node:child_process'
import { cp, mkdir, readFile, symlink, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { promisify } from 'node:util'
import t from 'tap'
import type { Test } from 'tap'
import { emptyFolder, startProcess } from '../support/process.ts'
import { ROOT } from '../support/root.ts'

const NEW_TOOL = join(ROOT, 'dev/new-tool.js')

async function newTool (t: Test, folder: string, ...args: string[]) {
  const run = startProcess(t, [NEW_TOOL, ...args], {}, folder)
  return { ...await run.ended, output: await run.output() }
}

t.test('what it writes passes eslint, tsc and tap at once', async (t) => {
  const folder = await emptyFolder(t)
  for (const path of ['src', 'plugins', 'routes', 'tsconfig.json', 'eslint.config.js', 'package.json']) {
    await cp(join(ROOT, path), join(folder, path), { recursive: true })
  }
  await symlink(join(ROOT, 'node_modules'), join(folder, 'node_modules'))
  await mkdir(join(folder, 'test'))
  for (const path of ['dev/bundle.js', 'dev/bundle-packages.js', 'dev/transpile.js', 'test/run.js']) {
    await cp(join(ROOT, path), join(folder, path))
  }
  await writeFile(
    join(folder, 'test/tsconfig.json'),
    JSON.stringify({
      extends: '../tsconfig.json',
      compilerOptions: { rootDir: '..', noEmit: true },
      include: ['tools', '../src/tools']
    })
  )

  t.match(await newTool(t, folder, 'close_ticket'), {
    code: 0,
    output:
      /Wrote src\/tools\/close-ticket\.ts and test\/tools\/close-ticket\.test\.ts\. Next:\n\n {4}1\. [^]* 2\. npm test -- test\/tools\/close-ticket\.test\.ts/
  })
  t.match(await newTool(t, folder, 'import'), { code: 0 }, 'a word of the language')
  t.match(await newTool(t, folder, 'add-2-up'), { code: 0 })
  t.match(await readFile(join(folder, 'src/tools/add-2-up.ts'), 'utf8'), "name: 'add-2-up'")

  const files = ['close-ticket', 'import', 'add-2-up'].flatMap((name) => [
    `src/tools/${name}.ts`,
    `test/tools/${name}.test.ts`
  ])
  const run = async (program: string, ...args: string[]) =>
    await promisify(execFile)(process.execPath, [join('node_modules', program), ...args], {
      cwd: folder,
      env: { PATH: process.env['PATH']! }
    }).then(
      () => 'passed',
      ({ stdout, stderr }: { stdout: string; stderr: string }) => stdout + stderr
    )
  t.equal(await run('eslint/bin/eslint.js', '--max-warnings=0', ...files), 'passed')
  t.equal(await run('typescript-native/lib/tsc.js', '-p', 'test'), 'passed')
  t.equal(await run('../test/run.js', ...files.filter((file) => file.startsWith('test'))), 'passed')
})

t.test('it overwrites nothing', async (t) => {
  const folder = await emptyFolder(t)
  await newTool(t, folder, 'echo')
  await writeFile(join(folder, 'src/tools/echo.ts'), 'mine')
  t.match(await newTool(t, folder, 'echo'), {
    code: 1,
    output: 'src/tools/echo.ts exists already: choose another name, or remove it\n'
  })
  t.equal(await readFile(join(folder, 'src/tools/echo.ts'), 'utf8'), 'mine')
})

t.test('what keeps it from writing is a sentence', async (t) => {
  const folder = await emptyFolder(t)
  for (const name of ['Close', '7up', 'a b', '../x', 'a__b', '_a', 'a_', `a${'b'.repeat(64)}`]) {
    t.match(await newTool(t, folder, name), { code: 1, output: `(it is ${JSON.stringify(name)})` }, name)
  }
  t.match(await newTool(t, folder), {
    code: 1,
    output:
      /^Usage: npm run new:tool NAME, where NAME is lower case with _ or - between words, at most 64 characters: close_ticket\n$/
  })
  await writeFile(join(folder, 'src'), '')
  t.match(await newTool(t, folder, 'echo'), { code: 1, output: 'src/tools/echo.ts cannot be written (ENOTDIR)\n' })
})
