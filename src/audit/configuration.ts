import type { Config } from '../config/config.ts'
import { VERSION } from '../config/version.ts'

/** A mounted MCP server: its URL's path and query may have a secret. */
interface MountDescription {
  name: string
  /** Absent for a process. */
  origin?: string
  command?: string
}

/** Returns what a server runs with, without secrets: an auditor sees when access rules or lifetimes have changed. */
export function describeConfiguration (config: Config, mounts: readonly MountDescription[] = []) {
  const { oidc, oauth } = config
  const { preset, clientSecret, clientKey, ...provider } = oidc
  const { configuredClients, ...authorizationServer } = oauth
  return {
    version: VERSION,
    node: process.version,
    baseUrl: config.baseUrl,
    host: config.host,
    port: config.port,
    trustProxy: config.trustProxy,
    allowedHosts: config.allowedHosts,
    corsExtraOrigins: config.corsExtraOrigins,
    logLevel: config.logLevel,
    server: config.server,
    audit: { arguments: config.audit.arguments, isChained: config.audit.chainKey !== undefined },
    authRequired: config.authRequired,
    oidc: { ...provider, preset: preset.name },
    token: config.token,
    oauth: { ...authorizationServer, configuredClients: configuredClients.map(({ id }) => id) },
    scopeHierarchy: config.scopeHierarchy,
    access: config.access,
    store: config.redis.url === undefined ? 'memory' : 'redis',
    extensions: config.extensions,
    mounts,
    mcp: config.mcp
  }
}
