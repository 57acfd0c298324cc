import type { RouteOptions, onRequestHookHandler } from 'fastify'

declare module 'fastify' {
  interface FastifyContextConfig {
    /**
     * Every route declares it: `bearer` needs a verified access token, `public` needs none. A route without it fails
     * the boot.
     */
    auth?: 'bearer' | 'public'
    /** For `bearer`: the MCP endpoint whose access tokens are accepted, as a resource identifier (RFC 8707). */
    resource?: string
  }
}

/**
 * Returns an onRoute hook that fails for a route without `config.auth`, and puts the check of access tokens first on
 * each route that declares `bearer`.
 *
 * @param createBearerCheck makes the check for a resource; undefined with AUTH_REQUIRED=false
 */
export function requireAuthDeclaration (createBearerCheck: ((resource: string) => onRequestHookHandler) | undefined) {
  return function checkRoute (route: RouteOptions): void {
    if (route.method === 'OPTIONS') return
    const { auth, resource } = route.config ?? {}
    if (auth === undefined) {
      throw new Error(`Route ${String(route.method)} ${route.url} must declare config.auth: 'bearer' or 'public'`)
    }
    if (auth !== 'bearer' || createBearerCheck === undefined) return
    if (resource === undefined) throw new Error(`Route ${route.url} must declare config.resource`)
    route.onRequest = [createBearerCheck(resource), ...[route.onRequest ?? []].flat()]
  }
}
