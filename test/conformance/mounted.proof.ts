import { readFile } from 'node:fs/promises'
import { join } from 'node:path'
import t from 'tap'
import type { Test } from 'tap'
import { parse } from 'yaml'
import { startOpenServer } from '../support/open-server.ts'
import type { OpenServer } from '../support/open-server.ts'
import { ROOT } from '../support/root.ts'
import { until } from '../support/until.ts'
import { writeMounts } from '../support/upstream.ts'
import { startLegacyOnly } from './legacy-only.ts'
import { promptsAndResources } from './prompts-and-resources.ts'
import { questions } from './questions.ts'
import { runServerSuite } from './run-suite.ts'
import { tools } from './tools.ts'

/**
 * The official conformance suite against a server that is mounted in Seed, beside the same suite against that server
 * itself: what fails behind Seed alone must be in mounted-differences.yml, with its reason.
 */
const REVISIONS = ['2025-11-25', '2026-07-28'] as const
type Revision = typeof REVISIONS[number]

/** Calls stay open for the rounds that the suite leaves unanswered. */
const MANY_CALLS = { CALLS_PER_PRINCIPAL: '1000' }

interface Difference {
  reason: string
  /** The revision that the client speaks. */
  client: Revision
  /** The revisions that the mounted server speaks. */
  servers: Revision[]
  checks: string[]
}

const differences = parse(
  await readFile(join(ROOT, 'test/conformance/mounted-differences.yml'), 'utf8')
) as Difference[]

/** A mounted server of each revision; both are the same fixture. */
async function startMountedIn (t: Test, fixture: OpenServer, server: Revision): Promise<OpenServer> {
  const url = server === '2026-07-28' ? `${fixture.url}/mcp` : await startLegacyOnly(t, `${fixture.url}/mcp`)
  // A server of 2025 asks for input in a session, of which each client has its own.
  const connection = server === '2025-11-25' ? { connection: 'session' } : {}
  const SEED_MOUNTS = await writeMounts({ fixture: { url, prefix: false, ...connection } })
  const seed = await startOpenServer(t, [], { SEED_MOUNTS, ...MANY_CALLS })
  await until(() => seed.logs.some(({ event }) => event === 'mount.connected'), 'the fixture is connected')
  t.match(seed.logs.find(({ event }) => event === 'mount.connected'), { revision: server })
  return seed
}

t.test('behind Seed a server passes the official suite as it does itself', { timeout: 600_000 }, async (t) => {
  const fixture = await startOpenServer(t, [...tools, ...questions, ...promptsAndResources], MANY_CALLS)
  const mounted = new Map<Revision, OpenServer>()
  for (const server of REVISIONS) mounted.set(server, await startMountedIn(t, fixture, server))
  for (const client of REVISIONS) {
    const args = ['--requirements', client]
    const direct = await runServerSuite(`${fixture.url}/mcp`, args)
    t.equal(direct.code, 0, `the suite of ${client} is content with the fixture`)
    for (const [server, { url }] of mounted) {
      t.test(`a client of ${client} and a mounted server of ${server}`, async (t) => {
        const run = await runServerSuite(`${url}/mcp`, args)
        t.ok(run.passed > direct.passed / 2, `${run.passed} checks passed, ${direct.passed} without Seed`)
        const found = run.failures.filter((failure) => !direct.failures.includes(failure))
        const listed = differences
          .filter((difference) => difference.client === client && difference.servers.includes(server))
          .flatMap(({ checks }) => checks)
        const unlisted = found.filter((failure) => !listed.includes(failure))
        t.same(unlisted, [], 'each difference is in mounted-differences.yml')
        if (unlisted.length > 0) t.comment(run.output)
        const gone = listed.filter((failure) => !found.includes(failure))
        t.same(gone, [], 'each line of mounted-differences.yml is still a difference')
      })
    }
  }
})
