import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import t from 'tap'
import { createChain } from '../../src/audit/chain.ts'
import { runCommand } from '../support/run-command.ts'

const KEY = 'the AUDIT_CHAIN_KEY of these tests, 44 bytes'
const folder = mkdtempSync(join(tmpdir(), 'seed-audit-'))
t.teardown(() => { rmSync(folder, { recursive: true }) })
const chain = createChain(KEY, undefined)
const lines = [1, 2, 3, 4].map((number) => {
  const line = chain.link({ audit: 1, time: `2026-01-0${number}T00:00:00Z`, event: 'sign_in', ...(number > 3 && { lost: 2 }) })
  chain.commit()
  return line
})
const write = (name: string, content: string[]): string => {
  const path = join(folder, name)
  writeFileSync(path, `${content.join('\n')}\n`)
  return path
}
const verify = async (args: string[], environment: Record<string, string> = { AUDIT_CHAIN_KEY: KEY }) =>
  await runCommand(['audit', 'verify', ...args], environment)

t.test('an auditor sees that rotated files follow one another, and the last line', async (t) => {
  const [older, newer] = [write('audit.log.1', lines.slice(0, 2)), write('audit.log', ['{"level":30}', ...lines.slice(2)])]
  const { code, printed } = await verify([older, newer])
  t.equal(code, 0)
  t.match(printed, /^4 lines of the audit log, and 1 others\nChain [\w-]+: lines 1 to 4, the last of 2026-01-04/)
  t.match(printed, /could not write 2 lines\nNothing was changed/)
  t.equal((await verify([newer], { AUDIT_CHAIN_KEY_FILE: write('key', [KEY]) })).code, 0)
  t.match((await verify([newer])).printed, /lines 3 to 4, .* It begins in an earlier file/)
})

t.test('an auditor sees the file and the line of a change and of a gap', async (t) => {
  const changed = write('changed.log', [lines[0]!, lines[1]!.replace('sign_in', 'refresh'), lines[2]!])
  const { code, printed } = await verify([changed])
  t.equal(code, 1)
  t.match(printed, `${changed}:2: this line was changed`)
  t.match(printed, /:3: 1 line\(s\) of chain .* are missing, from 2 to 2\n2 findings/)
  const json = JSON.parse((await verify(['--json', changed])).printed)
  t.match(json, { lines: 3, problems: [{ file: changed, line: 2, kind: 'changed' }, { line: 3, kind: 'gap' }] })
})

t.test('a log without a chain, another key, a missing file and another action are errors', async (t) => {
  const plain = write('plain.log', ['{"level":30}'])
  t.match(await verify([plain]), { code: 1, printed: /No line belongs to a chain/ })
  t.match(await verify([plain], {}), { code: 1, printedErrors: /AUDIT_CHAIN_KEY is not set/ })
  t.match(await verify([join(folder, 'none')]), { code: 1, printedErrors: /ENOENT/ })
  t.match(await runCommand(['audit', 'erase', plain], {}), { code: 1, printedErrors: /unknown action 'erase'/ })
})
