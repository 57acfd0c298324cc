import { readFile } from 'node:fs/promises'
import { join } from 'node:path'
import t from 'tap'
import { ROOT } from '../support/root.ts'

/** These documents name tests as `file.test.ts` *name*; *other name*. All of them must exist. */
for (const [path, files] of [['docs/requirements.md', 50], ['docs/audit.md', 30], ['docs/field.md', 20]] as const) {
  t.test(`every test that ${path} names exists`, async (t) => {
    const document = await readFile(join(ROOT, path), 'utf8')
    const sources = new Map<string, string>()
    for (const [, file, names = ''] of document.matchAll(/`([\w/-]+\.test\.ts)`((?:;? \*[^*|]+\*)*)/g)) {
      const source = sources.get(file!) ?? await readFile(join(ROOT, 'test', file!), 'utf8').catch(() => undefined)
      t.ok(source, `${file}`)
      if (source === undefined) continue
      sources.set(file!, source)
      for (const [, name] of names.matchAll(/\*([^*]+)\*/g)) {
        t.ok(source.replace(/\\(['"`])/g, '$1').includes(name!), `${file}: ${name}`)
      }
    }
    t.ok(sources.size > files, `${sources.size} files are named`)
  })
}
