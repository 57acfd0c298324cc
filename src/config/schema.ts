import { Type } from 'typebox'
import type { Static } from 'typebox'
import { PRESET_NAMES } from '../provider-presets/preset.ts'

/** The longest SHUTDOWN_GRACE_SECONDS. */
export const MAX_GRACE_SECONDS = 600

/**
 * The settings, as environment variables: the only list of them. `.env.example` documents each one, in this order.
 *
 * TypeBox makes the JSON Schema that coerces and checks each variable by itself; what depends on several of them, or
 * has a form of its own, is checked in validate.ts.
 */
export const EnvSchema = Type.Object({
  // Server
  PORT: Type.Integer({ minimum: 0, maximum: 65535, default: 3000 }),
  HOST: Type.Optional(Type.String()),
  BASE_URL: Type.Optional(Type.String()),
  TRUST_PROXY: Type.String({ default: '' }),
  ALLOWED_HOSTS: Type.String({ default: '' }),
  CORS_EXTRA_ORIGINS: Type.String({ default: '' }),
  LOG_LEVEL: Type.Enum(['fatal', 'error', 'warn', 'info', 'debug', 'trace', 'silent'], { default: 'info' }),
  HTTPS_PROXY: Type.Optional(Type.String()),
  HTTP_PROXY: Type.Optional(Type.String()),
  NO_PROXY: Type.Optional(Type.String()),
  METRICS_PORT: Type.Optional(Type.Integer({ minimum: 0, maximum: 65535 })),
  METRICS_HOST: Type.Optional(Type.String()),
  OTEL_EXPORTER_OTLP_ENDPOINT: Type.Optional(Type.String()),
  OTEL_EXPORTER_OTLP_TRACES_ENDPOINT: Type.Optional(Type.String()),
  OTEL_TRACES_EXPORTER: Type.Enum(['otlp', 'none'], { default: 'otlp' }),
  OTEL_TRACES_SAMPLER: Type.Enum([
    'always_on', 'always_off', 'traceidratio',
    'parentbased_always_on', 'parentbased_always_off', 'parentbased_traceidratio'
  ], { default: 'parentbased_always_on' }),
  OTEL_TRACES_SAMPLER_ARG: Type.Number({ minimum: 0, maximum: 1, default: 1 }),
  OTEL_SDK_DISABLED: Type.Boolean({ default: false }),
  SHUTDOWN_DELAY_SECONDS: Type.Integer({ minimum: 0, maximum: 600, default: 0 }),
  SHUTDOWN_GRACE_SECONDS: Type.Integer({ minimum: 0, maximum: MAX_GRACE_SECONDS, default: 5 }),
  // Name
  SERVER_NAME: Type.String({ default: 'seed', maxLength: 64 }),
  SERVER_TITLE: Type.Optional(Type.String({ maxLength: 100 })),
  SERVER_DESCRIPTION: Type.Optional(Type.String({ maxLength: 500 })),
  SERVER_INSTRUCTIONS: Type.Optional(Type.String({ maxLength: 16384 })),
  SERVER_ICON: Type.Optional(Type.String()),
  SERVER_WEBSITE: Type.Optional(Type.String({ maxLength: 2048 })),
  SERVER_POLICY_URL: Type.Optional(Type.String({ maxLength: 2048 })),
  SERVER_TERMS_URL: Type.Optional(Type.String({ maxLength: 2048 })),
  SERVER_OPERATOR: Type.Optional(Type.String({ maxLength: 200 })),
  SERVER_CONTACT: Type.Optional(Type.String({ maxLength: 200 })),
  HOME_PAGE: Type.Boolean({ default: true }),
  CONNECTIONS_PAGE: Type.Boolean({ default: true }),
  WELL_KNOWN_FILES: Type.String({ default: '' }),
  // Audit
  AUDIT_LOG: Type.String({ default: 'off' }),
  AUDIT_ARGUMENTS: Type.Enum(['off', 'digest', 'full'], { default: 'digest' }),
  AUDIT_REDACT: Type.String({ default: '' }),
  AUDIT_CHAIN_KEY: Type.Optional(Type.String()),
  // Authentication
  AUTH_REQUIRED: Type.Boolean({ default: true }),
  OAUTH_MODE: Type.Enum(['proxy', 'broker'], { default: 'proxy' }),
  SEED_SECRET: Type.Optional(Type.String()),
  SEED_SECRET_PREVIOUS: Type.Optional(Type.String()),
  OIDC_PROVIDER: Type.Optional(Type.Enum([...PRESET_NAMES])),
  OIDC_ISSUER: Type.Optional(Type.String()),
  OIDC_AUDIENCE: Type.Optional(Type.String({ maxLength: 512 })),
  OIDC_RESOURCE: Type.Optional(Type.String({ maxLength: 512 })),
  OIDC_DISCOVERY_URL: Type.Optional(Type.String()),
  OAUTH_AUTHORIZATION_URL: Type.Optional(Type.String()),
  OAUTH_TOKEN_URL: Type.Optional(Type.String()),
  OAUTH_REVOCATION_URL: Type.Optional(Type.String()),
  OIDC_ALLOW_INSECURE_HTTP: Type.Boolean({ default: false }),
  OIDC_CLIENT_ID: Type.Optional(Type.String({ maxLength: 512 })),
  OIDC_CLIENT_SECRET: Type.Optional(Type.String()),
  OIDC_CLIENT_KEY: Type.Optional(Type.String()),
  OIDC_CLIENT_KEY_ID: Type.Optional(Type.String({ maxLength: 256 })),
  OIDC_CLIENT_AUTH: Type.Optional(Type.Enum(['client_secret_basic', 'client_secret_post', 'private_key_jwt', 'none'])),
  OIDC_ASSERTION_AUDIENCE: Type.Optional(Type.Enum(['issuer', 'token_endpoint'])),
  OIDC_PAR: Type.Optional(Type.Boolean()),
  OIDC_TENANTS: Type.String({ default: '' }),
  OIDC_SCOPES: Type.String({ default: 'openid profile email offline_access' }),
  SCOPE_HIERARCHY: Type.String({ default: '' }),
  OIDC_ALGORITHMS: Type.String({ default: 'RS256,PS256,ES256,EdDSA' }),
  OIDC_GROUPS_CLAIM: Type.Optional(Type.String()),
  TOKEN_CLOCK_SKEW_SECONDS: Type.Integer({ minimum: 0, maximum: 300, default: 30 }),
  TOKEN_MAX_LIFETIME_SECONDS: Type.Integer({ minimum: 60, default: 86400 }),
  ACCESS_TOKEN_TTL: Type.Integer({ minimum: 60, maximum: 86400, default: 900 }),
  REFRESH_TOKEN_TTL: Type.Integer({ minimum: 300, default: 1209600 }),
  GRANT_MAX_AGE: Type.Integer({ minimum: 300, default: 7776000 }),
  GRANT_MAX_AGE_UNCHECKED: Type.Integer({ minimum: 300, default: 86400 }),
  // Access
  ACCESS_GROUPS: Type.String({ default: '' }),
  ACCESS_EMAIL_DOMAINS: Type.String({ default: '' }),
  ACCESS_EMAIL_UNVERIFIED: Type.Optional(Type.Boolean()),
  ACCESS_HOSTED_DOMAINS: Type.String({ default: '' }),
  ACCESS_CLAIMS: Type.String({ default: '' }),
  ACCESS_CONTACT: Type.Optional(Type.String({ maxLength: 200 })),
  // Store
  REDIS_URL: Type.Optional(Type.String()),
  REDIS_KEY_PREFIX: Type.String({ default: 'seed:' }),
  REDIS_SENTINEL_PASSWORD: Type.Optional(Type.String()),
  REDIS_TLS_CA: Type.Optional(Type.String()),
  // Tools, prompts and resources
  SEED_EXTENSIONS: Type.String({ default: '' }),
  SEED_MOUNTS: Type.Optional(Type.String()),
  SEED_ENDPOINTS: Type.Optional(Type.String()),
  LIST_PAGE_SIZE: Type.Integer({ minimum: 1, default: 1000 }),
  // Sessions and tools
  SESSION_IDLE_TTL: Type.Integer({ minimum: 60, default: 86400 }),
  SESSION_MAX_AGE: Type.Integer({ minimum: 60, default: 2592000 }),
  SESSIONS_PER_PRINCIPAL: Type.Integer({ minimum: 1, default: 100 }),
  SESSIONS_TOTAL: Type.Integer({ minimum: 1, default: 50000 }),
  TOOL_TIMEOUT_SECONDS: Type.Integer({ minimum: 1, maximum: 3600, default: 60 }),
  INPUT_TIMEOUT_SECONDS: Type.Integer({ minimum: 1, maximum: 3600, default: 600 }),
  MCP_MAX_RESULT_BYTES: Type.Integer({ minimum: 1024, maximum: 268435456, default: 10485760 }),
  // Clients
  OAUTH_CLIENTS: Type.Optional(Type.String()),
  TRUSTED_ISSUERS: Type.Optional(Type.String()),
  ENTERPRISE_AUTHORIZATION: Type.Optional(Type.Enum(['off', 'also', 'only'])),
  CIMD_ENABLED: Type.Boolean({ default: true }),
  CIMD_HOSTS: Type.String({ default: '' }),
  CIMD_PROBE_URL: Type.String({ default: 'https://claude.ai/oauth/claude-code-client-metadata' }),
  DCR_CLIENT_TTL: Type.Integer({ minimum: 60, default: 2592000 }),
  DCR_LIMIT_PER_ADDRESS: Type.Integer({ minimum: 1, default: 10 }),
  DCR_LIMIT_TOTAL: Type.Integer({ minimum: 1, default: 1000 }),
  REDIRECT_URI_SCHEMES: Type.String({
    default: 'cursor,vscode,vscode-insiders,vscodium,windsurf,kiro,trae,zed,warp,goose'
  }),
  // Limits
  OAUTH_LIMIT_PER_ADDRESS: Type.Integer({ minimum: 1, default: 120 }),
  OAUTH_LIMIT_PER_CLIENT: Type.Integer({ minimum: 1, default: 600 }),
  TRACE_LIMIT_TOTAL: Type.Integer({ minimum: 0, maximum: 1000000, default: 10000 }),
  MCP_LIMIT_PER_ADDRESS: Type.Integer({ minimum: 1, default: 3000 }),
  MCP_LIMIT_PER_PRINCIPAL: Type.Integer({ minimum: 1, default: 600 }),
  MCP_LIMIT_REFUSED: Type.Integer({ minimum: 1, default: 60 }),
  CALLS_PER_PRINCIPAL: Type.Integer({ minimum: 1, default: 32 }),
  STREAMS_PER_PRINCIPAL: Type.Integer({ minimum: 1, default: 64 }),
  CONNECTIONS_TOTAL: Type.Integer({ minimum: 4, default: 10000 })
}, { additionalProperties: false })

/** The settings, coerced and with their defaults. */
export type Env = Static<typeof EnvSchema>

/** Settings that many programs share, and that some set in lower case. */
export const PROXY_SETTINGS = ['HTTPS_PROXY', 'HTTP_PROXY', 'NO_PROXY'] as const satisfies ReadonlyArray<keyof Env>

/** Settings that NAME_FILE may also give, as the path of a file with the value (container secrets, certificates). */
export const SECRET_SETTINGS = [
  'SERVER_INSTRUCTIONS',
  'AUDIT_CHAIN_KEY',
  'SEED_SECRET',
  'SEED_SECRET_PREVIOUS',
  'OIDC_CLIENT_SECRET',
  'OIDC_CLIENT_KEY',
  'REDIS_URL',
  'REDIS_SENTINEL_PASSWORD',
  'REDIS_TLS_CA',
  'OAUTH_CLIENTS',
  'TRUSTED_ISSUERS'
] as const satisfies ReadonlyArray<keyof Env>
