import { upstreamScopes } from '../provider-presets/upstream-scopes.ts'
import type { Preset } from '../provider-presets/preset.ts'
import type { ProviderMetadata } from './discovery.ts'
import { pushedRequestEndpoint } from './pushed-request.ts'

/** A problem that the discovery document alone shows. The server logs it at start, and `seed doctor` prints it. */
export interface MetadataProblem {
  subject: 'pkce' | 'scopes' | 'id-token-algorithms' | 'pushed-authorization-requests' | 'revocation' | 'iss'
  severity: 'warning' | 'error'
  /** The members of the document in question. */
  fields: Record<string, unknown>
  message: string
  /** The setting to change, and a value to try. */
  setting?: string
  value?: string
}

export interface MetadataProblemOptions {
  mode: 'proxy' | 'broker'
  preset: Preset
  /** OIDC_SCOPES */
  scopes: readonly string[]
  /** OIDC_ALGORITHMS */
  algorithms: readonly string[]
  /** OIDC_PAR */
  pushesRequests: boolean | undefined
}

/** Judges the provider's discovery document by what Seed and its clients need. */
export function findMetadataProblems (metadata: ProviderMetadata, options: MetadataProblemOptions): MetadataProblem[] {
  const problems = [
    checkPkce(metadata),
    checkScopes(metadata, options),
    checkAlgorithms(metadata, options),
    checkPushedRequests(metadata, options),
    checkRevocation(metadata),
    checkIss(metadata, options)
  ]
  return problems.filter((problem) => problem !== undefined)
}

/** Returns what is requested of the provider although its discovery document does not list it. */
export function findUnlistedScopes (
  { scopes: supported }: Pick<ProviderMetadata, 'scopes'>,
  { preset, scopes }: Pick<MetadataProblemOptions, 'preset' | 'scopes'>
): string[] {
  if (supported === undefined) return []
  return upstreamScopes(preset, scopes, supported).filter((scope) => !supported.includes(scope))
}

function checkPkce ({ codeChallengeMethods }: ProviderMetadata): MetadataProblem | undefined {
  if (codeChallengeMethods?.includes('S256') !== false) return undefined
  return {
    subject: 'pkce',
    severity: 'error',
    fields: { codeChallengeMethods },
    message: 'The provider does not list S256 in its ' +
      'code_challenge_methods_supported: it may refuse every sign-in, as clients and Seed send S256, or ignore the ' +
      'challenge and redeem a stolen authorization code. Switch PKCE with S256 on for this client at the provider'
  }
}

/** Scopes are sent all the same: some providers accept more than they list. */
function checkScopes (metadata: ProviderMetadata, options: MetadataProblemOptions): MetadataProblem | undefined {
  const scopes = findUnlistedScopes(metadata, options)
  if (scopes.length === 0) return undefined
  return {
    subject: 'scopes',
    severity: 'warning',
    fields: { scopes },
    message: `OIDC_SCOPES asks for ${scopes.join(', ')}, which the provider does not list in ` +
      'scopes_supported: if it refuses sign-ins with invalid_scope, leave that out',
    setting: 'OIDC_SCOPES',
    value: options.scopes.filter((scope) => !scopes.includes(scope)).join(' ')
  }
}

/** In proxy mode no ID token is read. */
function checkAlgorithms (
  { idTokenAlgorithms }: ProviderMetadata, { mode, algorithms }: MetadataProblemOptions
): MetadataProblem | undefined {
  if (mode !== 'broker' || idTokenAlgorithms?.some((name) => algorithms.includes(name)) !== false) return undefined
  const isSymmetric = idTokenAlgorithms.every((name) => /^(HS|none)/.test(name))
  return {
    subject: 'id-token-algorithms',
    severity: 'error',
    fields: { idTokenAlgorithms },
    message: 'The provider lists no algorithm for ID tokens ' +
      '(id_token_signing_alg_values_supported) that is accepted here: sign-ins will fail. ' + (isSymmetric
      ? 'Let it sign the ID tokens of this client with RS256 or ES256: symmetric algorithms are never accepted'
      : 'Add one of them to OIDC_ALGORITHMS'),
    ...(!isSymmetric && { setting: 'OIDC_ALGORITHMS', value: idTokenAlgorithms.join() })
  }
}

function checkPushedRequests (
  metadata: ProviderMetadata, { pushesRequests }: MetadataProblemOptions
): MetadataProblem | undefined {
  const { requiresPushedRequests: isRequired } = metadata
  const isWanted = pushesRequests ?? isRequired
  if (pushedRequestEndpoint(metadata, pushesRequests) !== undefined || (!isWanted && !isRequired)) return undefined
  const shared = {
    subject: 'pushed-authorization-requests', severity: 'error', fields: {}, setting: 'OIDC_PAR'
  } as const
  if (!isWanted) {
    const message = 'The provider requires pushed authorization requests (require_pushed_authorization_requests, ' +
      'RFC 9126), and OIDC_PAR=false sends none: it will refuse every sign-in'
    return { ...shared, message, value: 'true' }
  }
  return {
    ...shared,
    message: `Authorization requests are to be pushed (${isRequired ? 'the provider requires it' : 'OIDC_PAR'}, ` +
      'RFC 9126), but the provider lists no pushed_authorization_request_endpoint. They travel in the browser, and ' +
      'the provider may refuse them'
  }
}

function checkRevocation ({ revocationEndpoint }: ProviderMetadata): MetadataProblem | undefined {
  if (revocationEndpoint !== undefined) return undefined
  return {
    subject: 'revocation',
    severity: 'warning',
    fields: {},
    message: 'The provider lists no revocation_endpoint: what ends here (a client that ' +
      'revokes its token, seed revoke, a back-channel logout) leaves its refresh tokens and access tokens alive at ' +
      'the provider. Set OAUTH_REVOCATION_URL if it has such an endpoint all the same',
    setting: 'OAUTH_REVOCATION_URL'
  }
}

/** A provider that sends `iss` without promising it is found by `seed doctor` alone, which asks. */
function checkIss ({ sendsIss }: ProviderMetadata, { mode }: MetadataProblemOptions): MetadataProblem | undefined {
  if (!sendsIss || mode !== 'proxy') return undefined
  return {
    subject: 'iss',
    severity: 'warning',
    fields: {},
    message: 'The provider adds "iss" (RFC 9207) to its redirects: in OAUTH_MODE=proxy ' + ISS_IN_PROXY_MODE,
    setting: 'OAUTH_MODE',
    value: 'broker'
  }
}

/** The consequence of an `iss` in proxy mode, and what to do. */
export const ISS_IN_PROXY_MODE = 'current MCP clients (TypeScript SDK v2, mcp-remote, AI SDK) compare it with ' +
  'BASE_URL ' +
  'and refuse. Switch it off for this client at the ' +
  'provider if you can (Keycloak: Advanced, Exclude Issuer From Authentication Response), or use OAUTH_MODE=broker'
