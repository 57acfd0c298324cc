import t from 'tap'
import { createMounts } from '../../src/mounts/mounts.ts'
import { until } from '../support/until.ts'
import { startUpstream } from '../support/upstream.ts'

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
