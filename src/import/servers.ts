import { isJsonObject } from './description.ts'
import type { ApiDescription } from './description.ts'
import type { Operation } from './operations.ts'

/**
 * Returns the URL of the server that most operations have, as the description writes it; empty if there is none. An
 * operation has its own servers, those of its path, or those of the description (OpenAPI 3.1, 4.8.5).
 */
export function commonServerOf (api: ApiDescription, operations: readonly Operation[]): string {
  const counts = new Map<string, number>()
  for (const operation of operations) {
    const [server = ''] = serversOf(api, operation)
    counts.set(server, (counts.get(server) ?? 0) + 1)
  }
  const [[server] = ['']] = [...counts].sort(([, one], [, other]) => other - one)
  return server
}

/** The server of an operation, if it is another than that of the client. */
export interface OtherServer {
  /** Empty for the server that the description comes from. */
  url: string
  /** Number of the server in the description, which is the same whatever operations are chosen. */
  number: number
}

/**
 * Returns the servers of those operations that are not at the server of the client, by their keys.
 *
 * @param operations all of the description
 */
export function otherServersOf (
  api: ApiDescription, operations: readonly Operation[], server: string
): Map<string, OtherServer> {
  const others = new Map<string, OtherServer>()
  const numbers = new Map<string, number>()
  for (const operation of operations) {
    const servers = serversOf(api, operation)
    const [url = ''] = servers
    const number = numbers.get(url) ?? numbers.size + 1
    numbers.set(url, number)
    if (url !== server && !servers.includes(server)) others.set(operation.key, { url, number })
  }
  return others
}

function serversOf ({ document }: ApiDescription, { operation, pathItem }: Operation): string[] {
  for (const { servers } of [operation, pathItem, document]) {
    const urls = (Array.isArray(servers) ? servers : []).filter(isJsonObject)
      .map(({ url }) => String(url).replace(/\/+$/, ''))
    if (urls.length > 0) return urls
  }
  return []
}

/**
 * Returns the URL of a server if it is a plain https one, and nothing of others: they need the setting. A relative one
 * starts at the address of the description, where that is known.
 */
export function toDefaultUrl ({ url }: ApiDescription, server: string): string {
  const absolute = url !== undefined && server.startsWith('/') && URL.canParse(server, url)
    ? new URL(server, url).href.replace(/\/+$/, '')
    : server
  return /^https:\/\/[\w.-]+(:\d+)?(\/[\w.~/-]*)?$/.test(absolute) && URL.canParse(absolute) ? absolute : ''
}
