import { readFile, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import t from 'tap'
import type { Test } from 'tap'
import { emptyFolder, startProcess } from '../support/process.ts'
import { ROOT } from '../support/root.ts'

const NEW_TOOL = join(ROOT, 'dev/new-tool.js')

async function newTool (t: Test, folder: string, ...args: string[]) {
  const run = startProcess(t, [NEW_TOOL, ...args], {}, folder)
  return { ...await run.ended, output: await run.output() }
}

t.test('writes a tool and its test, whatever the name', async (t) => {
  const folder = await emptyFolder(t)
  t.match(await newTool(t, folder, 'close_ticket'), {
    code: 0,
    output:
      /Wrote src\/tools\/close-ticket\.ts and test\/tools\/close-ticket\.test\.ts\. Next:\n\n {4}1\. [^]* 2\. npm test -- test\/tools\/close-ticket\.test\.ts/
  })
  t.match(await newTool(t, folder, 'import'), { code: 0 }, 'a word of the language')
  t.match(await newTool(t, folder, 'add-2-up'), { code: 0 })
  t.match(await readFile(join(folder, 'src/tools/add-2-up.ts'), 'utf8'), "name: 'add-2-up'")
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
