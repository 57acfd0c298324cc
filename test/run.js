import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { existsSync, mkdirSync, readdirSync, rmSync, statSync, writeFileSync } from 'node:fs'
import { isBuiltin } from 'node:module'
import { dirname, join, relative, resolve } from 'node:path'
import { createInterface } from 'node:readline'
import { fileURLToPath, pathToFileURL } from 'node:url'
import { bundlePackages, bundledPackage } from '../dev/bundle-packages.js'
import { bundle } from '../dev/bundle.js'
import { transpile } from '../dev/transpile.js'
import { createReport } from './report.js'

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
/** Folders of tests that `npm test` leaves to other scripts, and that of the entries for groups of files. */
const GROUPS = 'groups'
const OWN_SUITES = new RegExp(`^(fuzz|resilience|ship|${GROUPS})/`)
/** Folders whose tests start processes, browsers and servers: they come first, so that none is left for the end. */
const SLOW = /^(commands|dev|docs|doctor|extensions|flows|process)\//
/** Compiled size of the test files that share a process. */
const GROUP_BYTES = 60_000
const GROUP_TIMEOUT_SECONDS = 900
/** What test files import for tap. */
const ROOT_TEST = 'test/support/root-test.js'
/** What finds itself or its files in node_modules. */
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
const hasReporter = process.env.TAP_REPORTER !== undefined || args.some((arg) => /^(-R|--reporter)/.test(arg))
// TEST_NODE: another Node.js that runs the tests (test/node.js).
const tap = spawn(process.env.TEST_NODE ?? process.execPath, [
  'node_modules/tap/dist/esm/run.mjs',
  ...(hasReporter ? [] : ['--reporter=tap']),
  ...args.filter((arg) => arg.startsWith('-')),
  ...(tests.length > 0 ? ['--disable-coverage', ...tests] : [`--timeout=${GROUP_TIMEOUT_SECONDS}`, ...groupTestFiles()])
], { stdio: ['inherit', hasReporter ? 'inherit' : 'pipe', 'inherit'] })
if (!hasReporter) createInterface({ input: tap.stdout }).on('line', createReport((line) => { console.log(line) }))
// Ctrl-C reaches tap too, which ends in order.
process.on('SIGINT', () => {})
process.on('SIGTERM', () => { tap.kill('SIGTERM') })
const [code] = await once(tap, 'close')
const seconds = (performance.now() - started) / 1_000
console.error(
  `The tests took ${seconds < 60 ? `${seconds.toFixed(1)} s` : `${Math.floor(seconds / 60)} min ${Math.round(seconds % 60)} s`}`
)
process.exitCode = code ?? 1

/** @returns {string} the bundle of a package, as seen from the compiled file */
function importPackage (specifier, importer) {
  if (specifier === 'tap' && importer.endsWith('.test.ts')) return `./${relative(dirname(importer), ROOT_TEST)}`
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

/**
 * Writes entries that run several test files each, one after the other. A process of its own costs more than most files
 * take: it loads, compiles and warms up all of Seed.
 *
 * @returns {string[]} the entries
 */
function groupTestFiles () {
  const groups = [[]]
  let bytes = 0
  const files = readdirSync(`${OUT}/test`, { recursive: true })
    .filter((file) => file.endsWith('.test.js') && !OWN_SUITES.test(file))
    .sort()
  for (const file of [...files.filter((name) => SLOW.test(name)), ...files.filter((name) => !SLOW.test(name))]) {
    bytes += statSync(`${OUT}/test/${file}`).size
    if (bytes > GROUP_BYTES) {
      groups.push([])
      bytes = 0
    }
    groups.at(-1).push(file)
  }
  const folder = join(ROOT, OUT, 'test', GROUPS)
  rmSync(folder, { recursive: true, force: true })
  mkdirSync(folder)
  return groups.map((files, index) => {
    const entry = join(folder, `${String(index + 1).padStart(2, '0')}.test.js`)
    writeFileSync(entry, "import { runTestFiles } from '../support/root-test.js'\n" +
      `await runTestFiles(${JSON.stringify(files.map((file) => pathToFileURL(join(OUT, 'test', file)).href), null, 2)})\n`)
    return entry
  })
}
