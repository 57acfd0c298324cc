import { readFile, readdir, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import t from 'tap'
import { createCompiler } from '../../dev/compile.ts'
import { emptyFolder } from '../support/process.ts'

t.test('what was saved is compiled, and what has no source is removed', async (t) => {
  const [source, target] = [await emptyFolder(t), await emptyFolder(t)]
  await writeFile(join(source, 'a.ts'), 'export const a: number = 1\n')
  await writeFile(join(target, 'a.js'), '// compiled before\n')
  await writeFile(join(target, 'gone.js'), '')
  const compiler = await createCompiler([[source, target], [join(source, 'nowhere'), join(target, 'nowhere')]])
  t.same((await readdir(target)).sort(), ['a.js', 'nowhere'])
  await compiler.update()
  t.equal(await readFile(join(target, 'a.js'), 'utf8'), '// compiled before\n', 'what was not saved since is left')

  await writeFile(
    join(source, 'a.ts'),
    "import { b } from './b.ts'\nimport type { C } from './c.ts'\nexport const a: C = b satisfies C\n"
  )
  await compiler.update()
  const compiled = await readFile(join(target, 'a.js'), 'utf8')
  t.match(compiled, /^import \{ b \} from "\.\/b\.js";$/m)
  t.match(compiled, '//# sourceMappingURL=a.js.map')
  t.notMatch(compiled, /type C|: C|satisfies/)
  t.match(JSON.parse(await readFile(join(target, 'a.js.map'), 'utf8')), { version: 3, sources: [/\/a\.ts$/] })
})

t.test('a syntax error is a sentence with file and line, each time until it is mended', async (t) => {
  const [source, target] = [await emptyFolder(t), await emptyFolder(t)]
  const compiler = await createCompiler([[source, target]])
  const file = join(source, 'a.ts')
  await writeFile(file, '\n\nexport const = 1\n')
  for (let times = 0; times < 2; times++) {
    await t.rejects(compiler.update(), {
      name: 'ExtensionError',
      message: `${file}:3 cannot be loaded: Expected identifier but found "="`
    })
  }
  await writeFile(file, 'export {}\n')
  await compiler.update()
  t.same((await readdir(target)).sort(), ['a.js', 'a.js.map'])
})
