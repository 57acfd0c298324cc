import { mkdir, readFile, readdir, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import t from 'tap'
import { VERSION } from '../../src/config/version.ts'
import { COMPILED_CLI, emptyFolder, startProcess } from '../support/process.ts'
import { runCommand } from '../support/run-command.ts'

t.test('seed new project writes a project that depends on this version of Seed', async (t) => {
  const folder = join(await emptyFolder(t), 'tickets')
  t.match(await runCommand(['new', 'project', folder], {}), {
    code: 0, printedErrors: '', printed: /Wrote .*tickets\. Next:[^]*npm install[^]*npm test[^]*npm run demo/
  })
  t.same((await readdir(folder)).sort(), [
    '.dockerignore', '.env.example', '.gitignore', 'Dockerfile', 'README.md', 'compose.yaml', 'package.json', 'src', 'test',
    'tsconfig.json'
  ])
  t.match(JSON.parse(await readFile(join(folder, 'package.json'), 'utf8')), {
    name: 'tickets', dependencies: { 'seed-mcp-server': `^${VERSION}` }
  })
  const other = join(await emptyFolder(t), 'other')
  await runCommand(['new', 'project', other, '--package', 'file:../seed.tgz'], {})
  t.match(JSON.parse(await readFile(join(other, 'package.json'), 'utf8')), {
    dependencies: { 'seed-mcp-server': 'file:../seed.tgz' }
  })
})

t.test('seed new overwrites nothing, and refuses names that no file or package can have', async (t) => {
  const folder = await emptyFolder(t)
  await mkdir(join(folder, 'full'))
  await writeFile(join(folder, 'full/mine.txt'), 'mine')
  t.match(await runCommand(['new', 'project', join(folder, 'full')], {}), {
    code: 1, printedErrors: /full is not empty: choose another name, or another folder/
  })
  for (const [args, error] of [
    [['project', join(folder, 'My Project')], /the name of a project has lower case letters.*\(it is 'My Project'\)/],
    [['tool'], /the name of a tool is lower case .*\(it is ''\)/],
    [['tool', 'Close'], /\(it is 'Close'\)/],
    [['tool', `a${'b'.repeat(64)}`], /at most 64 characters/],
    [['tol', 'x'], /value 'tol' is invalid for argument 'kind'\. Allowed choices are project, tool\./]
  ] as const) {
    const { code, printedErrors } = await runCommand(['new', ...args], {})
    t.equal(code, 1)
    t.match(printedErrors, error)
    t.match(printedErrors, /seed new --help shows/)
  }
})

t.test('seed new tool writes a tool and its test into the current folder', async (t) => {
  const folder = await emptyFolder(t)
  const run = (...args: string[]) => startProcess(t, [COMPILED_CLI, 'new', ...args], {}, folder)
  t.match(await run('tool', 'close_ticket').ended, { code: 0 })
  t.match(await readFile(join(folder, 'src/tools/close-ticket.ts'), 'utf8'), /export const closeTicketTool = [^]*name: 'close_ticket'/)
  t.match(await readFile(join(folder, 'test/close-ticket.test.ts'), 'utf8'), "from '../src/tools/close-ticket.js'")
  const again = run('tool', 'close_ticket')
  t.match(await again.ended, { code: 1 })
  t.match(await again.output(), 'src/tools/close-ticket.ts exists already: choose another name, or remove it\n')
  t.match(await run('project').ended, { code: 0 })
  t.ok((await readdir(folder)).includes('my-mcp-server'), 'a project has a name, too')
})
