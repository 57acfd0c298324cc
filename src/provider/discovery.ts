import { HttpError, OPERATOR_ADVICE } from '../errors/http-error.ts'
import { FetchError } from '../net/fetch.ts'
import type { fetchJson } from '../net/fetch.ts'
import type { Log } from '../logging/log.ts'
import { isLoopbackHost } from '../net/addresses.ts'
import { tenantIssuer } from './issuer.ts'

/** The provider's discovery document (OpenID Connect Discovery 1.0 section 3), reduced to what Seed uses. */
export interface ProviderMetadata {
  issuer: string
  authorizationEndpoint: string
  tokenEndpoint: string
  jwksUri: string
  userinfoEndpoint: string | undefined
  revocationEndpoint: string | undefined
  /** `scopes_supported` */
  scopes: string[] | undefined
  /** `token_endpoint_auth_methods_supported` */
  tokenEndpointAuthMethods: string[] | undefined
  /** `revocation_endpoint_auth_methods_supported`; those of the token endpoint if it has none. */
  revocationEndpointAuthMethods: string[] | undefined
  /** `code_challenge_methods_supported` (RFC 8414 section 2); many providers support PKCE and do not list it. */
  codeChallengeMethods: string[] | undefined
  /** `acr_values_supported` */
  acrValues: string[] | undefined
  /** `id_token_signing_alg_values_supported` */
  idTokenAlgorithms: string[] | undefined
  /** The provider adds `iss` (RFC 9207) to its redirects. In proxy mode strict clients compare it with BASE_URL. */
  sendsIss: boolean
  /** `require_pushed_authorization_requests` (RFC 9126 section 5) */
  requiresPushedRequests: boolean
  /** `pushed_authorization_request_endpoint` (RFC 9126 section 5) */
  pushedRequestEndpoint: string | undefined
  /** `backchannel_logout_supported` (OpenID Connect Back-Channel Logout 1.0 section 2.1) */
  logsOut: boolean
}

/** The provider, or its keys, cannot be reached. The response is 503 with Retry-After, never 401 or `invalid_grant`. */
export class ProviderUnavailableError extends HttpError {
  override readonly name = 'ProviderUnavailableError'

  /** @param reason for the log */
  constructor (reason: string, { cause, isMisconfigured = false }: ProviderUnavailableOptions = {}) {
    super(503, 'temporarily_unavailable', reason, {
      publicMessage: isMisconfigured
        ? 'The identity provider cannot be used; the operator of this server must check its settings'
        : 'The identity provider cannot be reached; try again shortly',
      page: isMisconfigured
        ? { sentence: 'This server cannot use its identity provider.', advice: OPERATOR_ADVICE }
        : { sentence: 'The identity provider cannot be reached.' },
      retryAfterSeconds: 5,
      causeCode: 'provider_unavailable',
      cause
    })
  }
}

interface ProviderUnavailableOptions {
  cause?: unknown
  /** A setting, here or at the provider, must be corrected: waiting does not help. */
  isMisconfigured?: boolean
}

/** The settings of discovery. */
export interface MetadataOptions {
  issuer: string
  /** OIDC_TENANTS */
  tenants: readonly string[]
  discoveryUrl: string
  /** OAUTH_AUTHORIZATION_URL: overrides the document. */
  authorizationUrl: string | undefined
  /** OAUTH_TOKEN_URL: overrides the document. */
  tokenUrl: string | undefined
  /** OAUTH_REVOCATION_URL: overrides the document. */
  revocationUrl: string | undefined
  /** OIDC_ALLOW_INSECURE_HTTP */
  allowInsecureHttp: boolean
  fetchJson: typeof fetchJson
}

export interface ProviderDiscoveryOptions extends MetadataOptions {
  log: Log
  /** Called once, when discovery has succeeded. */
  onReady: () => void
  /** First and longest pause between attempts. */
  retryMs?: { first: number, longest: number }
}

export type ProviderDiscovery = ReturnType<typeof createProviderDiscovery>

/**
 * Discovers the OpenID provider (OpenID Connect Discovery 1.0 section 4).
 *
 * The document is fetched in the background, with backoff, until a good one has come. From then on its endpoints are
 * pinned until the process restarts. A provider that is down or misconfigured never stops Seed: what needs it throws
 * ProviderUnavailableError meanwhile.
 */
export function createProviderDiscovery (options: ProviderDiscoveryOptions) {
  const { issuer, discoveryUrl, log, retryMs = { first: 1_000, longest: 5_000 } } = options
  let metadata: ProviderMetadata | undefined
  let problem = 'discovery has not finished yet'
  let isMisconfigured = false
  let timer: NodeJS.Timeout | undefined
  let attempts = 0
  let closed = false

  async function discover (): Promise<void> {
    try {
      const found = await fetchMetadata(options)
      if (closed) return
      metadata = found
      log.info({ event: 'provider.discovered', issuer, attempts: attempts + 1 }, 'OpenID provider discovered')
      options.onReady()
    } catch (err) {
      if (closed) return
      const reason = (err as Error).message
      if (reason !== problem) {
        const fields = { issuer, discoveryUrl, reason }
        log.error({ event: 'provider.undiscovered', ...fields },
          'OpenID provider cannot be used yet; retrying until it can (OIDC_ISSUER)')
      }
      problem = reason
      isMisconfigured = err instanceof FetchError && isPermanent(err)
      const pause = Math.min(retryMs.first * 2 ** attempts, retryMs.longest)
      attempts++
      timer = setTimeout(discover, pause * (0.5 + Math.random() / 2))
      timer.unref()
    }
  }

  return {
    /** @throws ProviderUnavailableError until discovery has succeeded */
    metadata (): ProviderMetadata {
      if (metadata === undefined) throw new ProviderUnavailableError(problem, { isMisconfigured })
      return metadata
    },

    /** The reason why the provider is not usable, for readiness; undefined if it is. */
    problem: (): string | undefined => metadata === undefined ? problem : undefined,

    /** Begins discovery; returns at once. */
    start (): void { discover() },

    close (): void {
      closed = true
      clearTimeout(timer)
    }
  }
}

/** Fetches and reads the document, once. @throws FetchError that names what is wrong and the setting */
export async function fetchMetadata (options: MetadataOptions): Promise<ProviderMetadata> {
  return readMetadata(await fetchDocument(options.discoveryUrl, options.fetchJson), options)
}

/**
 * Fetches the document. Of redirects only one is followed: to the same address with a slash more or less at its end, as
 * some web frameworks have it.
 */
async function fetchDocument (url: string, fetch: typeof fetchJson): Promise<Record<string, unknown>> {
  try {
    return await fetch(url)
  } catch (err) {
    const target = err instanceof FetchError ? err.redirectsTo : undefined
    if (target === undefined) throw err
    if (withoutSlash(target) === withoutSlash(new URL(url))) return await fetch(target)
    throw new FetchError(`${(err as Error).message}: set OIDC_DISCOVERY_URL to where the document is, ` +
      'or OIDC_ISSUER to the issuer that it names', { status: (err as FetchError).status!, cause: err })
  }
}

const withoutSlash = ({ origin, pathname, search }: URL): string => `${origin}${pathname.replace(/\/$/, '')}${search}`

/** Whether waiting does not help: an answer that is not about load or an outage, or a certificate. */
export function isPermanent ({ network, status, cause }: FetchError): boolean {
  const { code = '' } = (cause as { cause?: NodeJS.ErrnoException } | undefined)?.cause ?? {}
  if (network) return /CERT|LEAF_SIGNATURE/.test(code)
  return status === undefined || (status < 500 && status !== 429)
}

/** Reads the document. Each error names what is wrong and the setting that decides it. */
function readMetadata (document: Record<string, unknown>, options: MetadataOptions): ProviderMetadata {
  checkIssuer(document['issuer'], options)
  const { allowInsecureHttp: allowsHttp } = options
  return {
    issuer: options.issuer,
    authorizationEndpoint: options.authorizationUrl ?? endpoint(document, 'authorization_endpoint', allowsHttp),
    tokenEndpoint: options.tokenUrl ?? endpoint(document, 'token_endpoint', allowsHttp),
    jwksUri: endpoint(document, 'jwks_uri', allowsHttp),
    userinfoEndpoint: optionalEndpoint(document, 'userinfo_endpoint', allowsHttp),
    revocationEndpoint: options.revocationUrl ?? optionalEndpoint(document, 'revocation_endpoint', allowsHttp),
    scopes: stringArray(document['scopes_supported']),
    tokenEndpointAuthMethods: stringArray(document['token_endpoint_auth_methods_supported']),
    revocationEndpointAuthMethods: stringArray(document['revocation_endpoint_auth_methods_supported'] ??
      document['token_endpoint_auth_methods_supported']),
    codeChallengeMethods: stringArray(document['code_challenge_methods_supported']),
    acrValues: stringArray(document['acr_values_supported']),
    idTokenAlgorithms: stringArray(document['id_token_signing_alg_values_supported']),
    sendsIss: document['authorization_response_iss_parameter_supported'] === true,
    requiresPushedRequests: document['require_pushed_authorization_requests'] === true,
    pushedRequestEndpoint: optionalEndpoint(document, 'pushed_authorization_request_endpoint', allowsHttp),
    logsOut: document['backchannel_logout_supported'] === true
  }
}

/** Entra ID's document for several tenants has `{tenantid}` in its issuer. */
function checkIssuer (issuer: unknown, { issuer: expected, tenants }: MetadataOptions): void {
  if (issuer === expected || (tenants.length > 0 && issuer === tenantIssuer(expected, '{tenantid}'))) return
  throw new FetchError(`The document's issuer is ${JSON.stringify(issuer)?.slice(0, 200)}, ` +
    `but OIDC_ISSUER is "${expected}"; they must be equal byte for byte, trailing slash included`)
}

function optionalEndpoint (
  document: Record<string, unknown>, name: string, allowsHttp: boolean
): string | undefined {
  return document[name] === undefined ? undefined : endpoint(document, name, allowsHttp)
}

function endpoint (document: Record<string, unknown>, name: string, allowsHttp: boolean): string {
  const value = document[name]
  if (typeof value === 'string' && URL.canParse(value)) {
    const { protocol, hostname, username, password } = new URL(value)
    const isSecure = protocol === 'https:' || (protocol === 'http:' && (allowsHttp || isLoopbackHost(hostname)))
    if (isSecure && username + password === '') return value
  }
  throw new FetchError(`The discovery document has no usable ${name} (an https URL)`)
}

function stringArray (value: unknown): string[] | undefined {
  return Array.isArray(value) ? value.filter((item) => typeof item === 'string') : undefined
}
