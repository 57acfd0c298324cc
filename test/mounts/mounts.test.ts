import t from 'tap'
import type { Definition } from '../../src/define/definition.ts'
import { createMounts } from '../../src/mounts/mounts.ts'
import { until } from '../support/until.ts'
import { startUpstream } from '../support/upstream.ts'

t.test('what has the name of something else counts as refused', async (t) => {
  const { url } = await startUpstream(t)
  const log = { debug () {}, info () {}, warn () {}, error () {} } as never
  const mounts = createMounts({
    mounts: [{ name: 'calc', url, requestHeaders: {} }],
    version: '1',
    maxResultBytes: 1_000_000,
    identityServices: {} as never,
    log
  })
  t.teardown(async () => { await mounts.close() })
  await mounts.connect(60_000)
  const counts = () => mounts.watched[0]!.counts()
  t.same(counts(), { offered: 4, hidden: 0, refused: 0 })
  const own = { kind: 'tool', name: 'calc_add' } as unknown as Definition
  t.equal(mounts.definitions([own]).length, 3)
  t.same(counts(), { offered: 3, hidden: 0, refused: 1 })
})

t.test('a change that cannot be served is logged, and does not end the process', async (t) => {
  const { url } = await startUpstream(t)
  const lines: object[] = []
  const add = (line: object): void => { lines.push(line) }
  const mounts = createMounts({
    mounts: [{ name: 'calc', url, requestHeaders: {} }],
    version: '1',
    maxResultBytes: 1_000_000,
    identityServices: {} as never,
    log: { debug: add, info: add, warn: add, error: add } as never
  })
  t.teardown(async () => { await mounts.close() })
  mounts.onChange(() => { throw new Error('defined twice') })
  await mounts.connect(60_000)
  await until(() => lines.length > 1, 'the failure is logged')
  t.match(lines, [{ event: 'mount.connected' }, { event: 'mount.change_refused', err: { message: 'defined twice' } }])
})
