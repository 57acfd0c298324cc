import { readFile } from 'node:fs/promises'
import Fastify from 'fastify'
import t from 'tap'
import audit from '../../plugins/audit.ts'
import config from '../../plugins/config.ts'
import dcr from '../../plugins/dcr.ts'
import grants from '../../plugins/grants.ts'
import health from '../../plugins/health.ts'
import jwtAuth from '../../plugins/jwt-auth.ts'
import keyring from '../../plugins/keyring.ts'
import mcpLimits from '../../plugins/mcp-limits.ts'
import mcpTransport from '../../plugins/mcp-transport.ts'
import mounts from '../../plugins/mounts.ts'
import oauthProxy from '../../plugins/oauth-proxy.ts'
import oidcDiscovery from '../../plugins/oidc-discovery.ts'
import { requireAuthDeclaration } from '../../src/http/route-auth.ts'
import openAccess from '../../plugins/open-access.ts'
import rateLimit from '../../plugins/rate-limit.ts'
import publishedKeys from '../../plugins/published-keys.ts'
import redis from '../../plugins/redis.ts'
import shutdown from '../../plugins/shutdown.ts'
import telemetry from '../../plugins/telemetry.ts'
import signInTraces from '../../plugins/sign-in-traces.ts'
import tracing from '../../plugins/tracing.ts'

interface PluginMeta {
  name: string
  dependencies?: string[]
  decorators?: { request?: string[] }
}

const metaOf = (plugin: object): PluginMeta => (plugin as Record<symbol, PluginMeta>)[Symbol.for('plugin-meta')]!

/** The order of src/app.ts, and what each plugin cannot do without. */
const PLUGINS = [
  [config, 'config', []],
  [telemetry, 'telemetry', ['config']],
  [tracing, 'tracing', ['config', 'telemetry']],
  [shutdown, 'shutdown', ['config']],
  [mounts, 'mounts', ['config', 'telemetry']],
  [redis, 'redis', ['config', 'telemetry', 'tracing']],
  [keyring, 'keyring', ['redis']],
  [audit, 'audit', ['config', 'mounts', 'redis', 'keyring']],
  [rateLimit, 'rate-limit', ['redis']],
  [mcpLimits, 'mcp-limits', ['config', 'redis']],
  [signInTraces, 'sign-in-traces', ['redis', 'telemetry']],
  [oidcDiscovery, 'oidc-discovery', ['config', 'telemetry', 'tracing']],
  [jwtAuth, 'jwt-auth', ['telemetry', 'keyring', 'sign-in-traces', 'oidc-discovery']],
  [grants, 'grants', ['keyring', 'audit', 'oidc-discovery', 'jwt-auth']],
  [oauthProxy, 'oauth-proxy', ['audit', 'rate-limit', 'mcp-limits', 'oidc-discovery', 'jwt-auth']],
  [dcr, 'dcr', ['redis', 'jwt-auth', 'rate-limit']],
  [publishedKeys, 'published-keys', ['keyring', 'rate-limit']],
  [mcpTransport, 'mcp-transport', [
    'telemetry', 'tracing', 'mounts', 'redis', 'keyring', 'audit', 'rate-limit', 'mcp-limits'
  ]],
  [health, 'health', ['shutdown', 'redis', 'rate-limit']]
] as const

t.test('each plugin declares what it needs, and all of it comes before it', async (t) => {
  const registered = new Set<string>()
  for (const [plugin, name, needed] of PLUGINS) {
    const meta = metaOf(plugin)
    t.equal(meta.name, name)
    t.same(meta.dependencies ?? [], needed, name)
    for (const dependency of needed) t.ok(registered.has(dependency), `${dependency} comes before ${name}`)
    registered.add(name)
  }
  t.same(metaOf(openAccess), { ...metaOf(openAccess), name: 'open-access', dependencies: ['config'] })
  for (const plugin of [mcpTransport, health]) {
    t.same(metaOf(plugin).decorators, { request: ['principal'] }, 'needs jwt-auth or open-access')
  }
})

/** Decorators that are undefined where the operator has not asked for them, as they are in a wrong order. */
const OPTIONAL = ['telemetry', 'tracing', 'audit']

/** Takes nested patterns out of the patterns that destructure an object. */
function flatten (source: string): string {
  const flat = source.replace(/: \{[^{}]*\}/g, '')
  return flat === source ? source : flatten(flat)
}

t.test('a plugin that reads an optional decorator declares the plugin that makes it', async (t) => {
  for (const [, name, needed] of PLUGINS) {
    const source = flatten(await readFile(`plugins/${name}.ts`, 'utf8'))
    for (const decorator of OPTIONAL.filter((other) => other !== name)) {
      const destructured = new RegExp(`\\{[^{}]*\\b${decorator}\\b[^{}]*\\}(?: = app\\b|: FastifyInstance)`)
      const isRead = source.includes(`app.${decorator}`) || destructured.test(source)
      t.ok(!isRead || (needed as readonly string[]).includes(decorator), `${name}: ${decorator}`)
    }
  }
})

t.test("README's table shows the order of the plugins and what each depends on", async (t) => {
  const readme = await readFile('README.md', 'utf8')
  const table = readme.slice(readme.indexOf('| plugin | depends on | provides |')).split('\n\n')[0]!
  const rows = [...table.matchAll(/^\| `([\w-]+)` \| ([^|]+) \|/gm)].map(([, name, needed]) => [name, needed])
  t.same(rows, PLUGINS.map(([, name, needed]) => [name, needed.length === 0 ? '–' : needed.join(', ')]))
})

const environment = { AUTH_REQUIRED: 'false' }

t.test("a wrong order fails the boot with Fastify's own error", async (t) => {
  const app = Fastify()
  t.teardown(async () => { await app.close() })
  app.register(config, { environment })
  app.register(keyring)
  app.register(redis)
  await t.rejects(async () => { await app.ready() }, { code: 'FST_ERR_PLUGIN_DEPENDENCY_NOT_REGISTERED' })
})

t.test('a route for access tokens that does not declare of which endpoint fails the boot', async (t) => {
  const app = Fastify()
  t.teardown(async () => { await app.close() })
  app.addHook('onRoute', requireAuthDeclaration(() => (_request, _reply, done) => { done() }))
  app.register(async (scope) => { scope.get('/open', { config: { auth: 'bearer' } }, async () => 'hello') })
  await t.rejects(async () => { await app.ready() }, { message: 'Route /open must declare config.resource' })
})

t.test('a route that does not declare who may call it fails the boot', async (t) => {
  const app = Fastify()
  t.teardown(async () => { await app.close() })
  app.register(config, { environment })
  app.register(openAccess)
  app.register(async (scope) => { scope.get('/open', async () => 'hello') })
  await t.rejects(
    async () => {
      await app.ready()
    },
    { message: "Route GET /open must declare config.auth: 'bearer' or 'public'" }
  )
})
