import type { FastifyInstance } from 'fastify'
import fp from 'fastify-plugin'
import { fetchJson } from '../src/net/fetch.ts'
import { createJwks } from '../src/provider/jwks.ts'
import type { Jwks } from '../src/provider/jwks.ts'
import { createProviderDiscovery } from '../src/provider/discovery.ts'
import type { ProviderDiscovery } from '../src/provider/discovery.ts'

declare module 'fastify' {
  interface FastifyInstance {
    /** The OpenID provider and its keys; undefined with AUTH_REQUIRED=false. */
    oidc: { provider: ProviderDiscovery, jwks: Jwks, onKeysChanged (listener: () => void): void } | undefined
  }
}

/** Finds the provider and keeps its keys, in the background: the process starts whether the provider answers or not. */
async function oidcDiscovery (app: FastifyInstance): Promise<void> {
  const { authRequired, oidc, oauth } = app.config
  if (!authRequired) {
    app.decorate('oidc', undefined)
    return
  }
  const provider = createProviderDiscovery({
    ...oidc,
    fetchJson,
    log: app.log,
    onReady () {
      jwks.start()
      app.log.info({ mode: oauth.mode, preset: oidc.preset.name }, 'People sign in by this mode and preset (OAUTH_MODE, OIDC_PROVIDER)')
      if (oauth.mode === 'proxy' && provider.metadata().sendsIss) {
        app.log.warn({ issuer: oidc.issuer }, 'The provider adds "iss" (RFC 9207) to its redirects: in OAUTH_MODE=proxy strict MCP clients compare it with BASE_URL and refuse to sign in. Switch it off for this client at the provider if it can be (Keycloak: Advanced, Exclude Issuer From Authentication Response)')
      }
    }
  })
  const keysChanged: Array<() => void> = []
  const jwks = createJwks({
    jwksUri: () => provider.metadata().jwksUri,
    fetchJson,
    log: app.log,
    onChange () { for (const tell of keysChanged) tell() }
  })
  app.decorate('oidc', { provider, jwks, onKeysChanged (listener) { keysChanged.push(listener) } })
  app.addHook('onReady', async () => { provider.start() })
  app.addHook('onClose', async () => {
    provider.close()
    jwks.close()
  })
}

export default fp(oidcDiscovery, { name: 'oidc-discovery', dependencies: ['config'], fastify: '5.x' })
