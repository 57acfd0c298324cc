import { execFile } from 'node:child_process'
import { cp } from 'node:fs/promises'
import { join, relative } from 'node:path'
import { promisify } from 'node:util'
import t from 'tap'
import { callSignedIn } from '../support/call-signed-in.ts'
import { freePort } from '../support/free-port.ts'
import { NPM_ENV, startTree } from '../support/package.ts'
import { emptyFolder } from '../support/process.ts'
import { ROOT } from '../support/root.ts'
import { startStopwatch } from '../support/stopwatch.ts'

const run = promisify(execFile)
const NOT_IN_A_CLONE = /^(\.git|\.tap|\.bench|\.test-build|dist|.*node_modules)$/

t.test('from source: a clone in an empty folder, npm ci and npm run dev end in a signed-in call', async (t) => {
  const seconds = startStopwatch()
  const folder = join(await emptyFolder(t), 'seed')
  await cp(ROOT, folder, { recursive: true, filter: (path) => !NOT_IN_A_CLONE.test(relative(ROOT, path)) })
  await run('npm', ['ci', '--no-audit', '--no-fund'], { cwd: folder, env: NPM_ENV })
  const [port, providerPort] = [await freePort(), await freePort()]
  const dev = startTree(t, 'npm', ['run', 'dev'], folder, {
    PORT: String(port), DEV_PROVIDER_PORT: String(providerPort)
  })
  await dev.printed(/Ctrl-C stops everything/)
  t.match(await callSignedIn(`http://localhost:${port}/mcp`), { status: 'ok', caller: { subject: 'ada' } })
  t.comment(`from source: ${seconds()} s from an empty folder to a signed-in call`)
  await dev.stop()
})
