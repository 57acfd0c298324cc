import { execFileSync } from 'node:child_process'
import { fileURLToPath } from 'node:url'

/**
 * Runs once before all tests: compiles what ships, and the development provider's command, to .test-build/, so that
 * tests run real processes without stepping on dist/ or on each other.
 */
const root = fileURLToPath(new URL('..', import.meta.url))
execFileSync(process.execPath, ['node_modules/typescript/bin/tsc', '-p', 'dev', '--outDir', '.test-build', '--incremental', '--tsBuildInfoFile', '.test-build/tsbuildinfo'], { cwd: root, stdio: 'inherit' })
