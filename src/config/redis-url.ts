/** The address and topology of Redis, as REDIS_URL says. */
export interface RedisAddress {
  topology: 'single' | 'sentinel' | 'cluster'
  tls: boolean
  /**
   * The server, the sentinels, or some nodes of the cluster, which know the others. IPv6 addresses have no brackets.
   */
  nodes: Array<{ host: string, port: number }>
  /** The user of the servers that hold data; sentinels have their own. */
  username: string | undefined
  password: string | undefined
  /** The number of the database; a cluster has only 0. */
  db: number
  /** The sentinels' name for the primary; empty without sentinels. */
  primaryName: string
}

const DEFAULT_PORT = { single: 6379, sentinel: 26379, cluster: 6379 }

const PATTERNS = {
  single: /^\/?(?<db>\d{0,5})$/,
  sentinel: /^\/(?<name>[\w.-]+)\/?(?<db>\d{0,5})$/,
  cluster: /^\/?$/
}

const EXAMPLES = {
  single: 'redis://:password@redis:6379/0 (or rediss:// for TLS)',
  sentinel: 'redis+sentinel://:password@sentinel-1:26379,sentinel-2:26379/mymaster/0 (or rediss+sentinel:// for TLS)',
  cluster: 'redis+cluster://:password@redis-1:6379,redis-2:6379 (or rediss+cluster:// for TLS)'
}

/**
 * Parses REDIS_URL. Its query is not read: other clients of Redis take options there, and Seed has its own settings.
 *
 * @throws Error with what the setting must be; it never repeats the password
 */
export function parseRedisUrl (url: string): RedisAddress {
  const [, scheme = '', rest = ''] = /^([a-z+]+):\/\/([^?#]*)/i.exec(url) ?? []
  const [, secure, kind = 'single'] = /^redis(s?)(?:\+(sentinel|cluster))?$/i.exec(scheme) ?? []
  if (secure === undefined) throw new Error(`must be a URL such as ${EXAMPLES.single}`)
  const topology = kind.toLowerCase() as RedisAddress['topology']

  const [, credentials, hosts = '', path = ''] = /^(?:([^/]*)@)?([^/]*)(.*)$/s.exec(rest)!
  const place = PATTERNS[topology].exec(path)
  const nodes = hosts.split(',').map((host) => parseHost(host, DEFAULT_PORT[topology]))
  const [username, password] = parseCredentials(credentials)
  if (place === null || nodes.includes(undefined) || username === null || (topology === 'single' && nodes.length > 1)) {
    throw new Error(`must be a URL such as ${EXAMPLES[topology]}`)
  }
  return {
    topology,
    tls: secure !== '',
    nodes: nodes.filter((node) => node !== undefined),
    username,
    password,
    db: Number(place.groups?.db ?? 0),
    primaryName: place.groups?.name ?? ''
  }
}

function parseHost (text: string, defaultPort: number): { host: string, port: number } | undefined {
  const match = /^(?:\[([\da-f:.]+)\]|([\w.-]+))(?::(\d{1,5}))?$/i.exec(text.trim()) ?? []
  const [, bracketed, name = bracketed, port = defaultPort] = match
  return name === undefined || Number(port) < 1 || Number(port) > 65535 ? undefined : { host: name, port: Number(port) }
}

/** Parses `user:password`, `:password` or nothing, percent-encoded. A user of null means a broken encoding. */
function parseCredentials (text = ''): [username: string | undefined | null, password: string | undefined] {
  const [, username, password] = /^([^:]*):?(.*)$/s.exec(text)!
  try {
    return [decodeURIComponent(username!) || undefined, decodeURIComponent(password!) || undefined]
  } catch {
    return [null, undefined]
  }
}
