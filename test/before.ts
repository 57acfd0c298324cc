import { execFileSync } from 'node:child_process'
import { fileURLToPath } from 'node:url'

/**
 * Runs once before all tests: compiles the sources, the development provider's command and a server with tools for tests to .test-build/, and makes
 * what ships (npm run build) in .test-build/bundle, so that tests run real processes without stepping on dist/ or on each other.
 */
const root = fileURLToPath(new URL('..', import.meta.url))
execFileSync(process.execPath, ['node_modules/typescript/bin/tsc', '-p', 'test/support', '--incremental', '--tsBuildInfoFile', '.test-build/tsbuildinfo'], { cwd: root, stdio: 'inherit' })
execFileSync(process.execPath, ['dev/bundle.js', '.test-build/bundle'], { cwd: root, stdio: 'inherit' })
