import t from 'tap'
import { ready, startSeed } from '../support/seed.ts'
import { promptsAndResources } from './prompts-and-resources.ts'
import { questions } from './questions.ts'
import { EXPECTED_FAILURES, runServerSuite } from './run-suite.ts'
import { tools } from './tools.ts'

/** The official conformance suite against a Seed with authentication on, for each revision that it knows. */
const RUNS: Array<{ name: string; args: string[]; atLeast: number }> = [
  {
    name: '2025-06-18, what applies to it of the active suite',
    args: ['--suite', 'active', '--spec-version', '2025-06-18', '--expected-failures', EXPECTED_FAILURES],
    atLeast: 30
  },
  { name: '2025-11-25, all that the revision requires', args: ['--requirements', '2025-11-25'], atLeast: 60 },
  { name: '2026-07-28, all that the revision requires', args: ['--requirements', '2026-07-28'], atLeast: 100 }
]

for (const { name, args, atLeast } of RUNS) {
  t.test(name, { timeout: 180_000 }, async (t) => {
    const seed = await startSeed(t, { definitions: [...tools, ...questions, ...promptsAndResources] })
    await ready(seed)
    const token = await seed.provider.mint({ exp: Math.floor(Date.now() / 1_000) + 3_600 })
    const { code, output, passed } = await runServerSuite(`${seed.url}/mcp`, args, token)
    t.comment(output)
    t.equal(code, 0, 'the suite is content')
    t.ok(passed >= atLeast, `${passed} checks passed`)
    t.notOk(seed.logs.some(({ status }) => status === 401), 'each request had its token')
  })
}
