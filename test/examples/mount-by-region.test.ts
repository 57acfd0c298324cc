import t from 'tap'
import { defineMount, isMountDefinition } from '../../src/mounts/settings/define-mount.ts'
import { modernRequest, postMcp, startSeed } from '../support/seed.ts'
import '../support/self-reference.ts'
import { ADD, startUpstream } from '../support/upstream.ts'

t.test('mounts one server for each region, and offers only what changes nothing', async (t) => {
  const upstream = await startUpstream(t)
  upstream.tools = [{ ...ADD, name: 'search', annotations: { readOnlyHint: true } }, { ...ADD, name: 'delete' }]
  const paths: string[] = []
  upstream.intercept = ({ url }) => {
    paths.push(url!)
    return false
  }
  process.env['TICKETS_URL'] = new URL(upstream.url).origin
  t.teardown(() => { delete process.env['TICKETS_URL'] })
  const { href } = new URL('../../examples/mount-by-region.js', import.meta.url)
  const mounts = Object.values(await import(href) as object).filter(isMountDefinition)
    // However busy the machine is.
    .map(({ name, entry }) => defineMount({ ...entry, name, connectTimeoutSeconds: 60 }))
  t.equal(mounts.length, 2)
  const seed = await startSeed(t, {
    env: { AUTH_REQUIRED: 'false' },
    definitions: [],
    mounts: () => mounts.map((mount) => ({ mount, file: 'mount-by-region.ts', folder: '/' })),
    timings: { mountsWaitMs: 60_000 }
  })
  const { body } = await postMcp(seed, modernRequest('tools/list'))
  t.same(body.result.tools.map(({ name }: { name: string }) => name), ['tickets-eu_search', 'tickets-us_search'])
  t.same([...new Set(paths)].sort(), ['/eu/mcp', '/us/mcp'])
})
