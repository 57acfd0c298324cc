import type { FastifyInstance, FastifyRequest } from 'fastify'
import fp from 'fastify-plugin'
import { BearerError, readBearerToken } from '../src/http/bearer.ts'
import type { Principal } from '../src/oidc/principal.ts'
import { TokenError } from '../src/oidc/verifier.ts'

declare module 'fastify' {
  interface FastifyContextConfig {
    /** Every route says so: `bearer` needs a verified access token, `public` needs none. A route without it fails the boot. */
    auth?: 'bearer' | 'public'
  }
  interface FastifyRequest {
    /** The verified caller; undefined on public routes and with AUTH_REQUIRED=false. */
    principal: Principal | undefined
  }
}

/** Puts the bearer check on each route that declares it, before the body is read. Secure by default: see FastifyContextConfig.auth. */
async function jwtAuth (app: FastifyInstance): Promise<void> {
  const verifier = app.oidc?.verifier
  app.decorateRequest('principal', undefined)

  async function verifyBearer (request: FastifyRequest): Promise<void> {
    if (verifier === undefined) return
    try {
      request.principal = await verifier.verify(readBearerToken(request.raw))
    } catch (err) {
      throw err instanceof TokenError ? new BearerError(err.reason, err.message, err.detail) : err
    }
  }

  app.addHook('onRoute', (route) => {
    if (route.method === 'OPTIONS') return
    const auth = route.config?.auth
    if (auth === undefined) throw new Error(`Route ${String(route.method)} ${route.url} must declare config.auth: 'bearer' or 'public'`)
    if (auth === 'bearer') route.onRequest = [verifyBearer, ...[route.onRequest ?? []].flat()]
  })
}

export default fp(jwtAuth, { name: 'jwt-auth', dependencies: ['oidc-discovery'], fastify: '5.x' })
