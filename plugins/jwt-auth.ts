import { BearerError } from '../src/errors/bearer-error.ts'
import type { FastifyInstance, FastifyReply, FastifyRequest, HookHandlerDoneFunction } from 'fastify'
import fp from 'fastify-plugin'
import { readBearerToken } from '../src/http/bearer.ts'
import { checkAccess } from '../src/tokens/access-rules.ts'
import { createSigningKeys } from '../src/tokens/signing-keys.ts'
import type { SigningKeys } from '../src/tokens/signing-keys.ts'
import { createRevocations, grantKey, sidKey, subjectKey, tokenKey } from '../src/tokens/revocations.ts'
import type { Revocations } from '../src/tokens/revocations.ts'
import { createKeyring } from '../src/crypto/keyring.ts'
import type { Keyring } from '../src/crypto/keyring.ts'
import type { Principal } from '../src/tokens/principal.ts'
import { TokenError } from '../src/tokens/token-error.ts'
import { createVerifier } from '../src/tokens/verifier.ts'
import type { Verifier } from '../src/tokens/verifier.ts'

declare module 'fastify' {
  interface FastifyContextConfig {
    /** Every route says so: `bearer` needs a verified access token, `public` needs none. A route without it fails the boot. */
    auth?: 'bearer' | 'public'
  }
  interface FastifyInstance {
    /** The access tokens that /mcp takes: Seed's own in broker mode, otherwise the provider's. Undefined with AUTH_REQUIRED=false. */
    accessTokens: AccessTokens | undefined
  }
  interface FastifyRequest {
    /** The verified caller; undefined on public routes and with AUTH_REQUIRED=false. */
    principal: Principal | undefined
  }
}

/** Seed's own tokens are as short as ACCESS_TOKEN_TTL says, which can be no more than this. */
const MAX_OWN_LIFETIME_SECONDS = 86_400

interface AccessTokens {
  verifier: Verifier
  revocations: Revocations
  secrets: Keyring
  signingKeys: SigningKeys
}

/** Puts the bearer check on each route that declares it, before the body is read. Secure by default: see FastifyContextConfig.auth. */
async function jwtAuth (app: FastifyInstance): Promise<void> {
  const accessTokens = app.oidc === undefined ? undefined : createAccessTokens(app)
  app.decorate('accessTokens', accessTokens)
  app.decorateRequest('principal', undefined)

  function verifyBearer (request: FastifyRequest, _reply: FastifyReply, done: HookHandlerDoneFunction): void {
    if (accessTokens === undefined) {
      done()
      return
    }
    try {
      const principal = accessTokens.verifier.verify(readBearerToken(request.raw))
      if (principal instanceof Promise) {
        principal.then((principal) => {
          request.principal = principal
          done()
        }, (err: unknown) => { done(err instanceof TokenError ? new BearerError(err.reason, err.message, err.detail) : err as Error) })
        return
      }
      request.principal = principal
    } catch (err) {
      done(err as Error)
      return
    }
    done()
  }

  app.addHook('onRoute', (route) => {
    if (route.method === 'OPTIONS') return
    const auth = route.config?.auth
    if (auth === undefined) throw new Error(`Route ${String(route.method)} ${route.url} must declare config.auth: 'bearer' or 'public'`)
    if (auth === 'bearer') route.onRequest = [verifyBearer, ...[route.onRequest ?? []].flat()]
  })
}

function createAccessTokens (app: FastifyInstance): AccessTokens {
  const { config } = app
  const { oidc, token, access, oauth, secrets: { current, previous } } = config
  const broker = oauth.mode === 'broker'
  const longestLife = broker ? oauth.grant.accessTokenTtlSeconds : token.maxLifetimeSeconds
  const revocations = createRevocations(app.store, longestLife + 2 * token.clockSkewSeconds)
  const secrets = createKeyring(current, previous)
  const signingKeys = createSigningKeys(secrets)
  if (broker && current === undefined) {
    app.log.warn('SEED_SECRET is not set: keys are made anew at each start, and everybody must sign in again after it')
  }
  const verifier = broker
    ? createVerifier({
      ...token,
      maxLifetimeSeconds: MAX_OWN_LIFETIME_SECONDS,
      issuer: config.baseUrl,
      tenants: [],
      audience: config.resource,
      algorithms: ['ES256'],
      groupsClaim: 'groups',
      groupPaths: false,
      getKey: (header) => signingKeys.getKey(header),
      revocation: { ...revocations, keys: ({ grant: grantId }) => [grantKey(String(grantId))] }
    })
    : createVerifier({
      ...oidc,
      ...token,
      groupPaths: oidc.preset.groupPaths,
      getKey: app.oidc!.jwks.getKey,
      revocation: {
        ...revocations,
        keys: ({ sub, sid }, digest) => [tokenKey(digest), subjectKey(String(sub)), ...(typeof sid === 'string' ? [sidKey(sid)] : [])]
      },
      checkAccess: (claims) => { checkAccess(claims, { ...access, groupsClaim: oidc.groupsClaim, groupPaths: oidc.preset.groupPaths }) }
    })
  app.oidc!.onKeysChanged(() => { verifier.clearCache() })
  return { verifier, revocations, secrets, signingKeys }
}

export default fp(jwtAuth, { name: 'jwt-auth', dependencies: ['redis', 'oidc-discovery'], fastify: '5.x' })
