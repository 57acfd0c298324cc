import { readFile } from 'node:fs/promises'
import { join } from 'node:path'
import t from 'tap'
import { keys } from '../../src/store/keys.ts'
import { ROOT } from '../support/root.ts'

t.test('docs/operations.md says of every key what its eviction would do, and of no other', async (t) => {
  const document = await readFile(join(ROOT, 'docs/operations.md'), 'utf8')
  const [, section = ''] = /^### What eviction would do\n([\s\S]*?)^##/m.exec(document) ?? []
  const documented = [...section.matchAll(/^\| (`[^|]*)/gm)]
    .flatMap(([, cell]) => [...cell!.replace(/\(.*\)/, '').matchAll(/`([\w-]+)`/g)])
    .map(([, name]) => name!)
  const written = Object.values<(...args: never[]) => string>(keys).map((make) => make().split(':')[0]!)
  t.ok(written.includes('grant'))
  t.same([...documented].sort(), [...new Set(written)].sort())
})
