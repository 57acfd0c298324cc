import type { FastifyInstance } from 'fastify'
import fp from 'fastify-plugin'
import { fetchJson } from '../src/net/fetch.ts'
import { createProviderContact } from '../src/provider/contact.ts'
import type { ProviderContact } from '../src/provider/contact.ts'
import { createProviderDiscovery } from '../src/provider/discovery.ts'
import type { ProviderDiscovery } from '../src/provider/discovery.ts'
import { createJwks } from '../src/provider/jwks.ts'
import type { Jwks } from '../src/provider/jwks.ts'
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
  const contact = createProviderContact()
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
  app.decorate('oidc', {
    provider,
    contact,
    jwks,
    tokenClient: createTokenClient({ ...oidc, provider: provider.metadata, contact, log: app.log }),
    onKeysChanged (listener) { keysChangedListeners.push(listener) }
  })
  app.addHook('onReady', async () => { provider.start() })
  app.addHook('onClose', async () => {
    provider.close()
    jwks.close()
  })
}

function logSignIn (app: FastifyInstance): void {
  const { config: { oauth, oidc }, oidc: { provider }, log } = app
  const { codeChallengeMethods, idTokenAlgorithms, revocationEndpoint, sendsIss } = provider.metadata()
  log.info({ mode: oauth.mode, preset: oidc.preset.name }, 'Sign-in configured (OAUTH_MODE, OIDC_PROVIDER)')
  if (codeChallengeMethods?.includes('S256') === false) {
    log.error({ issuer: oidc.issuer, codeChallengeMethods }, 'The provider does not list S256 in its ' +
      'code_challenge_methods_supported: it may refuse every sign-in, as clients and Seed send S256, or ignore the ' +
      'challenge and redeem a stolen authorization code. Switch PKCE with S256 on for this client at the provider')
  }
  if (oauth.mode === 'broker' && idTokenAlgorithms?.some((name) => oidc.algorithms.includes(name)) === false) {
    const isSymmetric = idTokenAlgorithms.every((name) => /^(HS|none)/.test(name))
    log.error({ issuer: oidc.issuer, idTokenAlgorithms }, 'The provider lists no algorithm for ID tokens ' +
      '(id_token_signing_alg_values_supported) that is accepted here: sign-ins will fail. ' + (isSymmetric
      ? 'Let it sign the ID tokens of this client with RS256 or ES256: symmetric algorithms are never accepted'
      : 'Add one of them to OIDC_ALGORITHMS'))
  }
  warnAboutScopes(app)
  if (revocationEndpoint === undefined) {
    log.warn({ issuer: oidc.issuer }, 'The provider lists no revocation_endpoint: what ends here (a client that ' +
      'revokes its token, seed revoke, a back-channel logout) leaves its refresh tokens and access tokens alive at ' +
      'the provider. Set OAUTH_REVOCATION_URL if it has such an endpoint all the same')
  }
  if (oauth.mode === 'proxy' && sendsIss) {
    log.warn({ issuer: oidc.issuer }, 'The provider adds "iss" (RFC 9207) to its redirects: in OAUTH_MODE=proxy ' +
      'current MCP clients (TypeScript SDK v2, mcp-remote, AI SDK) compare it with BASE_URL and refuse. ' +
      'Switch it off for this client at the ' +
      'provider if you can (Keycloak: Advanced, Exclude Issuer From Authentication Response), or use OAUTH_MODE=broker')
  }
}

/** Scopes are sent all the same: some providers accept more than they list. */
function warnAboutScopes ({ oidc: { tokenClient }, log }: FastifyInstance): void {
  const scopes = tokenClient.unlistedScopes()
  if (scopes.length === 0) return
  log.warn({ scopes }, `OIDC_SCOPES asks for ${scopes.join(', ')}, which the provider does not list in ` +
    'scopes_supported: if it refuses sign-ins with invalid_scope, leave that out')
}

export default fp(oidcDiscovery, { name: 'oidc-discovery', dependencies: ['config'], fastify: '5.x' })
