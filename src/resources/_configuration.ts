import type { Config } from '../config/config.ts'
import { VERSION } from '../config/version.ts'
import { defineResource } from '../define/resource.ts'
import type { ResourceDefinition } from '../define/resource.ts'

/** MCP revisions, newest first. */
const REVISIONS = ['2026-07-28', '2025-11-25', '2025-06-18', '2025-03-26', '2024-11-05']

/**
 * What anybody who can reach this server may know of how it is set up. It is made of the configuration that the process
 * has read, so it is handed over at start instead of being loaded from its file; each member is named here, so that a
 * setting that is added later stays private.
 */
export function createConfigurationResource ({ resource, baseUrl, authRequired, oauth, oidc, mcp: { tool, session, limits } }: Config): ResourceDefinition {
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
      protocolVersions: REVISIONS,
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
