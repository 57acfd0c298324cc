import { HttpError } from '../errors/http-error.ts'
import { FetchError } from '../net/fetch.ts'
import type { fetchJson } from '../net/fetch.ts'
import { isLoopbackHost } from '../net/addresses.ts'
import { tenantIssuer } from './issuer.ts'

/**
 * The OpenID provider as its discovery document describes it (OpenID Connect Discovery 1.0 section 4).
 *
 * The document is fetched in the background with backoff until one is good; from then on its endpoints are
 * pinned until the process restarts. A provider that is down or misconfigured never stops Seed: what needs
 * it throws ProviderUnavailableError meanwhile.
 */
export interface ProviderMetadata {
  issuer: string
  authorizationEndpoint: string
  tokenEndpoint: string
  jwksUri: string
  /** Absent where the document names none. */
  userinfoEndpoint: string | undefined
  revocationEndpoint: string | undefined
  /** `scopes_supported`; undefined when the document is silent. */
  scopes: string[] | undefined
  /** `token_endpoint_auth_methods_supported`; undefined when the document is silent. */
  tokenEndpointAuthMethods: string[] | undefined
  /** The provider adds RFC 9207 `iss` to its redirects. In proxy mode strict clients compare it with Seed's own issuer. */
  sendsIss: boolean
}

export interface ProviderDiscovery {
  /** @throws ProviderUnavailableError until discovery has succeeded */
  metadata (): ProviderMetadata
  /** For readiness: undefined when usable, otherwise the reason in a sentence. */
  problem (): string | undefined
  /** Begins discovery; returns at once. */
  start (): void
  close (): void
}

/** The provider, or its keys, cannot be had now. On the wire: 503 with Retry-After, never 401 or `invalid_grant`. */
export class ProviderUnavailableError extends HttpError {
  override readonly name = 'ProviderUnavailableError'

  /** @param reason for the log */
  constructor (reason: string, options: { cause?: unknown } = {}) {
    super(503, 'temporarily_unavailable', reason, {
      publicMessage: 'The identity provider cannot be reached; try again shortly',
      page: { sentence: 'The identity provider cannot be reached.' },
      retryAfterSeconds: 5,
      ...options
    })
  }
}

export interface ProviderLog {
  info (fields: object, message: string): void
  warn (fields: object, message: string): void
  error (fields: object, message: string): void
}

export interface ProviderDiscoveryOptions {
  issuer: string
  /** OIDC_TENANTS */
  tenants: readonly string[]
  discoveryUrl: string
  /** OAUTH_AUTHORIZATION_URL: wins over the document. */
  authorizationUrl: string | undefined
  /** OAUTH_TOKEN_URL: wins over the document. */
  tokenUrl: string | undefined
  fetchJson: typeof fetchJson
  log: ProviderLog
  /** Called once, when discovery has succeeded. */
  onReady: () => void
  /** First and longest pause between attempts. */
  retryMs?: { first: number, longest: number }
}

export function createProviderDiscovery (options: ProviderDiscoveryOptions): ProviderDiscovery {
  const { issuer, discoveryUrl, log, retryMs = { first: 1_000, longest: 5_000 } } = options
  let metadata: ProviderMetadata | undefined
  let problem = 'discovery has not finished yet'
  let timer: NodeJS.Timeout | undefined
  let attempts = 0
  let closed = false

  async function discover (): Promise<void> {
    try {
      const document = await options.fetchJson(discoveryUrl)
      if (closed) return
      metadata = readMetadata(document, options)
      log.info({ issuer, attempts: attempts + 1 }, 'OpenID provider discovered')
      options.onReady()
    } catch (err) {
      if (closed) return
      const reason = (err as Error).message
      if (reason !== problem) log.error({ issuer, discoveryUrl, reason }, 'OpenID provider cannot be used yet; retrying until it can (OIDC_ISSUER)')
      problem = reason
      const pause = Math.min(retryMs.first * 2 ** attempts, retryMs.longest)
      attempts++
      timer = setTimeout(discover, pause * (0.5 + Math.random() / 2))
      timer.unref()
    }
  }

  return {
    metadata () {
      if (metadata === undefined) throw new ProviderUnavailableError(problem)
      return metadata
    },
    problem: () => metadata === undefined ? problem : undefined,
    start: () => { discover() },
    close () {
      closed = true
      clearTimeout(timer)
    }
  }
}

/** Checks what discovery gave; each failure names what is wrong and the setting that decides it. */
function readMetadata (document: Record<string, unknown>, options: ProviderDiscoveryOptions): ProviderMetadata {
  if (document['issuer'] !== options.issuer && !(options.tenants.length > 0 && document['issuer'] === tenantIssuer(options.issuer, '{tenantid}'))) {
    throw new FetchError(`The document's issuer is ${JSON.stringify(document['issuer'])?.slice(0, 200)}, but OIDC_ISSUER is "${options.issuer}"; they must be equal byte for byte, trailing slash included`)
  }
  return {
    issuer: options.issuer,
    authorizationEndpoint: options.authorizationUrl ?? endpoint(document, 'authorization_endpoint'),
    tokenEndpoint: options.tokenUrl ?? endpoint(document, 'token_endpoint'),
    jwksUri: endpoint(document, 'jwks_uri'),
    userinfoEndpoint: document['userinfo_endpoint'] === undefined ? undefined : endpoint(document, 'userinfo_endpoint'),
    revocationEndpoint: document['revocation_endpoint'] === undefined ? undefined : endpoint(document, 'revocation_endpoint'),
    scopes: stringArray(document['scopes_supported']),
    tokenEndpointAuthMethods: stringArray(document['token_endpoint_auth_methods_supported']),
    sendsIss: document['authorization_response_iss_parameter_supported'] === true
  }
}

function endpoint (document: Record<string, unknown>, name: string): string {
  const value = document[name]
  if (typeof value === 'string' && URL.canParse(value)) {
    const { protocol, hostname, username, password } = new URL(value)
    if (username + password === '' && (protocol === 'https:' || (protocol === 'http:' && isLoopbackHost(hostname)))) return value
  }
  throw new FetchError(`The discovery document has no usable ${name} (an https URL)`)
}

function stringArray (value: unknown): string[] | undefined {
  return Array.isArray(value) ? value.filter((item) => typeof item === 'string') : undefined
}
