import type { FastifyInstance, FastifyReply, FastifyRequest, HookHandlerDoneFunction } from 'fastify'
import fp from 'fastify-plugin'
import { readBearerToken } from '../src/http/bearer.ts'
import { requireAuthDeclaration } from '../src/http/route-auth.ts'
import { checkAccess } from '../src/tokens/access-rules.ts'
import type { Principal } from '../src/tokens/principal.ts'
import { createRevocations, grantKey, sidKey, subjectKey, tokenKey } from '../src/tokens/revocations.ts'
import type { Revocations } from '../src/tokens/revocations.ts'
import { createSigningKeys } from '../src/tokens/signing-keys.ts'
import type { SigningKeys } from '../src/tokens/signing-keys.ts'
import { createVerifier } from '../src/tokens/verifier.ts'
import type { Verifier } from '../src/tokens/verifier.ts'

declare module 'fastify' {
  interface FastifyInstance {
    /** The access tokens that /mcp accepts: Seed's own in broker mode, the provider's in proxy mode. */
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
  /** Sign Seed's own tokens; published in broker mode only. */
  signingKeys: SigningKeys
}

/** Seed's own tokens live as long as ACCESS_TOKEN_TTL says; this is its largest value. */
const MAX_OWN_LIFETIME_SECONDS = 86_400

/** Verifies the bearer token of each route that declares `auth: 'bearer'`, before the body is read. */
async function jwtAuth (app: FastifyInstance): Promise<void> {
  const accessTokens = createAccessTokens(app)
  app.decorate('accessTokens', accessTokens)
  app.decorateRequest('principal', undefined)
  app.addHook('onRoute', requireAuthDeclaration(verifyBearer))
  app.oidc.onKeysChanged(() => { accessTokens.verifier.clearCache() })

  function verifyBearer (request: FastifyRequest, _reply: FastifyReply, done: HookHandlerDoneFunction): void {
    try {
      const verified = accessTokens.verifier.verify(readBearerToken(request.raw))
      // Only a token seen for the first time takes a promise: it would cost every request.
      if (verified instanceof Promise) {
        verified.then((principal) => {
          request.principal = principal
          done()
        }, done)
        return
      }
      request.principal = verified
    } catch (err) {
      done(err as Error)
      return
    }
    done()
  }
}

function createAccessTokens ({ config, store, keyring, oidc: { jwks } }: FastifyInstance): AccessTokens {
  const { oidc, token, access, oauth } = config
  const signingKeys = createSigningKeys(keyring)
  if (oauth.mode === 'broker') {
    const revocations = createRevocations(store, oauth.grant.accessTokenTtlSeconds + 2 * token.clockSkewSeconds)
    const verifier = createVerifier({
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
    return { verifier, revocations, signingKeys }
  }

  const revocations = createRevocations(store, token.maxLifetimeSeconds + 2 * token.clockSkewSeconds)
  const groups = { groupsClaim: oidc.groupsClaim, groupPaths: oidc.preset.groupPaths }
  const verifier = createVerifier({
    ...oidc,
    ...token,
    ...groups,
    getKey: jwks.getKey,
    revocation: {
      ...revocations,
      keys: ({ sub, sid }, digest) => [
        tokenKey(digest), subjectKey(String(sub)), ...(typeof sid === 'string' ? [sidKey(sid)] : [])
      ]
    },
    checkAccess: (claims) => { checkAccess(claims, { ...access, ...groups }) }
  })
  return { verifier, revocations, signingKeys }
}

export default fp(jwtAuth, { name: 'jwt-auth', dependencies: ['keyring', 'oidc-discovery'], fastify: '5.x' })
