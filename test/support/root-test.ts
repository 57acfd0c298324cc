import { relative } from 'node:path'
import { fileURLToPath } from 'node:url'
import tap from 'tap'
import type { Test } from 'tap'

/**
 * What a compiled test file imports as `t` from tap (test/run.js). A file that runs alone gets tap's root. Files that
 * share a process each get a test of their own, so that fixtures, hooks and teardowns end with the file that made them.
 */
let current: Test = tap as unknown as Test
export { current as default }

/** Far more than a file takes on a loaded machine: only one that never ends runs into it. */
const FILE_TIMEOUT_MS = 600_000

/** @param files URLs of compiled test files, which run one after the other */
export async function runTestFiles (files: readonly string[]): Promise<void> {
  for (const file of files) {
    await tap.test(relative(process.cwd(), fileURLToPath(file)), { timeout: FILE_TIMEOUT_MS }, async (t) => {
      current = t
      await import(file)
    })
  }
}
