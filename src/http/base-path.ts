/**
 * Returns the function that finds the route of a URL where BASE_URL has a path. Routes are declared without it, so the
 * proxy in front may pass the path on, as the shipped configurations do, or strip it.
 *
 * Well-known documents are asked for with the path at their end (RFC 8414 section 3.1, RFC 9728 section 3.1).
 * `/health` is for probes of a single replica, and not served below the path: a proxy that passes the path on does not
 * make it public. No route has an escaped character, so a URL with one is left as it is. Otherwise an escape could name
 * /health.
 *
 * @param basePath such as `/seed`, or empty
 */
export function createRouteFinder (basePath: string): (url: string) => string {
  if (basePath === '') return (url) => url
  return (url) => {
    const queryAt = url.indexOf('?')
    const path = queryAt === -1 ? url : url.slice(0, queryAt)
    const route = path.includes('%') ? undefined : findRoute(path, basePath)
    return route === undefined ? url : `${route}${url.slice(path.length)}`
  }
}

function findRoute (path: string, basePath: string): string | undefined {
  const [document] = /^\/\.well-known\/[^/]+/.exec(path) ?? []
  if (document !== undefined) {
    const rest = stripPrefix(path.slice(document.length), basePath)
    return rest && `${document}${rest === '/' ? '' : rest}`
  }
  const route = stripPrefix(path, basePath)
  return route?.startsWith('/health') ? undefined : route
}

/** Returns the path below a prefix, `/` for the prefix itself; undefined for a path that is elsewhere. */
function stripPrefix (path: string, prefix: string): string | undefined {
  if (path === prefix) return '/'
  return path.startsWith(`${prefix}/`) ? path.slice(prefix.length) : undefined
}
