import { spawn } from 'node:child_process'
import type { ChildProcess } from 'node:child_process'
import { once } from 'node:events'
import { readFileSync } from 'node:fs'
import { mkdir, writeFile } from 'node:fs/promises'
import { dirname, join } from 'node:path'
import t from 'tap'
import type { Test } from 'tap'
import { measureGroups } from '../../src/mounts/group-memory.ts'
import { toProcess } from '../../src/mounts/settings/mount-process.ts'
import { endFirstOutOfMemory } from '../../src/mounts/transport/oom-score.ts'
import { freePort } from '../support/free-port.ts'
import { emptyFolder } from '../support/process.ts'
import { modernRequest, postMcp, ready, startSeed } from '../support/seed.ts'
import { WATCHDOG, startStdio, stdioMount, untilEnded } from '../support/stdio-mount.ts'
import { until } from '../support/until.ts'
import { startMounted, writeMounts } from '../support/upstream.ts'

/** Node.js takes about 40 MB, and the tool `allocate` of the server 300 MB. */
const LIMIT = 150_000_000
const MEMBERS = { maxMemoryBytes: LIMIT, timeoutSeconds: 60 }
const TOO_MUCH = `The server behind local was ended, as it used more than ${LIMIT} bytes of memory (maxMemoryBytes): ask for less`

for (const tool of ['allocate', 'allocate-in-child']) {
  t.test(`a process that uses too much memory (${tool}) is ended with its children, says why, and is started again`, async (t) => {
    const METRICS_PORT = String(await freePort())
    const counted = async (): Promise<string | undefined> => {
      const text = await (await fetch(`http://127.0.0.1:${METRICS_PORT}/metrics`)).text()
      return /^seed_mount_memory_exceeded_total\{seed_mount="local"\} (\d+)$/m.exec(text)?.[1]
    }
    const seed = await startStdio(t, stdioMount([], MEMBERS), { METRICS_PORT })
    t.equal(await counted(), '0', 'there is a value from which it can increase')
    const [pid] = (await seed.call('count')).split(' ')
    const child = Number(await seed.call('child'))
    t.equal(await seed.call(tool), TOO_MUCH)
    const line = await seed.logged(({ event }) => event === 'mount.memory_exceeded')
    t.match(line, { level: 40, mount: 'local', maxMemoryBytes: LIMIT })
    t.equal(await counted(), '1')
    t.ok(line['memoryBytes'] as number > LIMIT)
    t.match(await seed.logged(({ event }) => event === 'mount.unavailable'), {
      level: 40, mount: 'local', reason: `it used more than ${LIMIT} bytes of memory (maxMemoryBytes)`
    })
    await untilEnded(Number(pid), child)
    await until(async () => (await seed.call('count')).endsWith(' 1'), 'there is another process')
    t.equal(seed.logs.filter(({ event }) => event === 'mount.memory_exceeded').length, 1)
  })
}

/** A server that forks processes, which share its 100 MB, and may write to them. */
const FORKING_SERVER = `
import json, os, signal, sys
kept = bytearray(b'x' * 100_000_000)
def fork(writes):
    if os.fork() == 0:
        if writes:
            for at in range(0, len(kept), 4096): kept[at] = 1
        signal.pause()
def answer(method, params):
    if method == 'initialize':
        return {'protocolVersion': params['protocolVersion'], 'capabilities': {'tools': {}},
            'serverInfo': {'name': 'forking', 'version': '1'}}
    if method == 'tools/list':
        return {'tools': [{'name': name, 'inputSchema': {'type': 'object'}} for name in ('fork', 'fork-and-write')]}
    for _ in range(5): fork(params['name'] == 'fork-and-write')
    return {'content': [{'type': 'text', 'text': str(os.getpid())}]}
for line in sys.stdin:
    request = json.loads(line)
    reply = {'jsonrpc': '2.0', 'id': request.get('id')}
    if request['method'] in ('initialize', 'tools/list', 'tools/call'):
        reply['result'] = answer(request['method'], request['params'])
    else:
        reply['error'] = {'code': -32601, 'message': 'Method not found'}
    if 'id' in request: print(json.dumps(reply), flush=True)
`

t.test('memory that a process shares with those that it has forked counts once, until they write to it', async (t) => {
  const script = join(await emptyFolder(t), 'server.py')
  await writeFile(script, FORKING_SERVER)
  const { send, logs, logged } = await startMounted(t, {
    forking: { command: 'python3', args: [script], ...MEMBERS },
    local: stdioMount([], MEMBERS)
  })
  for (const mount of ['forking', 'local']) {
    await logged((line) => line['event'] === 'mount.connected' && line['mount'] === mount)
  }
  const call = async (name: string): Promise<string> =>
    (await send('legacy', 'tools/call', { name, arguments: {} })).response.result.content[0].text
  const killed = (): unknown[] => logs.filter(({ event }) => event === 'mount.memory_exceeded').map(({ mount }) => mount)
  const pid = await call('forking_fork')
  // Both processes are measured when one is ended.
  t.equal(await call('local_allocate'), TOO_MUCH)
  t.equal(await call('forking_fork'), pid, 'six processes that share 100 MB go on')
  t.same(killed(), ['local'])
  await call('forking_fork-and-write')
  const line = await logged((one) => one['event'] === 'mount.memory_exceeded' && one['mount'] === 'forking')
  t.ok(line['memoryBytes'] as number > LIMIT)
  await untilEnded(Number(pid))
})

t.test('without maxMemoryBytes, a process gets half of the memory limit of the container, and 1 GiB at most', async (t) => {
  let limit: number | undefined = 2 * LIMIT + 1
  t.intercept(process, 'constrainedMemory', { value: () => limit })
  const seed = await startStdio(t, stdioMount([], { timeoutSeconds: 60 }))
  t.equal(await seed.call('allocate'), TOO_MUCH)
  // Without a limit, versions of Node.js differ.
  for (limit of [2 ** 32, 2 ** 64, 0, undefined]) {
    t.match(toProcess({ command: 'node' }, '/', {}), { process: { maxMemoryBytes: 2 ** 30 } }, String(limit))
  }
})

t.test('a process of one person that uses too much memory takes nothing from another person', async (t) => {
  const mount = stdioMount([], { ...MEMBERS, connection: 'person', connectTimeoutSeconds: 60 })
  const seed = await startSeed(t, {
    definitions: [],
    timings: { mountsWaitMs: 60_000, mountsRetryMs: 10 },
    env: { SEED_MOUNTS: await writeMounts({ local: mount }) }
  })
  await ready(seed)
  const call = async (sub: string, tool: string): Promise<string> => {
    const token = await seed.provider.mint({ sub })
    const answer = await postMcp(seed, modernRequest('tools/call', { name: `local_${tool}`, arguments: {} }), token)
    return answer.body.result.content[0].text
  }
  const [ada, bob] = await Promise.all([call('ada', 'count'), call('bob', 'count')])
  t.equal(await call('ada', 'allocate'), TOO_MUCH)
  t.equal(await call('bob', 'count'), bob.replace(/1$/, '2'), 'the process of the other goes on')
  const again = await call('ada', 'count')
  t.match(again, / 1$/)
  t.not(again, ada, 'the next call has another process')
  t.notOk(seed.logs.some(({ event }) => event === 'mount.unavailable'))
})

t.test('a process and its children are ended before Seed when the machine is out of memory', async (t) => {
  const seed = await startStdio(t, stdioMount())
  const [pid] = (await seed.call('count')).split(' ')
  const scores = [pid, await seed.call('child')].map((one) => readFileSync(`/proc/${one}/oom_score_adj`, 'utf8').trim())
  t.same(scores, ['1000', '1000'])
  t.doesNotThrow(() => { endFirstOutOfMemory(2 ** 30) }, 'a process that has ended is no error')
})

/** Starts a process in a group of its own that uses 300 MB, and waits until it does. */
async function startLarge (t: Test): Promise<ChildProcess> {
  const script = 'globalThis.kept = Buffer.alloc(300e6, 1); console.log("allocated"); setInterval(() => {}, 1e6)'
  const child = spawn('env', ['-u', 'NODE_OPTIONS', process.execPath, '-e', script], {
    detached: true, stdio: ['ignore', 'pipe', 'ignore']
  })
  t.teardown(() => { child.kill('SIGKILL') })
  await once(child.stdout!, 'data')
  return child
}

t.test('a process that uses too much memory is ended while Seed is busy, and when Seed is gone', async (t) => {
  const [first, second] = await Promise.all([startLarge(t), startLarge(t)])
  const ended = [first, second].map(async (child) => await once(child, 'exit'))
  const watchdog = spawn(process.execPath, [WATCHDOG], { stdio: ['pipe', 'pipe', 'inherit'] })
  const watchdogEnded = once(watchdog, 'exit')
  // Nothing reads the output: Seed is busy.
  watchdog.stdin.write(`+${first.pid} ${LIMIT}\n`)
  t.match(await ended[0], [null, 'SIGKILL'])
  watchdog.stdout.destroy()
  await once(watchdog.stdout, 'close')
  watchdog.stdin.write(`+${second.pid} ${LIMIT}\n`)
  t.match(await ended[1], [null, 'SIGKILL'])
  watchdog.stdin.end()
  t.match(await watchdogEnded, [0, null], 'it ends in order, as nothing is left to do')
})

t.test('the memory of a group is measured on systems with and without /proc', async (t) => {
  const child = await startLarge(t)
  for (const [platform, limit] of [['linux', 1e9], ['linux', 1], ['darwin', 1e9]] as const) {
    const memory = measureGroups(new Map([[child.pid!, limit], [2 ** 30, limit]]), { platform })
    t.same([...memory.keys()], [child.pid], platform)
    const bytes = memory.get(child.pid!)!
    t.ok(bytes > 300e6 && bytes < 450e6, `${platform}: ${bytes}`)
  }
})

t.test('processes that end while their memory is measured, and a system that does not tell it, are no errors', async (t) => {
  const proc = await emptyFolder(t)
  const stat = (group: number): string => `1 (a ) (b) S 1 ${group} ${group} 0 -1 4194560`
  const files = {
    uptime: '',
    '10/stat': stat(7),
    '10/status': 'Name:\ta\nVmRSS:\t    3000 kB\nRssFile:\t    1000 kB\nVmSwap:\t     500 kB\n',
    '11/stat': stat(7),
    '12/stat': stat(8),
    '12/status': 'VmRSS:\t9999 kB\n',
    '13/cmdline': ''
  }
  for (const [path, text] of Object.entries(files)) {
    await mkdir(dirname(join(proc, path)), { recursive: true })
    await writeFile(join(proc, path), text)
  }
  const measure = (source: Parameters<typeof measureGroups>[1], limit = 1e9): unknown =>
    [...measureGroups(new Map([[7, limit]]), source)]
  t.same(measure({ platform: 'linux', proc }), [[7, 2_500 * 1_024]])
  t.same(measure({ platform: 'linux', proc: join(proc, 'nowhere') }), [])
  t.same(measure({ platform: 'darwin', ps: join(proc, 'nowhere') }), [])

  const rollups = [
    ['a process that hides it, or that ends', '', 2_500],
    ['Linux 5.4 or newer', 'Pss:  2400 kB\nPss_Anon:  500 kB\nPss_File:  1800 kB\nPss_Shmem:  100 kB\nSwapPss:  50 kB\n', 650],
    ['before Linux 5.4', 'Pss:    1200 kB\nSwapPss:   50 kB\n', 1_250],
    ['before Linux 5.4, with large files', 'Pss:    9000 kB\nSwapPss:   50 kB\n', 2_500]
  ] as const
  for (const [name, text, kilobytes] of rollups) {
    await writeFile(join(proc, '10/smaps_rollup'), text)
    t.same(measure({ platform: 'linux', proc }, 1), [[7, kilobytes * 1_024]], name)
  }
})
