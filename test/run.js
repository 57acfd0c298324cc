import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { existsSync, statSync } from 'node:fs'
import { isBuiltin } from 'node:module'
import { dirname, join, relative, resolve } from 'node:path'
import { fileURLToPath } from 'node:url'
import { bundlePackages, bundledPackage } from '../dev/bundle-packages.js'
import { bundle } from '../dev/bundle.js'
import { transpile } from '../dev/transpile.js'

/**
 * `npm test`: compiles everything once, then runs the tests as JavaScript. The arguments are tap's, and test files or
 * folders under their TypeScript names; with these, coverage is not asked for.
 *
 *   npm test
 *   npm test -- test/routes/token.test.ts
 *   npm test -- test/oauth --jobs=1
 */
const ROOT = fileURLToPath(new URL('..', import.meta.url))
const OUT = '.test-build'
// What finds itself or its files in node_modules.
const UNBUNDLED = new Set(['esbuild', 'puppeteer-core', 'seed-mcp-server', 'tap'])

const started = performance.now()
process.chdir(ROOT)
const args = process.argv.slice(2)
const paths = args.filter((arg) => !arg.startsWith('-'))
const tests = paths.map(compiledTest)
const missing = tests.indexOf(undefined)
if (missing !== -1) {
  console.error(`${paths[missing]} is neither a test file nor a folder of tests`)
  process.exit(1)
}

const packages = new Set()
await transpile(join(ROOT, OUT), { importPackage })
// What ships, for the tests of processes, beside the files one by one.
await Promise.all([bundlePackages(join(ROOT, OUT, 'packages'), packages), bundle(join(ROOT, OUT, 'bundle'))])
// TEST_NODE: another Node.js that runs the tests (test/node.js).
const tap = spawn(process.env.TEST_NODE ?? process.execPath, [
  'node_modules/tap/dist/esm/run.mjs',
  ...args.filter((arg) => arg.startsWith('-')),
  ...(tests.length > 0 ? ['--disable-coverage', ...tests] : [])
], { stdio: 'inherit' })
// Ctrl-C reaches tap too, which ends in order.
process.on('SIGINT', () => {})
process.on('SIGTERM', () => { tap.kill('SIGTERM') })
const [code] = await once(tap, 'exit')
const seconds = (performance.now() - started) / 1_000
console.error(
  `The tests took ${seconds < 60 ? `${seconds.toFixed(1)} s` : `${Math.floor(seconds / 60)} min ${Math.round(seconds % 60)} s`}`
)
process.exitCode = code ?? 1

/** @returns {string} the bundle of a package, as seen from the compiled file */
function importPackage (specifier, importer) {
  if (isBuiltin(specifier) || UNBUNDLED.has(specifier)) return specifier
  packages.add(specifier)
  return `${relative(dirname(importer), 'packages') || '.'}/${bundledPackage(specifier)}`
}

/** @returns {string | undefined} what tap runs for a file or folder of tests */
function compiledTest (path) {
  const file = relative(ROOT, resolve(path))
  if (!/^test(\/|$)/.test(file) || !existsSync(file)) return undefined
  if (statSync(file).isDirectory()) return `${OUT}/${file}/**/*.test.js`
  return file.endsWith('.ts') ? `${OUT}/${file.slice(0, -3)}.js` : undefined
}
