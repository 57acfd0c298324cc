import { createHmac } from 'node:crypto'
import { execFileSync } from 'node:child_process'
import {
  closeSync, mkdtempSync, readFileSync, readdirSync, readlinkSync, renameSync, rmSync, write, writeFileSync
} from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import t from 'tap'
import type { Test } from 'tap'
import { Compile } from 'typebox/compile'
import { createAuditLog } from '../../src/audit/audit-log.ts'
import type { AuditLogOptions } from '../../src/audit/audit-log.ts'
import { createChain, createVerifier } from '../../src/audit/chain.ts'
import { AuditRecordSchema } from '../../src/audit/record.ts'
import type { AuditEntry } from '../../src/audit/record.ts'
import { createKeyring } from '../../src/crypto/keyring.ts'
import { captureLog } from '../support/mcp.ts'

const KEY = 'the AUDIT_CHAIN_KEY of these tests, 44 bytes'
const generation = createKeyring('the SEED_SECRET of these tests, 44 bytes long', undefined).generations[0]!
const isRecord = Compile(AuditRecordSchema)
const ENTRY: AuditEntry = { event: 'tools/call', outcome: 'ok', target: 'seed_ping', subject: 'ada' }

interface Fixture {
  path: string
  /** The log lines of Seed. */
  lines: Array<Record<string, unknown>>
  open (options?: Partial<AuditLogOptions['audit']>, file?: AuditLogOptions['file']): ReturnType<typeof createAuditLog>
  read (path?: string): string[]
}

function setUp (t: Test): Fixture {
  const folder = mkdtempSync(join(tmpdir(), 'seed-audit-'))
  t.teardown(() => { rmSync(folder, { recursive: true }) })
  const path = join(folder, 'audit.log')
  const { lines, log } = captureLog()
  return {
    path,
    lines,
    open: (options, file) => createAuditLog({
      audit: { target: path, arguments: 'digest', redact: [], chainKey: undefined, ...options },
      generation,
      stdout: { write: () => true },
      log,
      ...(file !== undefined && { file })
    }),
    read: (from = path) => readFileSync(from, 'utf8').split('\n').slice(0, -1)
  }
}

function verify (lines: readonly string[], key = KEY) {
  const verifier = createVerifier(key)
  lines.forEach((line, index) => { verifier.check(line, 'audit.log', index + 1) })
  return verifier.result()
}

t.test('a line has the published form, says who did what, and holds neither tokens nor arguments', async (t) => {
  const fixture = setUp(t)
  const log = fixture.open()
  const jwt = `eyJ${'a'.repeat(20)}.eyJ${'b'.repeat(20)}.${'c'.repeat(20)}`
  log.record({ ...ENTRY, arguments: { b: 1, password: 'hunter2' }, reason: `token ${jwt} and Bearer abcdefghijk`, trace: undefined })
  log.record({ ...ENTRY, arguments: { password: 'hunter2', b: 1 }, target: 'x'.repeat(2_000) })
  await log.close()
  const [first, second] = fixture.read().map((line) => JSON.parse(line))
  for (const record of [first, second]) t.ok(isRecord.Check(record))
  t.match(first, { audit: 1, event: 'tools/call', subject: 'ada', reason: 'token [redacted] and [redacted]' })
  t.notMatch(JSON.stringify([first, second]), /hunter2|eyJ/)
  t.equal(first.argumentsDigest, second.argumentsDigest, 'the order of members does not count')
  t.equal(second.target.length, 512)
})

t.test('AUDIT_ARGUMENTS=full writes arguments without the values of secret names; long ones only by digest', async (t) => {
  const fixture = setUp(t)
  const log = fixture.open({ arguments: 'full', redact: ['iban'] })
  log.record({ ...ENTRY, arguments: { api_key: 'k', deep: [{ IBAN: 'DE1', ok: 'Bearer abcdefghijkl' }], n: 1 } })
  log.record({ ...ENTRY, arguments: { text: 'x'.repeat(10_000) } })
  log.record({ ...ENTRY, arguments: undefined })
  // Text that looks like the beginning of a token again and again holds up nobody.
  log.record({ ...ENTRY, arguments: { text: 'eyJ-'.repeat(262_144) } })
  await log.close()
  const [first, second, third] = fixture.read().map((line) => JSON.parse(line))
  t.same(first.arguments, { api_key: '[redacted]', deep: [{ IBAN: '[redacted]', ok: '[redacted]' }], n: 1 })
  t.match(second, { arguments: undefined, argumentsDigest: /^[\w-]{43}$/ })
  t.match(third, { arguments: undefined, argumentsDigest: undefined })

  const off = fixture.open({ arguments: 'off' })
  off.record({ ...ENTRY, arguments: { a: 1 } })
  await off.close()
  t.equal(JSON.parse(fixture.read()[4]!).argumentsDigest, undefined)
})

t.test('the digest is keyed, so short arguments cannot be guessed from it', async (t) => {
  const fixture = setUp(t)
  const log = fixture.open()
  log.record({ ...ENTRY, arguments: { year: 1 } })
  await log.close()
  const { argumentsDigest } = JSON.parse(fixture.read()[0]!)
  const expected = createHmac('sha256', generation.derive('audit', 32)).update('{"year":1}').digest('base64url')
  t.equal(argumentsDigest, expected)
})

t.test('a chain goes on over restarts and rotations', async (t) => {
  const fixture = setUp(t)
  const first = fixture.open({ chainKey: KEY })
  first.record(ENTRY)
  await first.close()
  const second = fixture.open({ chainKey: KEY })
  second.record(ENTRY)
  renameSync(fixture.path, `${fixture.path}.1`)
  second.reopen()
  second.record(ENTRY)
  await second.close()
  t.match(fixture.lines.at(-1), { message: /opened anew/ })
  const rotated = fixture.read(`${fixture.path}.1`)
  t.equal(rotated.length, 2, 'lines that waited went into the old file')
  const result = verify([...rotated, ...fixture.read()])
  t.match(result, { lines: 3, problems: [], chains: [{ first: 1, last: 3 }], lost: 0 })
})

t.test('after a crash in the middle of a line the file goes on, and the torn line shows', async (t) => {
  const fixture = setUp(t)
  const first = fixture.open({ chainKey: KEY })
  first.record(ENTRY)
  first.record(ENTRY)
  await first.close()
  writeFileSync(fixture.path, readFileSync(fixture.path, 'utf8').slice(0, -20))
  const second = fixture.open({ chainKey: KEY })
  second.record(ENTRY)
  await second.close()
  const { problems, chains } = verify(fixture.read())
  t.match(problems, [{ line: 2, kind: 'changed' }])
  t.match(chains, [{ first: 1, last: 2 }])
})

t.test('whoever changes, removes, repeats or inserts a line leaves a mark; another key fits nothing', async (t) => {
  const fixture = setUp(t)
  const log = fixture.open({ chainKey: KEY })
  for (let i = 0; i < 5; i++) log.record({ ...ENTRY, subject: `person-${i}` })
  await log.close()
  const lines = fixture.read()
  const kinds = (changed: string[], key?: string) => verify(changed, key).problems.map(({ kind }) => kind)
  t.same(kinds(lines), [])
  t.same(kinds(lines.with(2, lines[2]!.replace('person-2', 'person-9'))), ['changed', 'gap'])
  t.same(kinds(lines.toSpliced(2, 1)), ['gap'])
  t.same(kinds(lines.toSpliced(2, 0, lines[1]!)), ['repeated'])
  t.same(kinds([...lines, '{"audit":1,"event":"sign_in"}']), ['unchained'])
  t.same(kinds(lines, 'another key of at least 32 characters'), Array(5).fill('changed'))
  const fork = fixture.open({ chainKey: KEY })
  fork.record(ENTRY)
  await fork.close()
  const twin = lines.at(-1)!
  t.same(verify([lines[0]!, twin]).problems.map(({ message }) => message),
    [`3 line(s) of chain ${JSON.parse(twin).chain} are missing, from 2 to 4`])
  t.match(verify(['{"level":30,"msg":"Request"}', '', ...lines.slice(3)]), { others: 1, chains: [{ first: 4, last: 5 }] })
})

t.test('two lines with one number, written by two processes with one file, show', async (t) => {
  const fixture = setUp(t)
  const first = fixture.open({ chainKey: KEY })
  first.record(ENTRY)
  await first.close()
  const [one, two] = [fixture.open({ chainKey: KEY }), fixture.open({ chainKey: KEY })]
  one.record({ ...ENTRY, subject: 'one' })
  await one.close()
  two.record({ ...ENTRY, subject: 'two' })
  two.record({ ...ENTRY, subject: 'two' })
  await two.close()
  t.same(verify(fixture.read()).problems.map(({ kind }) => kind), ['repeated', 'changed'])
})

t.test('a disk that is full costs lines, which are counted and logged once; the gap shows', async (t) => {
  const fixture = setUp(t)
  let isFull = false
  const log = fixture.open({ chainKey: KEY }, {
    write (fd, bytes, done) {
      // A disk writes what it can.
      if (isFull) done(Object.assign(new Error('ENOSPC: no space left on device'), { code: 'ENOSPC' }), 0)
      else write(fd, bytes.subarray(0, 100), done)
    }
  })
  const until = async (holds: () => boolean): Promise<void> => {
    while (!holds()) await new Promise((resolve) => { setTimeout(resolve, 5) })
  }
  log.record(ENTRY)
  await until(() => fixture.read().length === 1)
  isFull = true
  log.record(ENTRY)
  log.record(ENTRY)
  await until(() => log.lost === 2)
  log.record(ENTRY)
  await until(() => log.lost === 3)
  isFull = false
  log.record(ENTRY)
  await until(() => fixture.lines.length === 2)
  log.record(ENTRY)
  await log.close()
  t.same(fixture.lines.map(({ message }) => message), [
    'Lines of the audit log are lost: AUDIT_LOG cannot be written', 'The audit log is written again'
  ])
  const lines = fixture.read().filter((line) => line !== '')
  t.match(lines.map((line) => JSON.parse(line).lost), [undefined, 3, 3])
  t.match(verify(lines), { lost: 3, problems: [{ kind: 'gap', message: /^3 line\(s\)/ }] })
})

t.test('lines that wait for a slow disk are bounded, and the end of the server does not wait for it', async (t) => {
  const fixture = setUp(t)
  const log = fixture.open({}, { maxWaiting: 1_000, write () { /* never done */ } })
  log.record(ENTRY)
  await new Promise((resolve) => { setImmediate(resolve) })
  for (let i = 0; i < 10; i++) log.record(ENTRY)
  t.ok(log.lost > 0 && log.lost < 10, `${log.lost} lines are lost`)
  t.match(fixture.lines, [{ reason: 'too many lines wait to be written' }])
  renameSync(fixture.path, `${fixture.path}.1`)
  log.reopen()
  await log.close()
  t.same(fixture.read(), [], 'what waits behind the write is gone')
})

t.test('a file that cannot be opened is an error at start, and a warning after a rename', async (t) => {
  const fixture = setUp(t)
  t.throws(() => fixture.open({ target: join(fixture.path, 'no', 'folder') }), /AUDIT_LOG cannot be opened: ENO/)
  const pipe = `${fixture.path}.pipe`
  execFileSync('mkfifo', [pipe])
  t.throws(() => fixture.open({ target: pipe }), /AUDIT_LOG cannot be opened/)
  const log = fixture.open()
  log.record(ENTRY)
  rmSync(fixture.path)
  execFileSync('mkdir', [fixture.path])
  log.reopen()
  t.match(fixture.lines.at(-1), { message: /cannot be opened anew/, reason: /EISDIR/ })
  await log.close()
})

t.test('AUDIT_LOG must name a regular file: a device or a pipe could block', async (t) => {
  const fixture = setUp(t)
  t.throws(() => fixture.open({ target: '/dev/null' }), /it is not a regular file/)
})

t.test('with AUDIT_LOG=stdout lines go where the log goes; a line that is dropped there is counted', async (t) => {
  const { lines, log } = captureLog()
  const written: string[] = []
  let isFull = false
  const auditLog = createAuditLog({
    audit: { target: 'stdout', arguments: 'off', redact: [], chainKey: KEY },
    generation,
    stdout: { write: (line) => isFull ? false : written.push(line) },
    log
  })
  auditLog.record(ENTRY)
  isFull = true
  auditLog.record(ENTRY)
  isFull = false
  auditLog.record(ENTRY)
  auditLog.reopen()
  await auditLog.close()
  t.match(verify(written.map((line) => line.trimEnd())), { problems: [], lost: 1, chains: [{ last: 2 }] })
  t.equal(lines.length, 3)
})

t.test('what waits at the exit of the process is written', async (t) => {
  const fixture = setUp(t)
  fixture.open().record(ENTRY)
  const [flush] = process.listeners('exit').slice(-1) as Array<() => void>
  flush!()
  flush!()
  t.equal(fixture.read().length, 1)
  process.removeListener('exit', flush!)
})

t.test('a file that is gone at the exit of the process keeps it from nothing', async (t) => {
  const fixture = setUp(t)
  const log = fixture.open()
  log.record(ENTRY)
  const fd = readdirSync('/proc/self/fd').find((name) => {
    try {
      return readlinkSync(`/proc/self/fd/${name}`) === fixture.path
    } catch {
      return false
    }
  })
  closeSync(Number(fd))
  const [flush] = process.listeners('exit').slice(-1) as Array<() => void>
  flush!()
  t.equal(log.lost, 1)
  process.removeListener('exit', flush!)
})

t.test('lines that come while others are written follow them', async (t) => {
  const fixture = setUp(t)
  const log = fixture.open({}, {
    write (fd, bytes, done) {
      if (fixture.read().length === 0) log.record({ ...ENTRY, subject: 'second' })
      write(fd, bytes, done)
    }
  })
  log.record({ ...ENTRY, subject: 'first' })
  while (fixture.read().length < 2) await new Promise((resolve) => { setTimeout(resolve, 5) })
  await log.close()
  t.same(fixture.read().map((line) => JSON.parse(line).subject), ['first', 'second'])
})

t.test('the count of lost lines begins again at a restart, and both counts add up', async (t) => {
  const chain = createChain(KEY, undefined)
  const lines = [undefined, 3, 4, 2].map((lost) => {
    const line = chain.link({ audit: 1, time: '', lost })
    chain.commit()
    return line
  })
  t.equal(verify(lines).lost, 6)
  t.equal(verify(lines.slice(2)).lost, 6)
})
