import type { FastifyInstance } from 'fastify'
import fp from 'fastify-plugin'
import authorizeRoutes from '../routes/authorize.ts'
import backchannelLogoutRoutes from '../routes/backchannel-logout.ts'
import type { LogoutRouteOptions } from '../routes/backchannel-logout.ts'
import callbackRoutes from '../routes/callback.ts'
import connectionsRoutes, { CONNECTIONS_PATH } from '../routes/connections.ts'
import connectionsInProxyModeRoutes from '../routes/connections-in-proxy-mode.ts'
import consentRoutes from '../routes/consent.ts'
import revokeRoutes from '../routes/revoke.ts'
import tokenRoutes from '../routes/token.ts'
import wellKnownRoutes from '../routes/well-known.ts'
import type { Config } from '../src/config/config.ts'
import { allowAnyOrigin, serveBackChannel } from '../src/http/back-channel-scope.ts'
import { serveBrowserPages } from '../src/http/browser-scope.ts'
import { connectionsErrorHandler } from '../src/http/errors.ts'
import { createCookies } from '../src/http/cookies.ts'
import type { Cookies } from '../src/http/cookies.ts'
import { createConnectionActivity } from '../src/connections/activity.ts'
import { createHostCheck } from '../src/http/host-and-origin.ts'
import { createRequesterOf } from '../src/http/requester.ts'
import { traceSteps } from '../src/http/trace-steps.ts'
import type { FetchPublicDocument } from '../src/net/public-fetch.ts'
import { clientAddressKey } from '../src/net/addresses.ts'
import { createClientKeySets } from '../src/oauth/clients/client-key-sets.ts'
import { createClients } from '../src/oauth/clients/clients.ts'
import type { Clients } from '../src/oauth/clients/clients.ts'
import { createMetadataDocuments } from '../src/oauth/clients/metadata-document-cache.ts'
import { createRegistrations } from '../src/oauth/clients/registrations.ts'
import type { Registrations } from '../src/oauth/clients/registrations.ts'
import { createWrongSecretLimit } from '../src/oauth/clients/wrong-secret-limit.ts'
import { createPendingConsents } from '../src/oauth/endpoints/consent.ts'
import { supportedGrantTypes } from '../src/oauth/endpoints/token.ts'
import { createBroker } from '../src/oauth/modes/broker/broker.ts'
import type { Broker } from '../src/oauth/modes/broker/broker.ts'
import { createProxy } from '../src/oauth/modes/proxy/proxy.ts'
import type { PolicyRequirements } from '../src/policy/requirements.ts'
import type { StepName } from '../src/trace/step.ts'
import { createTrustedIssuers } from '../src/workloads/trusted-issuers.ts'
import type { TrustedIssuers } from '../src/workloads/trusted-issuers.ts'

export interface OauthProxyOptions {
  /** Fetches client metadata documents. */
  fetchDocument: FetchPublicDocument
  /** Scopes and claims that the policies of tools, prompts and resources need. */
  requirements: PolicyRequirements
  /** Shortest time between fetches of a client's keys that unknown keys force; 5 seconds by default. */
  forcedKeyRefreshMs?: number | undefined
}

const PROXY_LIMITS = 'OAUTH_MODE=proxy hands out the provider\'s own access tokens: Seed cannot end a sign-in at the ' +
  'provider, cannot tell MCP clients apart on /mcp, and cannot bind the sign-in to the browser that allowed it. ' +
  'OAUTH_MODE=broker can (docs/security.md)'

/** The OAuth authorization server that MCP clients see, in either mode. */
async function oauthProxy (
  app: FastifyInstance, { fetchDocument, requirements, forcedKeyRefreshMs }: OauthProxyOptions
): Promise<void> {
  const { config, store, findKeyring, rateLimits, traces, log } = app
  const { baseUrl, basePath, endpoints, oauth: { redirectUriSchemes, ...oauth } } = config
  const documents = createMetadataDocuments({ ...oauth.metadataDocuments, fetchDocument, redirectUriSchemes, log })
  const registrations = createRegistrations({ store, ttlSeconds: oauth.registration.clientTtlSeconds, findKeyring })
  const configured = oauth.configuredClients
  const clients = createClients({ registrations, configured, documents, redirectUriSchemes })
  const keySets = createClientKeySets({ configured, log, forcedRefreshMs: forcedKeyRefreshMs })
  const trustedIssuers = createWorkloadIssuers(app, forcedKeyRefreshMs)
  const { mode, broker, tokenKeys } = createMode(app, { clients, requirements, trustedIssuers })
  const server = {
    baseUrl,
    endpoints,
    scopes: config.oidc.scopes,
    toolScopes: requirements.scopes,
    redirectUriSchemes,
    names: config.server
  }

  const fetchers = [documents, keySets, ...(trustedIssuers === undefined ? [] : [trustedIssuers])]
  app.addHook('onReady', async () => { for (const fetcher of fetchers) fetcher.start() })
  app.addHook('onClose', async () => { for (const fetcher of fetchers) fetcher.close() })
  app.addHook('onRequest', createHostCheck(config, rateLimits.countRefused))

  await app.register(async (scope) => {
    scope.addHook('onRequest', rateLimits.byAddressLocally('documents', { factor: 10 }))
    await scope.register(wellKnownRoutes, {
      ...server,
      mode: oauth.mode,
      grantTypes: supportedGrantTypes(mode.tokenIssuer),
      acceptsIdentityAssertions: mode.tokenIssuer.jwtBearer !== undefined,
      secretMethods: secretMethods(oauth.configuredClients),
      accessTokenIssuers: oauth.accessTokenIssuers,
      acrValues: () => supportedLevels(app),
      documents,
      tokenKeys
    })
  }, { prefix: '/.well-known' })

  /** Mounts an endpoint under each of its paths. They share one limit for each address. */
  async function mount (
    parent: FastifyInstance,
    endpoint: StepName,
    paths: string[],
    register: (scope: FastifyInstance) => Promise<unknown>
  ): Promise<void> {
    for (const prefix of paths) {
      await parent.register(async (scope) => {
        traceSteps(scope, endpoint, traces)
        scope.addHook('onRequest', rateLimits.byAddress(endpoint))
        await register(scope)
      }, { prefix })
    }
  }

  const requesterOf = (endpoint: string) => createRequesterOf(rateLimits.byKey(`${endpoint}:client`, {
    max: oauth.limits.perClient, windowSeconds: 60, setting: 'OAUTH_LIMIT_PER_CLIENT'
  }))

  // Paths without /oauth serve clients of revision 2025-03-26, which read no metadata.
  await app.register(async (pages) => {
    const services = {
      ...server,
      clients,
      signIn: mode.signIn,
      isEnterpriseOnly: oauth.enterpriseAuthorization === 'only',
      consents: createPendingConsents({ store, findKeyring, maxPerAddress: oauth.limits.perAddress }),
      cookies: createCookies(config),
      responseIssuer: oauth.mode === 'broker' ? baseUrl : undefined
    }
    await serveBrowserPages(pages)
    await mount(pages, 'authorize', ['/oauth/authorize', '/authorize'], async (scope) => {
      await scope.register(authorizeRoutes, {
        ...services,
        requesterOf: requesterOf('authorize'),
        providerScopes: alwaysRequestedScopes(config),
        consentPath: `${basePath}/oauth/consent`,
        connectionsPath: broker?.connections && `${basePath}${CONNECTIONS_PATH}`
      })
    })
    await mount(pages, 'consent', ['/oauth/consent'], async (scope) => {
      await scope.register(consentRoutes, services)
    })
    if (broker !== undefined) {
      await mount(pages, 'callback', ['/oauth/callback'], async (scope) => {
        await scope.register(callbackRoutes, { ...broker, cookies: services.cookies, baseUrl })
      })
    }
    if (!oauth.showConnectionsPage) return
    await mount(pages, 'connections', [CONNECTIONS_PATH], async (scope) => {
      scope.setErrorHandler(connectionsErrorHandler)
      await registerConnections(app, scope, { broker, registrations, cookies: services.cookies })
    })
  })

  await app.register(async (backChannel) => {
    const wrongSecrets = createWrongSecretLimit({ store, max: oauth.limits.perAddress, log })
    const services = { ...server, clients, keySets, store, wrongSecrets }
    await serveBackChannel(backChannel, { body: 'form' })
    await mount(backChannel, 'token', ['/oauth/token', '/token'], async (scope) => {
      await allowAnyOrigin(scope)
      await scope.register(tokenRoutes, {
        ...services,
        tokenIssuer: mode.tokenIssuer,
        issuerOfTokens: oauth.mode === 'proxy' ? config.oidc.issuer : undefined,
        requesterOf: requesterOf('token'),
        traces
      })
    })
    await mount(backChannel, 'revoke', ['/oauth/revoke', '/revoke'], async (scope) => {
      await allowAnyOrigin(scope)
      await scope.register(revokeRoutes, {
        ...services, tokenRevoker: mode.tokenRevoker, requesterOf: requesterOf('revoke')
      })
    })
    await registerLogout(app, backChannel, mode)
  })
}

interface ConnectionsServices {
  broker: Broker | undefined
  registrations: Registrations
  cookies: Cookies
}

/** `acr_values_supported` of the provider; undefined before it is discovered, or if it lists none. */
function supportedLevels ({ oidc: { provider } }: FastifyInstance): readonly string[] | undefined {
  return provider.problem() === undefined ? provider.metadata().acrValues : undefined
}

/** The page /connections. In proxy mode it says who can do that instead. */
async function registerConnections (
  { config, store, mcpLimits: { openStreams }, rateLimits }: FastifyInstance,
  scope: FastifyInstance,
  { broker, registrations, cookies }: ConnectionsServices
): Promise<void> {
  if (broker?.connections === undefined) {
    await scope.register(connectionsInProxyModeRoutes, { issuer: config.oidc.issuer })
    return
  }
  await scope.register(connectionsRoutes, {
    connections: broker.connections,
    activity: createConnectionActivity({ config, store, registrations, openStreams }),
    cookies,
    limitPerson: rateLimits.byKey('connections:person', {
      max: config.oauth.limits.perAddress, windowSeconds: 60, setting: 'OAUTH_LIMIT_PER_ADDRESS'
    }),
    server: {
      baseUrl: config.baseUrl,
      basePath: config.basePath,
      title: config.server.title,
      accessTokenSeconds: config.oauth.grant.accessTokenTtlSeconds
    }
  })
}

/** All logout tokens come from the provider's address, so only refused ones are limited. */
async function registerLogout (
  app: FastifyInstance, scope: FastifyInstance, { revokeFor }: Pick<LogoutRouteOptions, 'revokeFor'>
): Promise<void> {
  const { config: { oidc: provider, token: { clockSkewSeconds }, oauth: { limits } }, store, oidc, rateLimits } = app
  const limitByKey = rateLimits.byKey('backchannel-logout:refused', {
    max: limits.perAddress, windowSeconds: 60, setting: 'OAUTH_LIMIT_PER_ADDRESS'
  })
  await scope.register(backchannelLogoutRoutes, {
    prefix: '/oauth/backchannel-logout',
    store,
    logoutTokens: { ...provider, clockSkewSeconds, getKey: oidc.jwks.getKey },
    revokeFor,
    limitRefused: async (request) => { await limitByKey(request, clientAddressKey(request.ip)) }
  })
}

/** The methods with a secret that clients of OAUTH_CLIENTS use. */
function secretMethods (clients: Config['oauth']['configuredClients']): string[] {
  const used = new Set(clients.map(({ authMethod }) => authMethod))
  return [...used].filter((method) => method.startsWith('client_secret_')).sort()
}

/** Broker mode needs all of OIDC_SCOPES itself, for access rules and policies; some providers always need them. */
function alwaysRequestedScopes ({ oauth: { mode }, oidc: { preset, scopes } }: Config): readonly string[] {
  return mode === 'broker' || preset.alwaysAllScopes ? scopes : []
}

/** The issuers whose tokens workloads may bring to the token endpoint; undefined if there are none. */
function createWorkloadIssuers (
  { config: { oauth, token }, log }: FastifyInstance, forcedRefreshMs: number | undefined
): TrustedIssuers | undefined {
  const issuers = oauth.trustedIssuers.filter(({ accessTokens }) => !accessTokens)
  if (issuers.length === 0) return undefined
  // TOKEN_MAX_LIFETIME_SECONDS is about access tokens: those that workloads bring live for an hour at most.
  return createTrustedIssuers({ clockSkewSeconds: token.clockSkewSeconds, issuers, log, forcedRefreshMs })
}

interface ModeServices {
  clients: Clients
  requirements: PolicyRequirements
  trustedIssuers: TrustedIssuers | undefined
}

/** The mode of OAUTH_MODE, and the keys that sign its access tokens. */
function createMode (app: FastifyInstance, { clients, requirements, trustedIssuers }: ModeServices) {
  const { config, store, findKeyring, signingKeys, oidc, accessTokens: { verifier, revocations }, log, audit } = app
  const provider = oidc.provider.metadata
  const verifyAccessToken = verifier.verify
  if (config.oauth.mode === 'proxy') {
    log.warn({ event: 'config.proxy_mode_limits' }, PROXY_LIMITS)
    const { tokenClient: upstream } = oidc
    return {
      mode: createProxy({ config, store, findKeyring, upstream, revocations, verifyAccessToken, log, audit }),
      broker: undefined,
      tokenKeys: () => ({ jwksUri: provider().jwksUri, algorithms: config.oidc.algorithms })
    }
  }
  const broker = createBroker({
    config,
    requirements,
    store,
    keyring: app.keyring,
    signingKeys,
    revocations,
    grantServices: app.grantServices,
    clients,
    trustedIssuers,
    getKey: oidc.jwks.getKey,
    verifyAccessToken,
    log
  })
  return {
    mode: broker,
    broker,
    tokenKeys: () => ({ jwksUri: `${config.baseUrl}/.well-known/jwks.json`, algorithms: ['ES256'] })
  }
}

export default fp(oauthProxy, {
  name: 'oauth-proxy',
  dependencies: ['audit', 'rate-limit', 'mcp-limits', 'oidc-discovery', 'jwt-auth'],
  encapsulate: true,
  fastify: '5.x'
})
