import type { RouteOptions, onRequestHookHandler } from 'fastify'

declare module 'fastify' {
  interface FastifyContextConfig {
    /**
     * Every route declares it: `bearer` needs a verified access token, `public` needs none. A route without it fails
     * the boot.
     */
    auth?: 'bearer' | 'public'
  }
}

/**
 * Returns an onRoute hook that fails for a route without `config.auth` and puts `verifyBearer` first on each route
 * that declares `bearer`.
 */
export function requireAuthDeclaration (verifyBearer: onRequestHookHandler | undefined) {
  return function checkRoute (route: RouteOptions): void {
    if (route.method === 'OPTIONS') return
    const auth = route.config?.auth
    if (auth === undefined) {
      throw new Error(`Route ${String(route.method)} ${route.url} must declare config.auth: 'bearer' or 'public'`)
    }
    if (auth === 'bearer' && verifyBearer !== undefined) {
      route.onRequest = [verifyBearer, ...[route.onRequest ?? []].flat()]
    }
  }
}
