import type { FastifyInstance } from 'fastify'
import fp from 'fastify-plugin'
import authorizeRoutes from '../routes/authorize.ts'
import backchannelLogoutRoutes from '../routes/backchannel-logout.ts'
import callbackRoutes from '../routes/callback.ts'
import consentRoutes from '../routes/consent.ts'
import revokeRoutes from '../routes/revoke.ts'
import tokenRoutes from '../routes/token.ts'
import wellKnownRoutes from '../routes/well-known.ts'
import type { PolicyRequirements } from '../src/policy/requirements.ts'
import type { FetchPublicDocument } from '../src/net/public-fetch.ts'
import { createCookies } from '../src/http/cookies.ts'
import { createHostCheck } from '../src/http/host-and-origin.ts'
import { createBroker } from '../src/oauth/modes/broker/broker.ts'
import { createMetadataDocuments } from '../src/oauth/clients/metadata-documents.ts'
import { createClients } from '../src/oauth/clients/clients.ts'
import { createConsent } from '../src/oauth/endpoints/consent.ts'
import { createProxy } from '../src/oauth/modes/proxy/proxy.ts'
import { createRegistrations } from '../src/oauth/clients/registrations.ts'

export interface OauthProxyOptions {
  /** How client metadata documents are fetched. */
  fetchDocument: FetchPublicDocument
  /** What the policies of tools, prompts and resources need to know of a caller. */
  requirements: PolicyRequirements
}

/** The OAuth authorization server that MCP clients see, in either mode. */
async function oauthProxy (app: FastifyInstance, { fetchDocument, requirements }: OauthProxyOptions): Promise<void> {
  const { config, store, oidc, accessTokens, rateLimits, log } = app
  const { baseUrl, resource, oauth } = config
  const { redirectUriSchemes, registration: { clientTtlSeconds } } = oauth
  const { scopes, algorithms } = config.oidc
  const toolScopes = requirements.scopes
  const { verifier, revocations, signingKeys } = accessTokens
  const { getKey } = oidc.jwks
  const provider = oidc.provider.metadata

  const documents = createMetadataDocuments({ ...oauth.metadataDocuments, fetchDocument, redirectUriSchemes, log })
  const clients = createClients({ registrations: createRegistrations(store, clientTtlSeconds), configured: oauth.configuredClients, documents, redirectUriSchemes })
  const broker = oauth.mode === 'broker'
    ? createBroker({
      config, policyClaims: requirements.claims, store, signingKeys, core: app.grantServices, clients, provider, verifyAccessToken: verifier.verify, log
    })
    : undefined
  const { signIn, issuer, revoker, revokeFor } = broker ?? createProxy({
    config, toolScopes, upstream: oidc.tokenClient, revocations, verifyAccessToken: verifier.verify
  })

  const consent = createConsent(store)
  const cookies = createCookies(baseUrl)

  /** Counts a client's requests to an endpoint. */
  const limitClient = (endpoint: string) => rateLimits.byKey(`${endpoint}:client`, {
    max: oauth.limits.perClient, windowSeconds: 60, setting: 'OAUTH_LIMIT_PER_CLIENT'
  })

  app.addHook('onReady', async () => { documents.start() })
  app.addHook('onClose', async () => { documents.close() })
  app.addHook('onRequest', createHostCheck(config))

  await app.register(async (scope) => {
    scope.addHook('onRequest', rateLimits.byAddressLocally('documents', { factor: 10 }))
    await scope.register(wellKnownRoutes, {
      prefix: '/.well-known',
      baseUrl,
      resource,
      scopes,
      toolScopes,
      mode: oauth.mode,
      clientDocuments: documents.advertised,
      tokenKeys: broker === undefined
        ? () => ({ jwksUri: provider().jwksUri, algorithms })
        : () => ({ jwksUri: `${baseUrl}/.well-known/jwks.json`, algorithms: ['ES256'] }),
      jwks: broker === undefined ? undefined : signingKeys.published
    })
  })

  /** Routes of one endpoint share a limit, whatever their path. */
  async function mount (endpoint: string, register: (scope: FastifyInstance) => Promise<unknown>): Promise<void> {
    await app.register(async (scope) => {
      scope.addHook('onRequest', rateLimits.byAddress(endpoint))
      await register(scope)
    })
  }

  // The paths without /oauth serve clients of revision 2025-03-26, which read no metadata.
  for (const prefix of ['/oauth/authorize', '/authorize']) {
    await mount('authorize', async (scope) => await scope.register(authorizeRoutes, { prefix, limitClient: limitClient('authorize'), clients, consent, cookies, probe: signIn.probeUrl, baseUrl, resource, scopes, toolScopes, redirectUriSchemes }))
  }
  await mount('consent', async (scope) => await scope.register(consentRoutes, { prefix: '/oauth/consent', consent, signIn, clients, cookies, baseUrl, redirectUriSchemes }))
  if (broker !== undefined) {
    await mount('callback', async (scope) => await scope.register(callbackRoutes, { prefix: '/oauth/callback', signIn: broker.signIn, cookies }))
  }
  for (const prefix of ['/oauth/token', '/token']) {
    await mount('token', async (scope) => await scope.register(tokenRoutes, { prefix, limitClient: limitClient('token'), clients, store, issuer, baseUrl, resource }))
  }
  for (const prefix of ['/oauth/revoke', '/revoke']) {
    await mount('revoke', async (scope) => await scope.register(revokeRoutes, { prefix, limitClient: limitClient('revoke'), clients, store, baseUrl, revoker }))
  }
  await mount('backchannel-logout', async (scope) => await scope.register(backchannelLogoutRoutes, {
    prefix: '/oauth/backchannel-logout', store, ...config.oidc, clockSkewSeconds: config.token.clockSkewSeconds, getKey, revokeFor
  }))
}

export default fp(oauthProxy, { name: 'oauth-proxy', dependencies: ['oidc-discovery', 'jwt-auth', 'rate-limit'], encapsulate: true, fastify: '5.x' })
