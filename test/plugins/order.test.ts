import Fastify from 'fastify'
import t from 'tap'
import config from '../../plugins/config.ts'
import dcr from '../../plugins/dcr.ts'
import health from '../../plugins/health.ts'
import jwtAuth from '../../plugins/jwt-auth.ts'
import mcpTransport from '../../plugins/mcp-transport.ts'
import oauthProxy from '../../plugins/oauth-proxy.ts'
import oidcDiscovery from '../../plugins/oidc-discovery.ts'
import redis from '../../plugins/redis.ts'
import shutdown from '../../plugins/shutdown.ts'
import tokenExchange from '../../plugins/grants.ts'
import { loadConfig } from '../../src/config/load.ts'

const settings = loadConfig({ AUTH_REQUIRED: 'false' })

/** Each plugin, and what it cannot do without. */
const plugins = [
  { plugin: shutdown, name: 'shutdown', missing: 'config', before: [] },
  { plugin: redis, name: 'redis', missing: 'config', before: [] },
  { plugin: oidcDiscovery, name: 'oidc-discovery', missing: 'config', before: [] },
  { plugin: jwtAuth, name: 'jwt-auth', missing: 'redis', before: [] },
  { plugin: jwtAuth, name: 'jwt-auth', missing: 'oidc-discovery', before: [redis] },
  { plugin: tokenExchange, name: 'token-exchange', missing: 'redis', before: [] },
  { plugin: tokenExchange, name: 'token-exchange', missing: 'jwt-auth', before: [redis, oidcDiscovery] },
  { plugin: oauthProxy, name: 'oauth-proxy', missing: 'redis', before: [] },
  { plugin: oauthProxy, name: 'oauth-proxy', missing: 'jwt-auth', before: [redis, oidcDiscovery] },
  { plugin: oauthProxy, name: 'oauth-proxy', missing: 'token-exchange', before: [redis, oidcDiscovery, jwtAuth] },
  { plugin: dcr, name: 'dcr', missing: 'jwt-auth', before: [redis, oidcDiscovery] },
  { plugin: mcpTransport, name: 'mcp-transport', missing: 'jwt-auth', before: [redis, oidcDiscovery] },
  { plugin: health, name: 'health', missing: 'shutdown', before: [] },
  { plugin: health, name: 'health', missing: 'redis', before: [shutdown] }
]

for (const { plugin, name, missing, before } of plugins) {
  t.test(`${name} fails the boot with Fastify's own error when ${missing} is not there`, async (t) => {
    const app = Fastify()
    t.teardown(async () => { await app.close() })
    if (missing !== 'config') app.register(config, { config: settings })
    for (const earlier of before) app.register(earlier)
    app.register(plugin as never)
    await t.rejects(async () => { await app.ready() }, { code: 'FST_ERR_PLUGIN_DEPENDENCY_NOT_REGISTERED', message: `The dependency '${missing}' of plugin '${name}' is not registered` })
  })
}

t.test('a wrong order fails the boot the same way', async (t) => {
  const app = Fastify()
  t.teardown(async () => { await app.close() })
  app.register(config, { config: settings })
  app.register(redis)
  app.register(jwtAuth)
  app.register(oidcDiscovery)
  await t.rejects(async () => { await app.ready() }, { code: 'FST_ERR_PLUGIN_DEPENDENCY_NOT_REGISTERED' })
})

t.test('a route that does not say who may call it fails the boot', async (t) => {
  const app = Fastify()
  t.teardown(async () => { await app.close() })
  app.register(config, { config: settings })
  app.register(redis)
  app.register(oidcDiscovery)
  app.register(jwtAuth)
  app.register(async (scope) => { scope.get('/open', async () => 'hello') })
  await t.rejects(async () => { await app.ready() }, { message: "Route GET /open must declare config.auth: 'bearer' or 'public'" })
})
