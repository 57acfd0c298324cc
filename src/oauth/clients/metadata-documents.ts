import type { JWK } from 'jose'
import { FetchError, parseJsonObject } from '../../net/fetch.ts'
import type { FetchPublicDocument } from '../../net/public-fetch.ts'
import type { ProviderLog } from '../../provider/discovery.ts'
import { OAuthError } from '../../errors/oauth-error.ts'
import { checkRegistrableRedirectUri } from '../protocol/redirect-uri.ts'
import { stripControlCharacters } from './client-name.ts'

/**
 * Clients whose id is the URL of their metadata (draft-ietf-oauth-client-id-metadata-document): the document is fetched,
 * checked and kept for as long as its HTTP headers say.
 *
 * - Anyone can name any URL, so fetches are few: one at a time for a URL, ten a minute for a host, sixty in all.
 * - Only what was found valid is kept. An answer that is too old is never used, whatever became of the document.
 * - The feature is advertised only while a document that is known to be good, the probe, can be fetched: where Seed
 *   cannot reach the internet, clients register instead. A stranger's URL that fails asks for a probe and decides
 *   nothing itself.
 */
export interface MetadataDocuments {
  /**
   * @throws OAuthError invalid_client for an id or a document that is refused, temporarily_unavailable when the
   * document cannot be fetched now (503) or too many are being fetched (429)
   */
  find (clientId: string): Promise<MetadataDocument>
  /** Whether metadata may promise client_id_metadata_document_supported now. */
  advertised (): boolean
  /** Begins the first probe; returns at once. */
  start (): void
  close (): void
}

/** What a metadata document says (RFC 7591 section 2), checked. */
export interface MetadataDocument {
  /** The document's URL. */
  clientId: string
  name: string
  redirectUris: readonly string[]
  /** http or https, to be shown and not to be fetched. */
  uri?: string | undefined
  grantTypes: readonly string[]
  tokenEndpointAuthMethod: 'none' | 'private_key_jwt'
  /** Public keys; present with private_key_jwt. */
  jwks?: { keys: JWK[] }
  applicationType?: 'native' | 'web'
}

export interface MetadataDocumentsOptions {
  fetchDocument: FetchPublicDocument
  /** CIMD_ENABLED */
  enabled: boolean
  /** CIMD_PROBE_URL: the document of a real client. CIMD_HOSTS and the limits do not apply to it. */
  probeUrl: string
  /** CIMD_HOSTS, with the port unless it is 443; none means all. */
  allowedHosts: readonly string[]
  /** REDIRECT_URI_SCHEMES */
  redirectUriSchemes: readonly string[]
  log: Pick<ProviderLog, 'info' | 'warn'>
  /** Monotonic clock in milliseconds. */
  now?: () => number
}

const MAX_DOCUMENTS = 1_000
const MAX_REDIRECT_URIS = 20
const MAX_NAME_LENGTH = 200
const MAX_URL_LENGTH = 2_048

const MINUTE_MS = 60_000
const FETCHES_PER_MINUTE = 60
const FETCHES_PER_MINUTE_AND_HOST = 10

const PROBE_PAUSE_MS = 30_000
const PROBE_RETRY_MS = 600_000

const RETRY_AFTER_SECONDS = 5

/** How long a document is kept. */
const DEFAULT_SECONDS = 300
const SHORTEST_SECONDS = 30
const LONGEST_SECONDS = 86_400

/** Whether an id is to be looked up here; `find` refuses those that are not well-formed. */
export function isMetadataDocumentUrl (clientId: string): boolean {
  return /^https:\/\//i.test(clientId)
}

export function createMetadataDocuments (options: MetadataDocumentsOptions): MetadataDocuments {
  const { fetchDocument, enabled, probeUrl, allowedHosts, redirectUriSchemes, now = () => performance.now() } = options
  const kept = new Map<string, { client: MetadataDocument, until: number }>()
  const flights = new Map<string, Promise<MetadataDocument>>()
  const countFetch = createFetchLimit(now)
  const probe = createProbe(() => load(probeUrl, () => {}), options, now)

  /** Single flight. `admit` throws where a URL may not be fetched. */
  function load (id: string, admit: (url: URL) => void): Promise<MetadataDocument> {
    const flight = flights.get(id) ?? fetchClient(id, admit).finally(() => { flights.delete(id) })
    flights.set(id, flight)
    return flight
  }

  async function fetchClient (id: string, admit: (url: URL) => void): Promise<MetadataDocument> {
    const { value: document, seconds } = await fetchObject(readUrl(id, 'A client ID that is a URL'), admit)
    const client = readClient(id, document, redirectUriSchemes)
    if (client.tokenEndpointAuthMethod !== 'private_key_jwt' || client.jwks !== undefined) return keep(client, seconds)
    const keySet = await fetchObject(readUrl(document['jwks_uri'], 'The jwks_uri of a client'), admit)
    return keep({ ...client, jwks: readKeys(keySet.value) }, Math.min(seconds, keySet.seconds))
  }

  async function fetchObject (url: URL, admit: (url: URL) => void): Promise<{ value: Record<string, unknown>, seconds: number }> {
    admit(url)
    try {
      const { status, headers, body } = await fetchDocument(url.href)
      if (status !== 200) throw invalid(`its URL answered ${status}`)
      if (!/^application\/(?:json|[\w.+-]+\+json)\s*(?:;|$)/i.test(headers['content-type'] ?? '')) throw invalid('its content type is not JSON')
      const value = parseJsonObject(body)
      if (value === undefined) throw invalid('it is not a JSON object')
      return { value, seconds: freshSeconds(headers) }
    } catch (err) {
      if (!(err instanceof FetchError)) throw err
      if (!err.network) throw invalid('it cannot be fetched from its URL', err)
      probe.ask()
      throw new OAuthError('temporarily_unavailable', 'The client metadata document cannot be fetched now; try again shortly', {
        detail: err.message,
        page: { sentence: 'The client metadata document cannot be fetched now.' },
        cause: err,
        retryAfterSeconds: RETRY_AFTER_SECONDS
      })
    }
  }

  function keep (client: MetadataDocument, seconds: number): MetadataDocument {
    kept.delete(client.clientId)
    kept.set(client.clientId, { client, until: now() + seconds * 1_000 })
    for (const oldest of kept.keys()) {
      if (kept.size <= MAX_DOCUMENTS) break
      kept.delete(oldest)
    }
    return client
  }

  function checkHost (url: URL): void {
    if (allowedHosts.length > 0 && !allowedHosts.includes(url.host)) {
      throw new OAuthError('invalid_client', 'Client metadata documents of this host are not accepted here (CIMD_HOSTS)', { detail: `the host is ${url.host}` })
    }
  }

  return {
    async find (clientId) {
      if (!enabled) throw new OAuthError('invalid_client', 'Client metadata documents are not accepted here (CIMD_ENABLED): register instead')
      checkHost(readUrl(clientId, 'A client ID that is a URL'))
      const found = kept.get(clientId)
      if (found !== undefined && now() < found.until) return found.client
      kept.delete(clientId)
      return await load(clientId, (url) => {
        checkHost(url)
        countFetch(url)
      })
    },
    advertised: () => enabled && probe.succeeded(),
    start () {
      if (enabled) probe.start()
    },
    close: probe.close
  }
}

/** Whether the probe's document can be had: asked at the start, when a fetch has failed, and every ten minutes while it cannot. */
function createProbe (load: () => Promise<unknown>, { probeUrl, log }: MetadataDocumentsOptions, now: () => number) {
  let outcome: 'unknown' | 'good' | 'failed' = 'unknown'
  let running = false
  let startedAt = -Infinity
  let timer: NodeJS.Timeout | undefined
  let closed = false

  async function run (): Promise<void> {
    if (running || closed) return
    running = true
    startedAt = now()
    clearTimeout(timer)
    const failure = await load().then(() => undefined, (err: OAuthError) => err)
    running = false
    if (closed) return
    if (failure === undefined) {
      if (outcome === 'failed') log.info({ probeUrl }, 'Client ID metadata documents can be fetched again and are advertised')
      outcome = 'good'
      return
    }
    if (outcome !== 'failed') {
      log.warn({ probeUrl, reason: failure.detail ?? failure.message }, 'Client ID metadata documents are not advertised, because the one at CIMD_PROBE_URL cannot be used; clients register instead. Let Seed reach that URL, set another, or set CIMD_ENABLED=false')
    }
    outcome = 'failed'
    timer = setTimeout(run, PROBE_RETRY_MS)
    timer.unref()
  }

  return {
    succeeded: () => outcome === 'good',
    start: () => { run() },
    /** After a fetch that failed; at most every 30 seconds. */
    ask () {
      if (now() - startedAt >= PROBE_PAUSE_MS) run()
    },
    close () {
      closed = true
      clearTimeout(timer)
    }
  }
}

/** Counts the fetches of the last minute; throws instead of counting one too many. */
function createFetchLimit (now: () => number): (url: URL) => void {
  let fetches: Array<{ host: string, at: number }> = []

  function check (counted: typeof fetches, limit: number, what: string): void {
    if (counted.length < limit) return
    const retryAfterSeconds = Math.ceil((counted[0]!.at + MINUTE_MS - now()) / 1_000)
    throw new OAuthError('temporarily_unavailable', `Too many client metadata documents; try again in ${retryAfterSeconds} seconds`, {
      statusCode: 429,
      retryAfterSeconds,
      page: { sentence: 'Too many client metadata documents.' },
      detail: `${limit} documents have been fetched ${what} within a minute`
    })
  }

  return ({ hostname: host }) => {
    fetches = fetches.filter(({ at }) => now() - at < MINUTE_MS)
    check(fetches, FETCHES_PER_MINUTE, 'in all')
    check(fetches.filter((fetch) => fetch.host === host), FETCHES_PER_MINUTE_AND_HOST, `from ${host}`)
    fetches.push({ host, at: now() })
  }
}

function invalid (why: string, cause?: Error): OAuthError {
  return new OAuthError('invalid_client', `The client metadata document is not accepted: ${why}`, cause && { detail: cause.message, cause })
}

/**
 * An https URL with a path, as a URL parser writes it back: the id is compared byte for byte (section 3 of the draft),
 * and no two readers of it may disagree about the host.
 */
function readUrl (given: unknown, what: string): URL {
  const refuse = (why: string) => new OAuthError('invalid_client', `${what} ${why}`)
  if (typeof given !== 'string' || given.length > MAX_URL_LENGTH || !URL.canParse(given)) throw refuse(`must be well-formed, of at most ${MAX_URL_LENGTH} characters`)
  const url = new URL(given)
  if (url.protocol !== 'https:') throw refuse('must use https')
  if (url.pathname === '/') throw refuse('must have a path')
  if (given.includes('#')) throw refuse('must have no fragment')
  if (url.username !== '' || url.password !== '') throw refuse('must hold no user name or password')
  if (/%0[0-9a-f]|%1[0-9a-f]|%7f/i.test(given)) throw refuse('must hold no control characters')
  if (url.href !== given || url.hostname.endsWith('.')) throw refuse('must be written in its normal form')
  return url
}

/** Checks a document (section 4 of the draft): every client is public or has a key of its own, none shares a secret. */
function readClient (id: string, document: Record<string, unknown>, schemes: readonly string[]): MetadataDocument {
  if (document['client_id'] !== id) throw invalid('its client_id must be its own URL, byte for byte')
  for (const name of ['client_secret', 'client_secret_expires_at']) {
    if (document[name] !== undefined) throw invalid(`it must hold no ${name}`)
  }
  const method = document['token_endpoint_auth_method'] ?? 'none'
  if (method !== 'none' && method !== 'private_key_jwt') throw invalid('token_endpoint_auth_method must be none or private_key_jwt')
  if (document['jwks'] !== undefined && document['jwks_uri'] !== undefined) throw invalid('it must hold jwks or jwks_uri, not both')
  if (method === 'private_key_jwt' && document['jwks'] === undefined && document['jwks_uri'] === undefined) throw invalid('private_key_jwt needs jwks or jwks_uri')
  const jwks = document['jwks'] === undefined ? undefined : readKeys(document['jwks'])
  const applicationType = readApplicationType(document['application_type'])
  if (!strings(document['response_types'] ?? ['code'])?.includes('code')) throw invalid('response_types must include code')
  return {
    clientId: id,
    name: readName(document['client_name']),
    redirectUris: readRedirectUris(document['redirect_uris'], schemes),
    uri: readWebPage(document['client_uri']),
    grantTypes: readGrantTypes(document['grant_types']),
    tokenEndpointAuthMethod: method,
    ...(method === 'private_key_jwt' && jwks !== undefined && { jwks }),
    ...(applicationType !== undefined && { applicationType })
  }
}

function readName (given: unknown): string {
  const name = typeof given === 'string' ? stripControlCharacters(given) : ''
  if (name === '' || name.length > MAX_NAME_LENGTH) throw invalid(`client_name must be a text of 1 to ${MAX_NAME_LENGTH} characters`)
  return name
}

function readRedirectUris (given: unknown, schemes: readonly string[]): string[] {
  const uris = strings(given) ?? []
  if (uris.length === 0 || uris.length > MAX_REDIRECT_URIS) throw invalid(`redirect_uris must be a list of 1 to ${MAX_REDIRECT_URIS} URIs`)
  for (const uri of uris) {
    try {
      checkRegistrableRedirectUri(uri, schemes)
    } catch (err) {
      throw invalid((err as OAuthError).message, err as OAuthError)
    }
  }
  return uris
}

/** A link that a person may be shown: never a script or a local file. */
function readWebPage (given: unknown): string | undefined {
  if (given === undefined) return undefined
  if (typeof given !== 'string' || given.length > MAX_URL_LENGTH || !/^https?:\/\//i.test(given) || !URL.canParse(given)) throw invalid('client_uri must be an http(s) URL')
  return new URL(given).href
}

/** Those that Seed knows; both of them when the document is silent, as with registration. */
function readGrantTypes (given: unknown): string[] {
  const types = strings(given ?? ['authorization_code', 'refresh_token'])
  if (!types?.includes('authorization_code')) throw invalid('grant_types must include authorization_code')
  return types.filter((type) => type === 'authorization_code' || type === 'refresh_token')
}

function readApplicationType (given: unknown): 'native' | 'web' | undefined {
  if (given !== undefined && given !== 'native' && given !== 'web') throw invalid('application_type must be native or web')
  return given
}

/** Members of private and of symmetric keys (RFC 7518 sections 6.2.2, 6.3.2 and 6.4). */
const PRIVATE_MEMBERS = ['d', 'p', 'q', 'dp', 'dq', 'qi', 'oth', 'k']

/** A JWK Set (RFC 7517 section 5) of public keys. */
function readKeys (set: unknown): { keys: JWK[] } {
  const keys = (set as { keys?: unknown } | null)?.keys
  if (!Array.isArray(keys) || keys.length === 0 || !keys.every((key) => typeof key?.kty === 'string')) throw invalid('its key set must hold at least one key')
  if (keys.some((key) => PRIVATE_MEMBERS.some((member) => Object.hasOwn(key, member)))) throw invalid('its key set must hold public keys only')
  return { keys }
}

function strings (value: unknown): string[] | undefined {
  return Array.isArray(value) && value.every((item) => typeof item === 'string') ? value : undefined
}

/**
 * Seconds that an answer may be kept (RFC 9111 sections 4.2 and 5.2.2): at least 30, so that no-store and no-cache
 * spare the client's host as well, and at most a day. s-maxage is for shared proxies and not looked at.
 */
function freshSeconds (headers: { 'cache-control'?: string | undefined, age?: string | undefined }): number {
  const directives = headers['cache-control'] ?? ''
  if (/(?:^|[,\s])no-(?:store|cache)(?:$|[,\s=])/i.test(directives)) return SHORTEST_SECONDS
  const maxAge = /(?:^|[,\s])max-age="?(\d+)/i.exec(directives)?.[1]
  if (maxAge === undefined) return DEFAULT_SECONDS
  const age = /^\d+$/.test(headers.age ?? '') ? Number(headers.age) : 0
  return Math.min(Math.max(Number(maxAge) - age, SHORTEST_SECONDS), LONGEST_SECONDS)
}
