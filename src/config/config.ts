import { deepFreeze } from '../json/deep-freeze.ts'
import { isLoopbackHost } from '../net/addresses.ts'
import { readConfiguredClients } from './clients.ts'
import type { ConfiguredClient } from './clients.ts'
import { JWT_BEARER } from '../oauth/protocol/grant-types.ts'
import type { EndpointsFile } from './endpoint-schema.ts'
import { toDomain, toEndpoints } from './endpoints.ts'
import { findPreset } from '../provider-presets/find-preset.ts'
import type { Env } from './schema.ts'
import { toInheritedVariables } from './inherited-variables.ts'
import type { Environment } from './variables.ts'
import { readTrustedIssuers } from './trusted-issuers.ts'
import { parseList, parsePairs } from './values.ts'

/** The configuration that Seed runs with: one frozen object. */
export type Config = ReturnType<typeof toConfig>

/**
 * Makes the configuration of settings that are valid (validate.ts).
 *
 * @param environment where the variables that other programs get come from
 * @param endpointsFile the content of the file of SEED_ENDPOINTS, if there is one
 */
export function toConfig (env: Env, endpointsFile: EndpointsFile = {}, environment: Environment = {}) {
  const baseUrl = baseUrlOf(env)
  const isLocal = isLoopbackHost(new URL(baseUrl).hostname)
  const otlpEndpoint = env.OTEL_SDK_DISABLED ? undefined : env.OTEL_EXPORTER_OTLP_ENDPOINT?.replace(/\/+$/, '')
  return deepFreeze({
    port: env.PORT,
    /** Loopback unless Seed is meant to be reached from elsewhere; `localhost` listens on both address families. */
    host: env.HOST ?? (isLocal || !env.AUTH_REQUIRED ? 'localhost' : '0.0.0.0'),
    /** The public URL, without a trailing slash. It is also the authorization server's issuer. */
    baseUrl,
    /** The path of BASE_URL, such as `/seed`; empty without one. */
    basePath: baseUrl.slice(new URL(baseUrl).origin.length),
    /** The resource identifier of the MCP endpoint (RFC 8707): the `resource` of every document and challenge. */
    resource: `${baseUrl}/mcp`,
    /** All MCP endpoints; the first one is `/mcp`. */
    endpoints: toEndpoints(endpointsFile, {
      baseUrl, scopes: parseList(env.OIDC_SCOPES, ' '), server: toEndpointNames(env)
    }),
    trustProxy: parseList(env.TRUST_PROXY),
    maxConnections: env.CONNECTIONS_TOTAL,
    allowedHosts: parseList(env.ALLOWED_HOSTS.toLowerCase()),
    corsExtraOrigins: parseList(env.CORS_EXTRA_ORIGINS),
    logLevel: env.LOG_LEVEL,
    server: toServerConfig(env),
    audit: {
      /** A file, `stdout` or `off`. */
      target: env.AUDIT_LOG,
      arguments: env.AUDIT_ARGUMENTS,
      redact: parseList(env.AUDIT_REDACT),
      chainKey: env.AUDIT_CHAIN_KEY
    },
    /** Proxies for requests to the provider. */
    proxy: {
      https: env.HTTPS_PROXY,
      http: env.HTTP_PROXY,
      none: env.NO_PROXY
    },
    metrics: {
      port: env.METRICS_PORT,
      /** Loopback, of the address family that HOST has. */
      host: env.METRICS_HOST ?? (env.HOST?.includes(':') ? '::1' : '127.0.0.1'),
      /** Without a trailing slash. */
      otlpEndpoint
    },
    tracing: {
      /** The URL that spans are sent to; undefined where requests are not traced. */
      endpoint: toTracesEndpoint(env, otlpEndpoint),
      sampler: env.OTEL_TRACES_SAMPLER,
      ratio: env.OTEL_TRACES_SAMPLER_ARG
    },
    shutdown: {
      delaySeconds: env.SHUTDOWN_DELAY_SECONDS,
      graceSeconds: env.SHUTDOWN_GRACE_SECONDS
    },
    authRequired: env.AUTH_REQUIRED,
    /** The generations of SEED_SECRET. */
    secrets: {
      current: env.SEED_SECRET,
      previous: env.SEED_SECRET_PREVIOUS
    },
    oidc: toOidcConfig(env),
    /** Checks of the access tokens that the provider issues. */
    token: {
      clockSkewSeconds: env.TOKEN_CLOCK_SKEW_SECONDS,
      maxLifetimeSeconds: env.TOKEN_MAX_LIFETIME_SECONDS
    },
    oauth: toOAuthConfig(env),
    /** Pairs of scopes; the wider one includes the narrower. */
    scopeHierarchy: parsePairs(env.SCOPE_HIERARCHY, '>'),
    access: toAccessConfig(env),
    redis: {
      url: env.REDIS_URL,
      keyPrefix: env.REDIS_KEY_PREFIX,
      sentinelPassword: env.REDIS_SENTINEL_PASSWORD,
      tlsCa: env.REDIS_TLS_CA
    },
    /** Folders, files and packages with tools, prompts and resources, besides those in src. */
    extensions: parseList(env.SEED_EXTENSIONS),
    /** The file with the mounted MCP servers; undefined without any. */
    mountsFile: env.SEED_MOUNTS,
    /** The variables that the processes of mounted servers get of Seed's environment. */
    inheritedVariables: toInheritedVariables(environment),
    mcp: toMcpConfig(env)
  })
}

/** The names of the server for clients, models and people. */
function toServerConfig (env: Env) {
  return {
    ...toEndpointNames(env),
    /** The path of an image. */
    icon: env.SERVER_ICON,
    website: env.SERVER_WEBSITE,
    policyUrl: env.SERVER_POLICY_URL,
    termsUrl: env.SERVER_TERMS_URL,
    operator: env.SERVER_OPERATOR,
    contact: env.SERVER_CONTACT,
    showHomePage: env.HOME_PAGE,
    /** Texts under /.well-known, by name. */
    wellKnownFiles: parsePairs(env.WELL_KNOWN_FILES, '=').map(([name, text]) => ({ name, text }))
  }
}

function toEndpointNames (env: Env) {
  return {
    name: env.SERVER_NAME,
    title: env.SERVER_TITLE,
    description: env.SERVER_DESCRIPTION,
    /** For the model. */
    instructions: env.SERVER_INSTRUCTIONS
  }
}

/** The company's OpenID provider, and Seed's own client there. */
function toOidcConfig (env: Env) {
  const issuer = env.OIDC_ISSUER ?? ''
  const preset = findPreset(env.OIDC_PROVIDER, issuer)
  return {
    preset,
    issuer,
    tenants: parseList(env.OIDC_TENANTS),
    audience: env.OIDC_AUDIENCE ?? '',
    /** Sent as `resource` (RFC 8707) to the provider. */
    resource: env.OIDC_RESOURCE,
    discoveryUrl: env.OIDC_DISCOVERY_URL ?? `${issuer.replace(/\/$/, '')}/.well-known/openid-configuration`,
    authorizationUrl: env.OAUTH_AUTHORIZATION_URL,
    tokenUrl: env.OAUTH_TOKEN_URL,
    revocationUrl: env.OAUTH_REVOCATION_URL,
    /** Accept http for the provider's URLs. */
    allowInsecureHttp: env.OIDC_ALLOW_INSECURE_HTTP,
    clientId: env.OIDC_CLIENT_ID ?? env.OIDC_AUDIENCE ?? '',
    clientSecret: env.OIDC_CLIENT_SECRET,
    clientKey: env.OIDC_CLIENT_KEY,
    clientKeyId: env.OIDC_CLIENT_KEY_ID,
    /** Push authorization requests (RFC 9126); undefined leaves it to the discovery document. */
    pushesRequests: env.OIDC_PAR,
    /** Seed's authentication method at the provider; undefined leaves it to what the provider accepts. */
    clientAuth: env.OIDC_CLIENT_AUTH,
    /** The `aud` of the assertion of private_key_jwt; undefined leaves it to what the provider accepts. */
    assertionAudience: env.OIDC_ASSERTION_AUDIENCE,
    scopes: parseList(env.OIDC_SCOPES, ' '),
    algorithms: parseList(env.OIDC_ALGORITHMS),
    groupsClaim: env.OIDC_GROUPS_CLAIM ?? preset.groupsClaim
  }
}

/** The authorization server that Seed is to MCP clients. */
function toOAuthConfig (env: Env) {
  const configuredClients = readConfiguredClients(env.OAUTH_CLIENTS)
  const trustedIssuers = readTrustedIssuers(env.TRUSTED_ISSUERS, baseUrlOf(env))
  return {
    mode: env.OAUTH_MODE,
    configuredClients,
    /** Issuers whose tokens stand for services (workload identity federation). */
    trustedIssuers,
    /** Those of them whose access tokens are accepted at /mcp. */
    accessTokenIssuers: trustedIssuers.filter(({ accessTokens }) => accessTokens).map(({ name }) => name),
    /** Whether ID-JAGs of the provider are accepted, and nothing else of people. */
    enterpriseAuthorization: env.ENTERPRISE_AUTHORIZATION ?? defaultEnterpriseAuthorization(env, configuredClients),
    /** Client ID metadata documents. */
    metadataDocuments: {
      enabled: env.CIMD_ENABLED,
      allowedHosts: parseList(env.CIMD_HOSTS.toLowerCase()),
      probeUrl: env.CIMD_PROBE_URL
    },
    /** Dynamic client registration (RFC 7591). */
    registration: {
      clientTtlSeconds: env.DCR_CLIENT_TTL,
      limitPerAddress: env.DCR_LIMIT_PER_ADDRESS,
      limitTotal: env.DCR_LIMIT_TOTAL
    },
    redirectUriSchemes: parseList(env.REDIRECT_URI_SCHEMES),
    showConnectionsPage: env.CONNECTIONS_PAGE,
    /** Lifetimes of the tokens and grants that Seed issues in broker mode. */
    grant: {
      accessTokenTtlSeconds: env.ACCESS_TOKEN_TTL,
      refreshTokenTtlSeconds: env.REFRESH_TOKEN_TTL,
      maxAgeSeconds: env.GRANT_MAX_AGE,
      maxAgeUncheckedSeconds: env.GRANT_MAX_AGE_UNCHECKED
    },
    /** Requests a minute to each endpoint. */
    limits: {
      perAddress: env.OAUTH_LIMIT_PER_ADDRESS,
      perClient: env.OAUTH_LIMIT_PER_CLIENT
    },
    /** Sign-ins whose steps are kept, and as many refused calls. */
    maxTraces: env.TRACE_LIMIT_TOTAL
  }
}

/** OTEL_EXPORTER_OTLP_TRACES_ENDPOINT is used as it is (OpenTelemetry, OTLP exporter, endpoint URLs). */
function toTracesEndpoint (env: Env, otlpEndpoint: string | undefined): string | undefined {
  if (env.OTEL_SDK_DISABLED || env.OTEL_TRACES_EXPORTER === 'none') return undefined
  return env.OTEL_EXPORTER_OTLP_TRACES_ENDPOINT ?? (otlpEndpoint && `${otlpEndpoint}/v1/traces`)
}

/** On where the provider issues ID-JAGs and the operator has named a client for them. */
function defaultEnterpriseAuthorization (env: Env, clients: readonly ConfiguredClient[]): 'off' | 'also' {
  const { issuesIdentityAssertions } = findPreset(env.OIDC_PROVIDER, env.OIDC_ISSUER ?? '')
  const isNamed = clients.some(({ grantTypes }) => grantTypes.includes(JWT_BEARER))
  return env.OAUTH_MODE === 'broker' && issuesIdentityAssertions && isNamed ? 'also' : 'off'
}

/** The rules for who may sign in; without any, everyone whom the provider admits. */
function toAccessConfig (env: Env) {
  return {
    groups: parseList(env.ACCESS_GROUPS),
    emailDomains: parseDomains(env.ACCESS_EMAIL_DOMAINS),
    unverifiedEmail: env.ACCESS_EMAIL_UNVERIFIED ?? findPreset(env.OIDC_PROVIDER, env.OIDC_ISSUER ?? '').trustsEmail,
    hostedDomains: parseDomains(env.ACCESS_HOSTED_DOMAINS),
    claims: parsePairs(env.ACCESS_CLAIMS, '=').map(([claim, value]) => ({ claim, values: [value] })),
    contact: env.ACCESS_CONTACT
  }
}

function parseDomains (list: string): string[] {
  return parseList(list).map(toDomain)
}

function toMcpConfig (env: Env) {
  return {
    /** Tools, prompts or resources on one page of a list. */
    pageSize: env.LIST_PAGE_SIZE,
    /** Sessions of the 2025 revisions. */
    session: {
      idleTtlSeconds: env.SESSION_IDLE_TTL,
      maxAgeSeconds: env.SESSION_MAX_AGE,
      maxPerPrincipal: env.SESSIONS_PER_PRINCIPAL,
      maxTotal: env.SESSIONS_TOTAL
    },
    tool: {
      timeoutSeconds: env.TOOL_TIMEOUT_SECONDS,
      /** Time that a tool waits for a person or for another answer of the client. */
      inputTimeoutSeconds: env.INPUT_TIMEOUT_SECONDS,
      maxResultBytes: env.MCP_MAX_RESULT_BYTES
    },
    /** Requests a minute, and calls and streams at once. */
    limits: {
      requestsPerAddress: env.MCP_LIMIT_PER_ADDRESS,
      requestsPerPrincipal: env.MCP_LIMIT_PER_PRINCIPAL,
      refusedPerAddress: env.MCP_LIMIT_REFUSED,
      callsPerPrincipal: env.CALLS_PER_PRINCIPAL,
      streamsPerPrincipal: env.STREAMS_PER_PRINCIPAL
    }
  }
}

function baseUrlOf (env: Env): string {
  return (env.BASE_URL ?? `http://localhost:${env.PORT}`).replace(/\/$/, '')
}
