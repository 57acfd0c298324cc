import { mkdir, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import t from 'tap'
import type { Test } from 'tap'
import { watchTypes } from '../../dev/watch-types.ts'
import { emptyFolder } from '../support/process.ts'
import { ROOT } from '../support/root.ts'

const COMPILER = join(ROOT, 'node_modules/typescript-native/lib/tsc.js')

/** A project in `src`, and what is printed about it. */
async function watchProject (t: Test, files: Record<string, string>) {
  const folder = await emptyFolder(t)
  await mkdir(join(folder, 'src/deep'), { recursive: true })
  await writeFile(
    join(folder, 'tsconfig.json'),
    JSON.stringify({ compilerOptions: { noEmit: true, strict: true, types: [], lib: ['es2023'] }, include: ['src'] })
  )
  const save = async (name: string, text: string): Promise<void> => { await writeFile(join(folder, 'src', name), text) }
  for (const [name, text] of Object.entries(files)) await save(name, text)
  const printed: string[] = []
  let wake = (): void => {}
  const types = watchTypes({
    folders: [join(folder, 'src')],
    command: [COMPILER, '-p', folder, '--pretty', 'false'],
    print (text) {
      printed.push(text)
      wake()
    }
  })
  t.teardown(async () => { await types.close() })
  return {
    save,
    types,
    printed,
    async next (count: number): Promise<string> {
      while (printed.length < count) await new Promise<void>((resolve) => { wake = resolve })
      return printed[count - 1]!
    }
  }
}

t.test('types are checked at once and after each save, in subfolders too', async (t) => {
  const project = await watchProject(t, {
    'a.ts': 'export const a: number = 1\n',
    'deep/b.ts': "export { a } from '../a.js'\n"
  })
  t.equal(await project.next(1), 'Types: no errors')
  await project.save('deep/b.ts', "import { a } from '../a.js'\nexport const b: string = a\n")
  t.match(
    await project.next(2),
    /^Types: these errors were found; the server keeps running\n\n {2}\S*src\/deep\/b\.ts\(2,14\): error TS2322: .*\n$/
  )
  await project.save('deep/b.ts', 'export {}\n')
  t.equal(await project.next(3), 'Types: no errors')
})

t.test('a result that is the same as before is not printed again', async (t) => {
  const project = await watchProject(t, { 'a.ts': 'export {}\n' })
  await project.next(1)
  await project.save('a.ts', 'export const a = 1\n')
  await project.types.close()
  t.same(project.printed, ['Types: no errors'])
})

t.test('closing ends a check that is running, and prints nothing', async (t) => {
  const project = await watchProject(t, { 'a.ts': 'export const a: string = 1\n' })
  await project.types.close()
  t.same(project.printed, [])
})
