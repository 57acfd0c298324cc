import { execFileSync, spawn } from 'node:child_process'
import { once } from 'node:events'
import { closeSync, constants, mkdtempSync, openSync, readFileSync, readSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import t from 'tap'
import type { Test } from 'tap'
import { createLogOutput } from '../../src/logging/output.ts'
import { freePort } from '../support/free-port.ts'
import { BUNDLE, emptyFolder } from '../support/process.ts'

const tick = async (): Promise<void> => { await new Promise((resolve) => { setImmediate(resolve) }) }

function folderOf (t: Test): string {
  const folder = mkdtempSync(join(tmpdir(), 'seed-log-'))
  t.teardown(() => { rmSync(folder, { recursive: true }) })
  return folder
}

/** Both ends of a pipe that nobody reads yet. */
function openPipe (t: Test): { readEnd: number, writeEnd: number } {
  const path = join(folderOf(t), 'pipe')
  execFileSync('mkfifo', [path])
  const readEnd = openSync(path, constants.O_RDONLY | constants.O_NONBLOCK)
  t.teardown(() => { closeSync(readEnd) })
  return { readEnd, writeEnd: openSync(path, constants.O_WRONLY | constants.O_NONBLOCK) }
}

t.test('the lines of one tick are written together, in their order', async (t) => {
  const path = join(folderOf(t), 'log')
  const fd = openSync(path, 'a')
  t.teardown(() => { closeSync(fd) })
  const output = createLogOutput(fd)
  const written = (): string => readFileSync(path, 'utf8')
  output.write('one\n')
  output.write('two\n')
  t.equal(written(), '')
  await tick()
  t.equal(written(), 'one\ntwo\n')
  output.write('three\n')
  output.flushSync()
  t.equal(written(), 'one\ntwo\nthree\n', 'at once at the end of the process')
  output.write('four\n')
  await output.drained(10_000)
  t.equal(written(), 'one\ntwo\nthree\nfour\n')
})

t.test('lines that nobody reads wait up to a limit; the rest is counted and reported', async (t) => {
  const { readEnd, writeEnd } = openPipe(t)
  const output = createLogOutput(writeEnd, { maxWaiting: 100_000 })
  const line = `${'x'.repeat(999)}\n`
  // More than a pipe holds (64 KiB), then as much as may wait, then 50 lines too many.
  for (let lines = 0; lines < 100; lines++) output.write(line)
  await tick()
  for (let lines = 0; lines < 150; lines++) output.write(line)
  await output.drained(1)
  output.flushSync()
  t.pass('neither waits for a reader that does not read')

  let read = ''
  const chunk = Buffer.alloc(65_536)
  while (read.split('\n').length - 1 < 201) {
    try {
      read += chunk.toString('utf8', 0, readSync(readEnd, chunk))
    } catch (err) {
      if ((err as NodeJS.ErrnoException).code !== 'EAGAIN') throw err
    }
    await tick()
  }
  const reports = read.trimEnd().split('\n').filter((text) => text.startsWith('{'))
  t.match(reports.map((text) => JSON.parse(text)), [{ level: 40, lost: 50, reason: 'nobody reads it' }])
})

t.test('a full disk costs lines, and nothing else', async (t) => {
  const fd = openSync('/dev/full', 'w')
  t.teardown(() => { closeSync(fd) })
  const output = createLogOutput(fd)
  output.write('one\n')
  await output.drained(10_000)
  output.write('two\n')
  output.flushSync()
  t.pass('writing throws nothing')
})

for (const [about, redirect] of [
  ['nobody reads the pipe of its standard output', '> pipe & exec 3< pipe; wait'],
  ['its disk is full', '> /dev/full & wait']
] as const) {
  t.test(`the server goes on when ${about}, and ends on SIGTERM`, async (t) => {
    const port = await freePort()
    const folder = await emptyFolder(t)
    const shell = spawn('bash', ['-c', `mkfifo pipe; "$NODE" ${join(BUNDLE, 'server.js')} ${redirect}`], {
      cwd: folder,
      env: {
        PATH: process.env['PATH'],
        NODE: process.execPath,
        AUTH_REQUIRED: 'false',
        PORT: String(port),
        OAUTH_LIMIT_PER_ADDRESS: '1000000',
        LOG_LEVEL: 'debug',
        SHUTDOWN_DELAY_SECONDS: '0',
        _TAPJS_PROCESSINFO_COVERAGE_: '0'
      },
      stdio: 'ignore',
      detached: true
    })
    const ended = once(shell, 'exit')
    t.teardown(() => { try { process.kill(-shell.pid!, 'SIGKILL') } catch { /* it has ended */ } })
    const health = async (): Promise<number> => {
      const response = await fetch(`http://localhost:${port}/health`)
      await response.arrayBuffer()
      return response.status
    }
    const isUp = async (): Promise<boolean> => await health().then(() => true, () => false)
    while (!await isUp()) await tick()
    // Each logs a line of about 200 bytes; a pipe holds 64 KiB.
    for (let requests = 0; requests < 1_000; requests++) {
      if (await health() !== 200) t.fail('a request was not answered')
    }
    process.kill(-shell.pid!, 'SIGTERM')
    await ended
    while (await isUp()) await tick()
    t.pass('it has ended')
  })
}
