/** The sets that the values of labels come from: what callers send is never a value by itself. */

const OTHER = '_OTHER'

const HTTP_METHODS = new Set(['GET', 'POST', 'DELETE', 'HEAD', 'OPTIONS', 'PUT', 'PATCH'])

export function toHttpMethod (method: string): string {
  return HTTP_METHODS.has(method) ? method : OTHER
}

const MCP_METHODS = new Set([
  'initialize', 'ping', 'server/discover', 'tools/list', 'tools/call', 'prompts/list', 'prompts/get', 'resources/list',
  'resources/read', 'resources/templates/list', 'resources/subscribe', 'resources/unsubscribe', 'completion/complete',
  'logging/setLevel', 'subscriptions/listen', 'notifications/initialized', 'notifications/cancelled',
  'notifications/progress', 'notifications/roots/list_changed'
])

export function toMcpMethod (method: unknown): string {
  return MCP_METHODS.has(method as string) ? method as string : OTHER
}

/** The last part of the URN stands for a grant type that has one: `jwt-bearer` (RFC 7523). */
const GRANT_TYPES = new Map([
  ...['authorization_code', 'refresh_token', 'client_credentials'].map((type) => [type, type] as const),
  ['urn:ietf:params:oauth:grant-type:jwt-bearer', 'jwt-bearer']
])

export function toGrantType (grantType: unknown): string {
  return GRANT_TYPES.get(grantType as string) ?? OTHER
}

/** Error codes of OAuth and of bearer tokens (RFC 6749, 6750, 7591, 8707, OpenID Connect), and Seed's own. */
const ERRORS = new Set([
  'missing_token', 'invalid_format', 'invalid_token', 'invalid_claim', 'insufficient_scope',
  'insufficient_user_authentication', 'unmet_authentication_requirements',
  'invalid_request', 'invalid_client', 'invalid_grant', 'unauthorized_client', 'unsupported_grant_type',
  'unsupported_response_type', 'unsupported_token_type', 'invalid_scope', 'invalid_target', 'access_denied',
  'server_error', 'temporarily_unavailable', 'invalid_redirect_uri', 'invalid_client_metadata', 'login_required',
  'consent_required', 'interaction_required', 'account_selection_required', 'request_not_supported',
  'request_uri_not_supported', 'registration_not_supported', 'rate_limited', 'slow_down', 'not_found'
])

/** @returns undefined for what is no error */
export function toKnownError (error: unknown): string | undefined {
  if (typeof error !== 'string') return undefined
  return ERRORS.has(error) ? error : OTHER
}

const LIMIT_SETTINGS = [
  'MCP_LIMIT_PER_ADDRESS', 'MCP_LIMIT_PER_PRINCIPAL', 'MCP_LIMIT_REFUSED', 'CALLS_PER_PRINCIPAL',
  'STREAMS_PER_PRINCIPAL', 'SESSIONS_PER_PRINCIPAL', 'SESSIONS_TOTAL', 'OAUTH_LIMIT_PER_ADDRESS',
  'OAUTH_LIMIT_PER_CLIENT', 'DCR_LIMIT_PER_ADDRESS'
]

/** Finds the setting that the reason of a 429 names. */
export function findLimitSetting (reason: unknown): string | undefined {
  return LIMIT_SETTINGS.find((setting) => String(reason).includes(setting))
}

/** Outcomes of calls whose tool or prompt exists. Whoever calls something that is not offered chooses its name. */
const OFFERED = new Set(['ok', 'error', 'cancelled', 'input_required'])

export function isOffered (outcome: string): boolean {
  return OFFERED.has(outcome)
}

/** MCP semantic conventions: a result with `isError` is a `tool_error`. @returns undefined for what is no error */
export function toErrorType (method: string, outcome: string): string | undefined {
  if (outcome === 'ok' || outcome === 'input_required') return undefined
  return outcome === 'error' && method === 'tools/call' ? 'tool_error' : outcome
}
