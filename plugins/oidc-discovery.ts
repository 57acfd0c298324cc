import type { FastifyInstance } from 'fastify'
import fp from 'fastify-plugin'
import { fetchJson } from '../src/net/fetch.ts'
import { createProviderContact } from '../src/provider/contact.ts'
import type { ProviderContact } from '../src/provider/contact.ts'
import { createProviderDiscovery } from '../src/provider/discovery.ts'
import type { ProviderDiscovery } from '../src/provider/discovery.ts'
import { createJwks } from '../src/provider/jwks.ts'
import type { Jwks } from '../src/provider/jwks.ts'
import { findMetadataProblems } from '../src/provider/metadata-problems.ts'
import { createTokenClient } from '../src/provider/token-client.ts'
import type { TokenClient } from '../src/provider/token-client.ts'

declare module 'fastify' {
  interface FastifyInstance {
    /** The company's OpenID provider; only with AUTH_REQUIRED. */
    oidc: {
      provider: ProviderDiscovery
      contact: ProviderContact
      jwks: Jwks
      /** Seed as a client of the provider's endpoints. */
      tokenClient: TokenClient
      onKeysChanged (listener: () => void): void
    }
  }
}

export interface DiscoveryTimings {
  /** Shortest time between refreshes of the keys that unknown keys force; 5 seconds by default. */
  forcedKeyRefreshMs?: number
}

/** Discovers the provider and keeps its keys up to date, in the background: Seed starts without it. */
async function oidcDiscovery (app: FastifyInstance, { forcedKeyRefreshMs }: DiscoveryTimings): Promise<void> {
  const { oidc } = app.config
  const keysChangedListeners: Array<() => void> = []
  const contact = createProviderContact(Date.now, app.telemetry?.providerAnswered)
  const fetchFromProvider: typeof fetchJson = async (url) => await contact.watch(async () => await fetchJson(url))
  const provider = createProviderDiscovery({
    ...oidc,
    fetchJson: fetchFromProvider,
    log: app.log,
    onReady () {
      jwks.start()
      logSignIn(app)
    }
  })
  const jwks = createJwks({
    jwksUri: () => provider.metadata().jwksUri,
    fetchJson: fetchFromProvider,
    log: app.log,
    onChange () { for (const notify of keysChangedListeners) notify() },
    forcedRefreshMs: forcedKeyRefreshMs
  })
  app.telemetry?.watchProvider(() => provider.problem() ?? contact.problem(), jwks.loadedAt)
  app.decorate('oidc', {
    provider,
    contact,
    jwks,
    tokenClient: createTokenClient({ ...oidc, provider: provider.metadata, contact, log: app.log }),
    onKeysChanged (listener) { keysChangedListeners.push(listener) }
  })
  if (oidc.allowInsecureHttp) {
    app.log.warn({ event: 'config.insecure_provider' },
      'OIDC_ALLOW_INSECURE_HTTP=true: requests to the provider may travel by http. Whoever can read or ' +
      'change them on the way can sign in as anyone')
  }
  app.addHook('onReady', async () => {
    if (app.tracing === undefined) provider.start()
    else app.tracing.runInBackground(provider.start)
  })
  app.addHook('onClose', async () => {
    provider.close()
    jwks.close()
  })
}

function logSignIn (app: FastifyInstance): void {
  const { config: { oauth: { mode }, oidc }, oidc: { provider }, log } = app
  const { issuer, preset } = oidc
  log.info({ event: 'config.sign_in', mode, preset: preset.name }, 'Sign-in configured (OAUTH_MODE, OIDC_PROVIDER)')
  for (const { severity, fields, message } of findMetadataProblems(provider.metadata(), { ...oidc, mode })) {
    if (severity === 'error') log.error({ event: 'provider.metadata_unusable', issuer, ...fields }, message)
    else log.warn({ event: 'provider.metadata_limited', issuer, ...fields }, message)
  }
}

export default fp(oidcDiscovery, {
  name: 'oidc-discovery', dependencies: ['config', 'telemetry', 'tracing'], fastify: '5.x'
})
