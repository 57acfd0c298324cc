import type { Config } from '../config/config.ts'
import { VERSION } from '../config/version.ts'
import { defineResource } from '../define/resource.ts'
import type { ResourceDefinition } from '../define/resource.ts'

/**
 * The public part of the configuration, for anyone who can reach this server. It is made from the configuration that
 * the process has loaded, so it is no file of its own that the loader finds. Every member is named here, so that a
 * setting that is added later stays private.
 *
 * @param revisions the MCP revisions that the server speaks, newest first
 */
export function createConfigurationResource (config: Config, revisions: readonly string[]): ResourceDefinition {
  const { resource, baseUrl, authRequired, oauth, oidc, mcp: { tool, session, limits } } = config
  return defineResource({
    uri: 'seed://configuration',
    name: 'configuration',
    title: 'Public configuration',
    description: 'How this server is set up, as far as its callers may know: version, sign-in, scopes, limits.',
    mimeType: 'application/json',
    cache: { ttlSeconds: 300, scope: 'public' },
    read: () => ({
      server: 'seed',
      version: VERSION,
      resource,
      protocolVersions: revisions,
      signIn: authRequired
        ? { required: true, mode: oauth.mode, authorizationServer: baseUrl, provider: oidc.issuer, scopes: oidc.scopes }
        : { required: false },
      limits: {
        requestsPerMinute: limits.requestsPerPrincipal,
        callsAtOnce: limits.callsPerPrincipal,
        streamsAtOnce: limits.streamsPerPrincipal,
        sessions: session.maxPerPrincipal,
        toolTimeoutSeconds: tool.timeoutSeconds,
        inputTimeoutSeconds: tool.inputTimeoutSeconds
      }
    })
  })
}
