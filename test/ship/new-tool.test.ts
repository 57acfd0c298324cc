import { execFile } from 'node:child_process'
import { cp, mkdir, symlink, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { promisify } from 'node:util'
import t from 'tap'
import { emptyFolder, startProcess } from '../support/process.ts'
import { ROOT } from '../support/root.ts'

t.test('what `npm run new:tool` writes passes eslint, tsc and tap at once', async (t) => {
  const folder = await emptyFolder(t)
  for (const path of ['src', 'plugins', 'routes', 'dev', 'tsconfig.json', 'eslint.config.js', 'package.json']) {
    await cp(join(ROOT, path), join(folder, path), { recursive: true })
  }
  await symlink(join(ROOT, 'node_modules'), join(folder, 'node_modules'))
  await mkdir(join(folder, 'test/support'), { recursive: true })
  for (const path of ['test/run.js', 'test/report.js', 'test/support/root-test.ts']) await cp(join(ROOT, path), join(folder, path))
  await writeFile(
    join(folder, 'test/tsconfig.json'),
    JSON.stringify({
      extends: '../tsconfig.json',
      compilerOptions: { rootDir: '..', noEmit: true },
      include: ['tools', '../src/tools']
    })
  )

  const names = ['close_ticket', 'import', 'add-2-up']
  for (const name of names) {
    t.match(await startProcess(t, [join(ROOT, 'dev/new-tool.js'), name], {}, folder).ended, { code: 0 })
  }
  const files = names.map((name) => name.replace('_', '-')).flatMap((name) => [
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
