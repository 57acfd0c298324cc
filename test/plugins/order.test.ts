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
import oauthProxy from '../../plugins/oauth-proxy.ts'
import oidcDiscovery from '../../plugins/oidc-discovery.ts'
import openAccess from '../../plugins/open-access.ts'
import rateLimit from '../../plugins/rate-limit.ts'
import redis from '../../plugins/redis.ts'
import shutdown from '../../plugins/shutdown.ts'
import telemetry from '../../plugins/telemetry.ts'
import traces from '../../plugins/traces.ts'

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
  [shutdown, 'shutdown', ['config']],
  [redis, 'redis', ['config']],
  [keyring, 'keyring', ['redis']],
  [audit, 'audit', ['config', 'keyring']],
  [rateLimit, 'rate-limit', ['redis']],
  [mcpLimits, 'mcp-limits', ['config', 'redis']],
  [traces, 'traces', ['redis', 'telemetry']],
  [oidcDiscovery, 'oidc-discovery', ['config']],
  [jwtAuth, 'jwt-auth', ['keyring', 'oidc-discovery', 'traces']],
  [grants, 'grants', ['keyring', 'audit', 'oidc-discovery', 'jwt-auth']],
  [oauthProxy, 'oauth-proxy', ['oidc-discovery', 'jwt-auth', 'rate-limit', 'mcp-limits']],
  [dcr, 'dcr', ['redis', 'jwt-auth', 'rate-limit']],
  [mcpTransport, 'mcp-transport', ['redis', 'keyring', 'audit', 'rate-limit', 'mcp-limits']],
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

const environment = { AUTH_REQUIRED: 'false' }

t.test("a wrong order fails the boot with Fastify's own error", async (t) => {
  const app = Fastify()
  t.teardown(async () => { await app.close() })
  app.register(config, { environment })
  app.register(keyring)
  app.register(redis)
  await t.rejects(async () => { await app.ready() }, { code: 'FST_ERR_PLUGIN_DEPENDENCY_NOT_REGISTERED' })
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
