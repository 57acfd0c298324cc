import { join } from 'node:path'
import { pathToFileURL } from 'node:url'
import t from 'tap'
import { ROOT } from './support/root.ts'

interface ReportModule {
  createReport (print: (line: string) => void): (line: string) => void
}

const { createReport } = await import(pathToFileURL(join(ROOT, 'test/report.js')).href) as ReportModule

const STREAM = `TAP version 14
# Subtest: .test-build/test/groups/01.test.js
    # Subtest: .test-build/test/a.test.js
        # Subtest: adds
            ok 1 - should match pattern
              ---
              some: note
              ...
            not ok 2 - should be equal
              ---
              diff: |
                -1
                +2
              ...
            1..2
        not ok 1 - adds # time=1ms
        ok 2 - later # SKIP no redis-server
        1..2
    not ok 1 - .test-build/test/a.test.js # time=500ms
    # Subtest: .test-build/test/b.test.js
        ok 1 - expect truthy value
        1..1
    ok 2 - .test-build/test/b.test.js # time=1500ms
    1..2
not ok 1 - .test-build/test/groups/01.test.js # time=2000ms
  ---
  exitCode: 1
  ...
# Subtest: .test-build/test/groups/02.test.js
    printed by a test
    # a comment
    1..0
not ok 2 - .test-build/test/groups/02.test.js # time=2000ms
  ---
  exitCode: 1
  ...
1..2
File | % Stmts
# { total: 4, pass: 2, fail: 1, skip: 1 }`

t.test('npm test prints failures with their details, the files with their time, and the totals', async (t) => {
  const printed: string[] = []
  const report = createReport((line) => { printed.push(line) })
  for (const line of STREAM.split('\n')) report(line)
  t.same(printed, [
    '✖ .test-build/test/groups/01.test.js > .test-build/test/a.test.js > adds > should be equal',
    '  diff: |',
    '    -1',
    '    +2',
    '  ...',
    '- .test-build/test/groups/01.test.js > .test-build/test/a.test.js > later # SKIP no redis-server',
    '✔ test/b.test.ts 1.5 s',
    'printed by a test',
    '✖ .test-build/test/groups/02.test.js # time=2000ms',
    '  exitCode: 1',
    '  ...',
    'File | % Stmts',
    '# { total: 4, pass: 2, fail: 1, skip: 1 }'
  ])
})
