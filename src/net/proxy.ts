import type { Dispatcher } from 'undici'
import { isLoopbackHost } from './addresses.ts'

/** HTTPS_PROXY, HTTP_PROXY and NO_PROXY, in upper or lower case. */
export interface ProxySettings {
  https: string | undefined
  http: string | undefined
  none: string | undefined
}

let proxiedFetch: typeof fetch | undefined
let proxyDispatcher: Dispatcher | undefined
let directDispatcher: Dispatcher | undefined

/**
 * Sends what `fetchByProxy` fetches through these proxies from now on, in the whole process, as the variables mean it.
 * Node.js does so by itself only from version 24 on, and only with NODE_USE_ENV_PROXY. undici is loaded only if a proxy
 * is set, as that takes some 50 ms.
 */
export async function useProxy ({ https = '', http = '', none = '' }: ProxySettings): Promise<void> {
  proxiedFetch = undefined
  proxyDispatcher = undefined
  if (https === '' && http === '') return
  // The bundle has the default export of a CommonJS module only.
  const { default: undici } = await import('undici')
  const dispatcher = new undici.EnvHttpProxyAgent({ httpsProxy: https, httpProxy: http, noProxy: none })
  proxyDispatcher = dispatcher
  const fetchThrough = undici.fetch as unknown as typeof fetch
  proxiedFetch = async (url, init) => await fetchThrough(url, { ...init, dispatcher } as unknown as RequestInit)
}

/** Fetches through the proxy, if one is set and the URL is not on this machine. */
export async function fetchByProxy (url: string | URL, init: RequestInit): Promise<Response> {
  return proxiedFetch === undefined || isLoopbackHost(new URL(url).hostname)
    ? await fetch(url, init)
    : await proxiedFetch(url, init)
}

/** Returns what sends requests to a URL, in the way of `fetchByProxy`. Loads undici, which takes some 50 ms. */
export async function dispatcherFor (url: string | URL): Promise<Dispatcher> {
  if (proxyDispatcher !== undefined && !isLoopbackHost(new URL(url).hostname)) return proxyDispatcher
  if (directDispatcher === undefined) {
    const { default: undici } = await import('undici')
    directDispatcher = new undici.Agent()
  }
  return directDispatcher
}

/** Returns a proxy's URL without user and password, for the log. */
export function withoutCredentials (url: string | undefined): string | undefined {
  return url === undefined ? undefined : new URL(url).origin
}
