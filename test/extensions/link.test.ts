import { pathToFileURL } from 'node:url'
import t from 'tap'
import { linkExtensions } from '../../src/extensions/link.ts'
import { initialize, resolve as resolveInThread } from '../../src/extensions/link-worker.ts'
import { createResolve, packageSpecifier, versionedUrl } from '../../src/extensions/resolve.ts'
import type { Resolve, ResolveContext } from '../../src/extensions/resolve.ts'

const INDEX = new URL('../../src/index.js', import.meta.url).href
const TESTING = new URL('../../src/testing/index.js', import.meta.url).href
const OPTIONS = { self: { 'seed-mcp-server': INDEX }, reloaded: ['file:///seed/tools/', 'file:///ext/'] }

/** Resolves relative paths as Node does. */
const next = (specifier: string, {
  parentURL
}: ResolveContext) => ({ url: URL.canParse(specifier) ? specifier : new URL(specifier, parentURL).href })

t.test('seed-mcp-server resolves to this server, wherever it is imported', async (t) => {
  const resolve = createResolve(OPTIONS)
  t.same(resolve('seed-mcp-server', { parentURL: 'file:///ext/a.js' }, next), { url: INDEX, shortCircuit: true })
  t.same(
    resolve('./b.js', { parentURL: 'file:///ext/a.js' }, next),
    { url: 'file:///ext/b.js' },
    'everything else is as Node says'
  )
  t.same(resolve('file:///ext/a.js', {}, next), { url: 'file:///ext/a.js' })
})

t.test('a reloaded file\'s imports are reloaded too, within the folders that are reloaded', async (t) => {
  const resolve = createResolve(OPTIONS)
  const from = versionedUrl('file:///ext/tools/a.js', 3)
  const cases: Array<[specifier: string, url: string, parentURL?: string]> = [
    ['./_b.js', versionedUrl('file:///ext/tools/_b.js', 3)],
    ['../_c.js', versionedUrl('file:///ext/_c.js', 3)],
    ['file:///seed/tools/d.js', versionedUrl('file:///seed/tools/d.js', 3)],
    ['./_b.js?raw', 'file:///ext/tools/_b.js?raw'],
    ['file:///seed/define/tool.js', 'file:///seed/define/tool.js'],
    ['../node_modules/x/index.js', 'file:///ext/node_modules/x/index.js'],
    ['file:///ext/a.js', 'file:///ext/a.js', '[eval]']
  ]
  for (const [specifier, url, parentURL = from] of cases) {
    t.same(resolve(specifier, { parentURL }, next), { url }, specifier)
    t.same(
      await resolve(specifier, { parentURL }, async (...args: Parameters<typeof next>) => next(...args)),
      { url },
      `${specifier}, in the thread`
    )
  }
})

t.test('a package is resolved from the folder in its specifier', async (t) => {
  const resolved: unknown[] = []
  createResolve(OPTIONS)(packageSpecifier(
    '@acme/tools',
    '/a folder, with?odd #signs'
  ), { parentURL: INDEX }, (specifier, context) => {
    resolved.push(specifier, context.parentURL)
    return { url: 'file:///x.js' }
  })
  t.same(resolved, ['@acme/tools', pathToFileURL('/a folder, with?odd #signs/package.json').href])
})

t.test('uses registerHooks where Node has it, and register otherwise', async (t) => {
  const parentURL = 'file:///ext/a.js'
  let hooked: Resolve | undefined
  linkExtensions(
    [],
    { registerHooks: ({ resolve }) => { hooked = resolve }, register: () => { t.fail('the thread is not needed') } }
  )
  t.match(hooked!('seed-mcp-server/testing', { parentURL }, next), { url: TESTING })

  const calls: unknown[] = []
  linkExtensions(['file:///ext/'], { register: (...args) => { calls.push(args) } })
  const [[worker, { data }]] = calls as [[string, { data: typeof OPTIONS }]]
  t.match(worker, /src\/extensions\/link-worker\.js$/)
  t.same(data, { self: { 'seed-mcp-server': INDEX, 'seed-mcp-server/testing': TESTING }, reloaded: ['file:///ext/'] })
  initialize(data)
  t.match(resolveInThread('seed-mcp-server', { parentURL }, next), { url: INDEX })
})
