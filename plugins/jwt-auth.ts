import type { FastifyInstance, FastifyReply, FastifyRequest, HookHandlerDoneFunction } from 'fastify'
import fp from 'fastify-plugin'
import type { Config } from '../src/config/config.ts'
import { hasAccessRules } from '../src/config/endpoints.ts'
import { readBearerToken } from '../src/http/bearer.ts'
import { requireAuthDeclaration } from '../src/http/route-auth.ts'
import { checkAccess, endpointRules } from '../src/tokens/access-rules.ts'
import { GRANT_TYPE_CLAIM, KIND_CLAIM } from '../src/tokens/principal.ts'
import type { Principal } from '../src/tokens/principal.ts'
import {
  MAX_OWN_LIFETIME_SECONDS, clientKey, createRevocations, grantKey, markTtlSeconds, sidKey, subjectKey,
  subjectWithoutSidKey, tokenKey, withoutGrantKey
} from '../src/tokens/revocations.ts'
import type { Revocations } from '../src/tokens/revocations.ts'
import { createServiceTokens } from '../src/tokens/service-tokens.ts'
import type { VerifyServiceToken } from '../src/tokens/service-tokens.ts'
import { OtherEndpointError } from '../src/tokens/token-error.ts'
import { createVerifier } from '../src/tokens/access-token-verifier.ts'
import type { Verifier } from '../src/tokens/access-token-verifier.ts'
import type { IssuerKeysOptions } from '../src/workloads/issuer-keys.ts'
import { createTrustedIssuers } from '../src/workloads/trusted-issuers.ts'

declare module 'fastify' {
  interface FastifyInstance {
    /** The access tokens that /mcp accepts: Seed's own and those of services in broker mode, or else the provider's. */
    accessTokens: AccessTokens
  }
  interface FastifyRequest {
    /** The verified caller; undefined on public routes and with AUTH_REQUIRED=false. */
    principal: Principal | undefined
  }
}

interface AccessTokens {
  verifier: Verifier
  revocations: Revocations
}

export interface JwtAuthOptions {
  /** Shortest time between fetches of keys of other issuers that unknown keys force. */
  forcedKeyRefreshMs?: number | undefined
}

/** Verifies the bearer token of each route that declares `auth: 'bearer'`, before the body is read. */
async function jwtAuth (app: FastifyInstance, { forcedKeyRefreshMs }: JwtAuthOptions): Promise<void> {
  const accessTokens = createAccessTokens(app, forcedKeyRefreshMs)
  app.decorate('accessTokens', accessTokens)
  app.decorateRequest('principal', undefined)
  const { telemetry } = app
  if (telemetry !== undefined) accessTokens.revocations.onRevoked((revoked) => { if (revoked) telemetry.revoked() })
  app.addHook('onRoute', requireAuthDeclaration(createBearerCheck))
  app.oidc.onKeysChanged(() => { accessTokens.verifier.clearCache() })

  function createBearerCheck (resource: string) {
    return function verifyBearer (request: FastifyRequest, _reply: FastifyReply, done: HookHandlerDoneFunction): void {
      try {
        const token = readBearerToken(request.raw)
        const verified = accessTokens.verifier.verify(token)
        // Only a token seen for the first time takes a promise: it would cost every request.
        if (verified instanceof Promise) {
          verified.then((principal) => {
            checkResource(principal, resource)
            request.principal = principal
            app.traces.noteUse(token, principal.claims['iat'] as number, request.id)
          }).then(() => { done() }, done)
          return
        }
        checkResource(verified, resource)
        request.principal = verified
      } catch (err) {
        done(err as Error)
        return
      }
      done()
    }
  }
}

/** Refuses a token for another endpoint. @throws OtherEndpointError */
function checkResource (principal: Principal, resource: string): void {
  if (principal.resource !== resource) throw new OtherEndpointError(principal.resource, resource)
}

function createAccessTokens (app: FastifyInstance, forcedRefreshMs: number | undefined): AccessTokens {
  const revocations = createRevocations(app.store, markTtlSeconds(app.config.token.maxLifetimeSeconds))
  const verifier = app.config.oauth.mode === 'broker'
    ? createOwnVerifier(app, { revocations, forcedRefreshMs })
    : createProviderVerifier(app, revocations)
  return { verifier, revocations }
}

/** Broker mode: the tokens are Seed's own, and those of services of TRUSTED_ISSUERS with `access_tokens`. */
function createOwnVerifier (
  app: FastifyInstance,
  { revocations, forcedRefreshMs }: { revocations: Revocations, forcedRefreshMs: number | undefined }
): Verifier {
  const { config, signingKeys } = app
  const verifier = createVerifier({
    ...config.token,
    maxLifetimeSeconds: MAX_OWN_LIFETIME_SECONDS,
    issuer: config.baseUrl,
    tenants: [],
    audiences: config.endpoints.map(({ resource }) => resource),
    resourceOf: resourceReader(config),
    checkAccess: createEndpointAccessCheck(config),
    algorithms: ['ES256'],
    groupsClaim: 'groups',
    groupPaths: false,
    areOwn: true,
    getKey: (header) => signingKeys.getKey(header),
    verifyServiceToken: createServiceTokenCheck(app, { forcedRefreshMs, onChange: () => { verifier.clearCache() } }),
    revocation: {
      ...revocations,
      keys: ({ grant: grantId, sub, client_id: clientId, [GRANT_TYPE_CLAIM]: grantType, [KIND_CLAIM]: kind }) => {
        const owners = [subjectKey(String(sub)), clientKey(String(clientId))]
        // Only tokens of people who signed in have neither claim, and only these have a grant.
        const hasGrant = grantType === undefined && kind === undefined
        return [grantKey(String(grantId)), ...owners, ...(hasGrant ? [] : owners.map(withoutGrantKey))]
      }
    }
  })
  return verifier
}

/** Returns the check of access tokens of other issuers; undefined where none may be used at /mcp. */
function createServiceTokenCheck (
  app: FastifyInstance, keys: Pick<IssuerKeysOptions, 'forcedRefreshMs' | 'onChange'>
): VerifyServiceToken | undefined {
  const { config: { oauth: { trustedIssuers: issuers, accessTokenIssuers }, token, access }, log } = app
  if (accessTokenIssuers.length === 0) return undefined
  const trustedIssuers = createTrustedIssuers({ ...token, ...keys, issuers, accessTokens: token, log })
  app.addHook('onReady', async () => { trustedIssuers.start() })
  app.addHook('onClose', async () => { trustedIssuers.close() })
  return createServiceTokens({
    issuers: accessTokenIssuers, verify: trustedIssuers.verify, access, resourceOf: resourceReader(app.config)
  })
}

/** Proxy mode: the tokens are the provider's. */
function createProviderVerifier ({ config, oidc: { jwks } }: FastifyInstance, revocations: Revocations): Verifier {
  const { oidc, token, access } = config
  const groups = { groupsClaim: oidc.groupsClaim, groupPaths: oidc.preset.groupPaths }
  return createVerifier({
    ...oidc,
    ...token,
    ...groups,
    audiences: [oidc.audience],
    resourceOf: () => config.resource,
    accessTokenClaims: oidc.preset.accessTokenClaims,
    getKey: jwks.getKey,
    revocation: {
      ...revocations,
      keys: (claims, jwt) => [
        tokenKey(jwt),
        subjectKey(String(claims['sub'])),
        typeof claims['sid'] === 'string' ? sidKey(claims['sid']) : subjectWithoutSidKey(String(claims['sub']))
      ]
    },
    checkAccess: ({ claims }) => {
      checkAccess(claims, { ...access, ...groups })
      checkAccess(claims, endpointRules(config.endpoints[0]!, { ...access, ...groups }))
    }
  })
}

/**
 * Returns the function that reads from the claims of a verified token which endpoint it is for. The tokens of other
 * issuers have an audience that the operator chose; one that is no endpoint means /mcp.
 */
function resourceReader ({ endpoints, resource: main }: Config) {
  const resources = endpoints.map(({ resource }) => resource)
  return ({ aud }: { aud?: string | string[] | undefined }): string =>
    resources.find((resource) => [aud].flat().includes(resource)) ?? main
}

/**
 * Returns the check of the endpoints' own access rules; undefined if none has any. Seed's own tokens, and those of
 * services, have the claims that these rules need.
 */
function createEndpointAccessCheck ({ endpoints, access }: Config): ((principal: Principal) => void) | undefined {
  const general = { ...access, groupsClaim: 'groups', groupPaths: false }
  const guarded = endpoints.filter(hasAccessRules)
  if (guarded.length === 0) return undefined
  const rulesOf = new Map(guarded.map((endpoint) => [endpoint.resource, endpointRules(endpoint, general)]))
  return ({ claims, resource }) => {
    const rules = rulesOf.get(resource!)
    if (rules !== undefined) checkAccess(claims, rules)
  }
}

export default fp(jwtAuth, {
  name: 'jwt-auth', dependencies: ['telemetry', 'keyring', 'sign-in-traces', 'oidc-discovery'], fastify: '5.x'
})
