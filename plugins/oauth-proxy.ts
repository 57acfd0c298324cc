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
import { createAddressLimit } from '../src/http/limits.ts'
import { createBroker } from '../src/oauth/modes/broker/broker.ts'
import { createMetadataDocuments } from '../src/oauth/clients/metadata-documents.ts'
import { createClients } from '../src/oauth/clients/clients.ts'
import { createConsent } from '../src/oauth/endpoints/consent.ts'
import { createProxy } from '../src/oauth/modes/proxy/proxy.ts'
import { createRateLimiter } from '../src/limits/rate-limit.ts'
import { createRegistrations } from '../src/oauth/clients/registrations.ts'
import { createTokenClient } from '../src/provider/token-client.ts'

export interface OauthProxyOptions {
  /** How client metadata documents are fetched. */
  fetchDocument: FetchPublicDocument
  /** What the policies of tools, prompts and resources need to know of a caller. */
  needs: PolicyRequirements
}

/** The OAuth authorization server that MCP clients see, in either mode. */
async function oauthProxy (app: FastifyInstance, { fetchDocument, needs }: OauthProxyOptions): Promise<void> {
  const { config, store, oidc, accessTokens, brokerCore, log } = app
  if (oidc === undefined || accessTokens === undefined) return
  const { baseUrl, resource, oauth } = config
  const { redirectUriSchemes, registration: { clientTtlSeconds } } = oauth
  const { scopes, algorithms } = config.oidc
  const toolScopes = needs.scopes
  const { verifier, revocations, signingKeys } = accessTokens
  const { getKey } = oidc.jwks
  const provider = oidc.provider.metadata

  const documents = createMetadataDocuments({ ...oauth.metadataDocuments, fetchDocument, redirectUriSchemes, log })
  const clients = createClients({ registrations: createRegistrations(store, clientTtlSeconds), configured: oauth.configuredClients, documents, redirectUriSchemes })
  const broker = brokerCore === undefined
    ? undefined
    : createBroker({ config, policyClaims: needs.claims, store, signingKeys, core: brokerCore, clients, provider, verifyAccessToken: verifier.verify, log })
  const { signIn, issuer, revoker, revokeFor } = broker ?? createProxy({ config, toolScopes, upstream: createTokenClient({ ...config.oidc, provider }), revocations, verifyAccessToken: verifier.verify })

  const consent = createConsent(store)
  const cookies = createCookies(baseUrl)
  const limiter = createRateLimiter(store)
  const limit = { limiter, limitPerClient: oauth.limits.perClient }

  app.addHook('onReady', async () => { documents.start() })
  app.addHook('onClose', async () => { documents.close() })
  app.addHook('onRequest', createHostCheck(config))

  await app.register(wellKnownRoutes, {
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

  /** Routes of one endpoint share a limit, whatever their path. */
  async function mount (endpoint: string, register: (scope: FastifyInstance) => Promise<unknown>): Promise<void> {
    await app.register(async (scope) => {
      scope.addHook('onRequest', createAddressLimit(limiter, endpoint, oauth.limits.perAddress))
      await register(scope)
    })
  }

  // The paths without /oauth serve clients of revision 2025-03-26, which read no metadata.
  for (const prefix of ['/oauth/authorize', '/authorize']) {
    await mount('authorize', async (scope) => await scope.register(authorizeRoutes, { prefix, ...limit, clients, consent, cookies, probe: signIn.probeUrl, baseUrl, resource, scopes, toolScopes, redirectUriSchemes }))
  }
  await mount('consent', async (scope) => await scope.register(consentRoutes, { prefix: '/oauth/consent', consent, signIn, clients, cookies, baseUrl, redirectUriSchemes }))
  if (broker !== undefined) {
    await mount('callback', async (scope) => await scope.register(callbackRoutes, { prefix: '/oauth/callback', signIn: broker.signIn, cookies }))
  }
  for (const prefix of ['/oauth/token', '/token']) {
    await mount('token', async (scope) => await scope.register(tokenRoutes, { prefix, ...limit, clients, store, issuer, baseUrl, resource }))
  }
  for (const prefix of ['/oauth/revoke', '/revoke']) {
    await mount('revoke', async (scope) => await scope.register(revokeRoutes, { prefix, ...limit, clients, store, baseUrl, revoker }))
  }
  await mount('backchannel-logout', async (scope) => await scope.register(backchannelLogoutRoutes, {
    prefix: '/oauth/backchannel-logout', store, ...config.oidc, clockSkewSeconds: config.token.clockSkewSeconds, getKey, revokeFor
  }))
}

export default fp(oauthProxy, { name: 'oauth-proxy', dependencies: ['redis', 'oidc-discovery', 'jwt-auth', 'token-exchange'], encapsulate: true, fastify: '5.x' })
