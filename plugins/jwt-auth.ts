import type { FastifyInstance, FastifyReply, FastifyRequest, HookHandlerDoneFunction } from 'fastify'
import fp from 'fastify-plugin'
import { readBearerToken } from '../src/http/bearer.ts'
import { requireAuthDeclaration } from '../src/http/route-auth.ts'
import { checkAccess } from '../src/tokens/access-rules.ts'
import { GRANT_TYPE_CLAIM } from '../src/tokens/principal.ts'
import type { Principal } from '../src/tokens/principal.ts'
import {
  MAX_OWN_LIFETIME_SECONDS, clientKey, createRevocations, grantKey, markTtlSeconds, sidKey, subjectKey,
  subjectWithoutSidKey, tokenKey, withoutGrantKey
} from '../src/tokens/revocations.ts'
import type { Revocations } from '../src/tokens/revocations.ts'
import { createSigningKeys } from '../src/tokens/signing-keys.ts'
import type { SigningKeys } from '../src/tokens/signing-keys.ts'
import { createVerifier } from '../src/tokens/access-token-verifier.ts'
import type { Verifier } from '../src/tokens/access-token-verifier.ts'

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

/** Verifies the bearer token of each route that declares `auth: 'bearer'`, before the body is read. */
async function jwtAuth (app: FastifyInstance): Promise<void> {
  const accessTokens = createAccessTokens(app)
  app.decorate('accessTokens', accessTokens)
  app.decorateRequest('principal', undefined)
  const { telemetry } = app
  if (telemetry !== undefined) accessTokens.revocations.onRevoked((revoked) => { if (revoked) telemetry.revoked() })
  app.addHook('onRoute', requireAuthDeclaration(verifyBearer))
  app.oidc.onKeysChanged(() => { accessTokens.verifier.clearCache() })

  function verifyBearer (request: FastifyRequest, _reply: FastifyReply, done: HookHandlerDoneFunction): void {
    try {
      const token = readBearerToken(request.raw)
      const verified = accessTokens.verifier.verify(token)
      // Only a token seen for the first time takes a promise: it would cost every request.
      if (verified instanceof Promise) {
        verified.then((principal) => {
          request.principal = principal
          app.traces.noteUse(token, principal.claims['iat'] as number, request.id)
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
  const revocations = createRevocations(store, markTtlSeconds(token.maxLifetimeSeconds))
  if (oauth.mode === 'broker') {
    const verifier = createVerifier({
      ...token,
      maxLifetimeSeconds: MAX_OWN_LIFETIME_SECONDS,
      issuer: config.baseUrl,
      tenants: [],
      audience: config.resource,
      algorithms: ['ES256'],
      groupsClaim: 'groups',
      groupPaths: false,
      areOwn: true,
      getKey: (header) => signingKeys.getKey(header),
      revocation: {
        ...revocations,
        keys: ({ grant: grantId, sub, client_id: clientId, [GRANT_TYPE_CLAIM]: grantType }) => {
          const owners = [subjectKey(String(sub)), clientKey(String(clientId))]
          // Only tokens of other grant types than authorization_code name it, and these have no grant.
          return [
            grantKey(String(grantId)), ...owners, ...(grantType === undefined ? [] : owners.map(withoutGrantKey))
          ]
        }
      }
    })
    return { verifier, revocations, signingKeys }
  }

  const groups = { groupsClaim: oidc.groupsClaim, groupPaths: oidc.preset.groupPaths }
  const verifier = createVerifier({
    ...oidc,
    ...token,
    ...groups,
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
    checkAccess: (claims) => { checkAccess(claims, { ...access, ...groups }) }
  })
  return { verifier, revocations, signingKeys }
}

export default fp(jwtAuth, {
  name: 'jwt-auth', dependencies: ['telemetry', 'keyring', 'sign-in-traces', 'oidc-discovery'], fastify: '5.x'
})
