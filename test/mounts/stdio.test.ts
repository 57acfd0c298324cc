import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { existsSync, readFileSync, readdirSync } from 'node:fs'
import { basename, dirname } from 'node:path'
import t from 'tap'
import { ProcessLog } from '../../src/mounts/transport/process-log.ts'
import { watchdog as watchdogProcess } from '../../src/mounts/watchdog-process.ts'
import { readMounts } from '../../src/mounts/settings/mounts-file.ts'
import { modernRequest, postMcp, ready, startSeed } from '../support/seed.ts'
import type { LogLine } from '../support/seed.ts'
import type { StdioMounted } from '../support/stdio-mount.ts'
import { STDIO_SERVER, WATCHDOG, isRunning, startStdio, stdioMount, untilEnded } from '../support/stdio-mount.ts'
import { until } from '../support/until.ts'
import { writeMounts } from '../support/upstream.ts'

/** These tests wait for times of Seed more than they work. */
const PARALLEL = { buffered: true }
t.jobs = 4

/** Returns the process that answers, once there is one: a slow machine may not open a connection within its time. */
async function answeringProcess ({ call }: Pick<StdioMounted, 'call'>): Promise<number> {
  let text = ''
  await until(async () => /^\d+ \d+$/.test(text = await call('count')), 'a process answers')
  return Number(text.split(' ')[0])
}

t.test('a server on stdio is one process for all, which gets the variables that the mount names and none of Seed', async (t) => {
  process.env['SEED_SECRET_OF_TEST'] = 'secret'
  const path = await writeMounts({
    local: stdioMount(['--flag', '$HOME; exit'], { env: { REGION: 'north' }, envFiles: { API_KEY: 'key' }, connectTimeoutSeconds: 60 })
  }, { key: 'from a file\n' })
  const seed = await startSeed(t, {
    definitions: [],
    timings: { mountsWaitMs: 60_000, mountsRetryMs: 10 },
    env: { AUTH_REQUIRED: 'false', SEED_MOUNTS: path, PATH: '/usr/bin', OIDC_CLIENT_SECRET: 'secret' }
  })
  const call = async (name: string) =>
    (await postMcp(seed, modernRequest('tools/call', { name, arguments: {} }))).body.result.content[0].text
  const environment = Object.entries(JSON.parse(await call('local_environment')) as object)
    // The runner of the tests adds these to each process.
    .filter(([name]) => name !== 'NODE_OPTIONS' && !name.startsWith('_TAPJS'))
  t.strictSame(Object.fromEntries(environment), {
    PATH: '/usr/bin', REGION: 'north', API_KEY: 'from a file', cwd: dirname(path), argv: ['--flag', '$HOME; exit']
  }, 'no shell reads the arguments')
  const [pid, count] = (await call('local_count')).split(' ')
  t.equal(count, '1')
  t.equal(await call('local_count'), `${pid} 2`)
  const child = Number(await call('local_child'))
  await seed.app.close()
  await untilEnded(Number(pid), child)
})

t.test('each person has a process of their own, which ends when it is not used', PARALLEL, async (t) => {
  const mount = stdioMount([], { connection: 'person', idleSeconds: 1, connectTimeoutSeconds: 60 })
  const seed = await startSeed(t, {
    definitions: [],
    timings: { mountsWaitMs: 60_000, mountsRetryMs: 10 },
    env: { SEED_MOUNTS: await writeMounts({ local: mount }) }
  })
  await ready(seed)
  const call = async (sub: string): Promise<[pid: number, count: string]> => {
    const token = await seed.provider.mint({ sub })
    const answer = await postMcp(seed, modernRequest('tools/call', { name: 'local_count', arguments: {} }), token)
    const [pid, count] = answer.body.result.content[0].text.split(' ')
    return [Number(pid), count]
  }
  const [[ada, first], [bob, second]] = await Promise.all([call('ada'), call('bob')])
  t.not(ada, bob)
  t.same([first, second], ['1', '1'])
  await untilEnded(ada, bob)
  t.same((await call('ada'))[1], '1')
})

t.test('a process that ends fails its calls, says so, and is started again; its children end with it', PARALLEL, async (t) => {
  const seed = await startStdio(t, stdioMount())
  const child = Number(await seed.call('child'))
  t.match(await seed.call('exit'), 'The server behind local is not available at the moment')
  t.match(await seed.logged(({ event }) => event === 'mount.unavailable'), {
    mount: 'local', command: 'env', reason: 'its process ended with exit code 3'
  })
  await untilEnded(child)
  await until(async () => (await seed.call('count')).endsWith(' 1'), 'there is another process')
  const [pid] = (await seed.call('count')).split(' ')
  process.kill(Number(pid), 'SIGKILL')
  await seed.logged(({ reason }) => reason === 'its process ended with SIGKILL')
})

t.test('a process that ends neither at the end of its input nor at SIGTERM is killed', PARALLEL, async (t) => {
  const seed = await startStdio(t, stdioMount(['stubborn']))
  const [pid] = (await seed.call('count')).split(' ')
  await seed.app.close()
  await untilEnded(Number(pid))
})

t.test('a server that ends at a request before initialize is asked for the revisions of 2025 alone', PARALLEL, async (t) => {
  const seed = await startStdio(t, stdioMount(['strict']))
  t.match(await seed.call('count'), / 1$/)
})

t.test('a process that always ends with a call is started ever more rarely', PARALLEL, async (t) => {
  const seed = await startStdio(t, stdioMount(['broken']))
  const connected = (): number => seed.logs.filter(({ event }) => event === 'mount.connected').length
  for (let count = 1; count <= 3; count++) {
    await until(() => connected() === count, 'it is connected')
    await seed.call('count')
  }
  t.equal(seed.logs.filter(({ event }) => event === 'mount.unavailable').length, 3)
})

t.test('a command that is not there, or is none, is an error that names what to check', PARALLEL, async (t) => {
  const path = await writeMounts({
    missing: { command: './nowhere' },
    file: { command: process.execPath, cwd: basename(STDIO_SERVER) },
    ending: stdioMount(['--no-such-option']),
    silent: { command: process.execPath, args: ['-e', 'process.exit(7)'] }
  }, { [basename(STDIO_SERVER)]: '' })
  const seed = await startSeed(t, { definitions: [], env: { AUTH_REQUIRED: 'false', SEED_MOUNTS: path } })
  const isAbout = (mount: string) => (line: LogLine): boolean => line['mount'] === mount
  t.match(await seed.logged(isAbout('missing')), { event: 'mount.not_started', level: 50, reason: /was not found.*ENOENT/ })
  t.match(await seed.logged(isAbout('file')), { event: 'mount.not_started', reason: /cannot be started|not found/ })
  t.match(await seed.logged(isAbout('silent')), { event: 'mount.unavailable', reason: 'its process ended with exit code 7' })
})

t.test('a message that is too long fails its call alone; one that cannot be told, the process', PARALLEL, async (t) => {
  const seed = await startStdio(t, stdioMount([], { maxResponseBytes: 100_000 }))
  const [pid] = (await seed.call('count')).split(' ')
  t.equal((await seed.call('large', { bytes: 90_000 })).length, 90_000)
  for (const tool of ['large', 'large-last']) {
    t.match(await seed.call(tool, { bytes: 400_000 }), 'sent more than 100000 bytes (maxResponseBytes): ask for less')
  }
  t.equal((await seed.call('count')).split(' ')[0], pid)
  t.match(await seed.call('large-unknown', { bytes: 400_000 }), 'sent more than 100000 bytes')
  await untilEnded(Number(pid))
})

t.test('a process that writes without an end is read no faster than its limit, and others are served', PARALLEL, async (t) => {
  const seed = await startStdio(t, stdioMount([], { maxResponseBytes: 100_000, timeoutSeconds: 1 }))
  const [pid] = (await seed.call('count')).split(' ')
  const startedAt = performance.now()
  t.match(await seed.call('endless'), 'did not finish within 1 second')
  const [, written] = /^wchar: (\d+)$/m.exec(readFileSync(`/proc/${pid}/io`, 'utf8'))!
  const seconds = Math.ceil((performance.now() - startedAt) / 1_000) + 1
  t.ok(Number(written) < 1_600_000 * seconds + 500_000, `${written} bytes in ${seconds} s`)
  t.match((await seed.send('modern', 'tools/list', {})).response.result.tools.length, 14)
})

t.test('a flood of notifications delays its server alone', PARALLEL, async (t) => {
  const seed = await startStdio(t, stdioMount([], { timeoutSeconds: 60 }))
  t.equal(await seed.call('chatter'), 'done')
})

t.test('what a process writes besides messages is logged, up to a limit, without control characters', PARALLEL, async (t) => {
  const seed = await startStdio(t, stdioMount())
  t.equal(await seed.call('noise'), 'done')
  await until(() => seed.logs.filter(({ event }) => event === 'mount.stderr').length === 100, 'the limit is reached')
  const lines = seed.logs.filter(({ event }) => event === 'mount.stderr').map(({ line }) => line as string)
  t.ok(lines.includes('(on stdout, no message of MCP) starting up'))
  t.ok(lines.includes(' [31mred'))
  t.ok(lines.some((line) => /^y{512}…$/.test(line)))
})

t.test('a process that does not read its input is ended, and started again', PARALLEL, async (t) => {
  const seed = await startStdio(t, stdioMount([], { timeoutSeconds: 1 }), { CALLS_PER_PRINCIPAL: '20' })
  const [pid] = (await seed.call('count')).split(' ')
  const text = 'x'.repeat(1_000_000)
  const hanging = seed.call('hang')
  const isFull = (): boolean => seed.logs.some(({ reason }) => reason === 'it does not read its input')
  const send = async () => await seed.send('modern', 'tools/call', { name: 'local_count', arguments: { text } })
  await until(async () => {
    await Promise.all(Array.from({ length: 12 }, send))
    return isFull()
  }, 'the limit is reached')
  await hanging
  await untilEnded(Number(pid))
})

t.test('a process that hangs is ended for its person when a call has taken too long', PARALLEL, async (t) => {
  const mount = stdioMount([], { connection: 'session', connectTimeoutSeconds: 1, timeoutSeconds: 1 })
  const seed = await startStdio(t, mount)
  const pid = await answeringProcess(seed)
  t.match(await seed.call('hang'), 'did not finish within 1 second')
  await untilEnded(pid)
  t.not(await answeringProcess(seed), pid)
})

t.test('a process of all callers that hangs is an outage once a call has taken too long, and is started again', PARALLEL, async (t) => {
  const seed = await startStdio(t, stdioMount([], { connectTimeoutSeconds: 1, timeoutSeconds: 1 }))
  const [pid] = (await seed.call('count')).split(' ')
  t.match(await seed.call('hang'), 'did not finish within 1 second')
  const outage = await seed.logged(({ event }) => event === 'mount.unavailable')
  t.match(outage, { mount: 'local', reason: 'it did not answer in time (connectTimeoutSeconds)' })
  await untilEnded(Number(pid))
  await until(async () => (await seed.call('count')).endsWith(' 1'), 'another process answers')
})

t.test('a process of 2026-07-28 that hangs is ended for its person, too', PARALLEL, async (t) => {
  const mount = stdioMount(['modern'], { connection: 'session', connectTimeoutSeconds: 1, timeoutSeconds: 1 })
  const seed = await startStdio(t, mount)
  const pid = await answeringProcess(seed)
  t.match(await seed.call('hang'), 'did not finish within 1 second')
  await untilEnded(pid)
})

/** Returns the process that watches the others, which is a child of this one. */
function findWatchdog (): number | undefined {
  return readdirSync('/proc').map(Number).find((pid) => {
    try {
      return readFileSync(`/proc/${pid}/cmdline`, 'utf8').includes('/mounts/watchdog.') &&
        readFileSync(`/proc/${pid}/stat`, 'utf8').split(' ')[3] === String(process.pid) && isRunning(pid)
    } catch {
      return false
    }
  })
}

t.test('processes end when Seed is gone: what watches them is started again if it is killed', async (t) => {
  await until(() => findWatchdog() === undefined, 'that of other tests has ended')
  const seed = await startStdio(t, stdioMount())
  const first = findWatchdog()!
  const late = spawn(process.execPath, ['-e', 'setInterval(() => {}, 1e6)'], { detached: true, stdio: 'ignore' })
  t.teardown(() => { late.kill('SIGKILL') })
  process.kill(first, 'SIGKILL')
  // All its threads have ended, so its pipe is broken, and Seed has had no time to see it.
  while (isRunning(first) || readdirSync(`/proc/${first}/task`).length > 1);
  const isWatched = new Promise((resolve) => {
    watchdogProcess.add(late.pid!, { maxMemoryBytes: 1, onMemoryExceeded: resolve })
  })
  await until(() => ![undefined, first].includes(findWatchdog()), 'there is another one')
  await isWatched
  watchdogProcess.remove(late.pid!)
  await seed.app.close()
  await until(() => findWatchdog() === undefined, 'it ends with the last process')

  const [plain, stubborn] = [['-e', 'setInterval(() => {}, 1e6)'], [STDIO_SERVER, 'stubborn']].map((args) =>
    spawn(process.execPath, args, { detached: true, stdio: ['pipe', 'pipe', 'ignore'] }))
  t.teardown(() => { stubborn!.kill('SIGKILL') })
  // It has set its handler for SIGTERM when it answers.
  stubborn!.stdin!.write('{"id":1,"method":"ping"}\n')
  await once(stubborn!.stdout!, 'data')
  const watchdog = spawn(process.execPath, [WATCHDOG], { stdio: ['pipe', 'inherit', 'inherit'] })
  const ended = [plain!, stubborn!, watchdog].map(async (child) => await once(child, 'exit'))
  watchdog.stdin.end(`+1234567 1e12\n-1234567\n+${plain!.pid} 1e12\n+${stubborn!.pid} 1e12\n`)
  t.match(await ended[0], [null, 'SIGTERM'])
  watchdog.kill('SIGTERM')
  t.match(await ended[1], [null, 'SIGKILL'], 'a signal to all of the service does not keep it from its work')
  t.match(await ended[2], [0, null])
})

t.test('the log says how many lines of stderr were left out', (t) => {
  const lines: object[] = []
  const add = (line: object): void => { lines.push(line) }
  const log = new ProcessLog('local', { info: add, warn: add, error: add }, () => {})
  for (let count = 0; count < 103; count++) log.stderr('text', 0)
  log.stderr('later', 60_000)
  t.equal(lines.length, 101)
  t.match(lines.at(-1), { event: 'mount.stderr', mount: 'local', line: 'later', dropped: 3 })
  t.end()
})

t.test('an operator who mixes the members of both transports, or names a file that is not there, is told so', async (t) => {
  const problemsOf = async (mount: object): Promise<string> => {
    const path = await writeMounts({ a: mount })
    try {
      readMounts(path)
      return ''
    } catch (err) {
      return (err as Error).message
    }
  }
  const url = 'https://a.example/mcp'
  t.match(await problemsOf({}), 'mount "a": it must have either url or command')
  t.match(await problemsOf({ url, command: 'x' }), 'mount "a": it must have either url or command')
  t.match(await problemsOf({ url, args: ['x'] }), 'mount "a": args has no meaning for a mount with url: remove it')
  t.match(await problemsOf({ command: 'x', secret: { file: 'a' } }), 'secret has no meaning for a mount with command')
  t.match(await problemsOf({ command: 'x', envFiles: { KEY: 'none' } }), /envFiles.KEY .*none cannot be read \(ENOENT\)/)
  t.match(await problemsOf({ command: 'a\0b' }), 'command')
  t.notOk(existsSync('none'))
})
