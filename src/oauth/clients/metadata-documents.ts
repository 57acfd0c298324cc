import { LRUCache } from 'lru-cache'
import { createSingleFlight } from '../../async/single-flight.ts'
import { OAuthError } from '../../errors/oauth-error.ts'
import { FetchError, parseJsonObject } from '../../net/fetch.ts'
import type { FetchPublicDocument } from '../../net/public-fetch.ts'
import { checkDocumentUrl, invalidDocument, validateDocument, validateKeySet } from './metadata-document.ts'
import type { MetadataDocument } from './metadata-document.ts'
import { createMetadataProbe } from './metadata-probe.ts'
import type { MetadataProbeOptions } from './metadata-probe.ts'

export interface MetadataDocumentsOptions {
  fetchDocument: FetchPublicDocument
  /** CIMD_ENABLED */
  enabled: boolean
  /** CIMD_PROBE_URL: the document of a real client. CIMD_HOSTS and the limits do not apply to it. */
  probeUrl: string
  /** CIMD_HOSTS, with the port unless it is 443; empty means all hosts. */
  allowedHosts: readonly string[]
  /** REDIRECT_URI_SCHEMES */
  redirectUriSchemes: readonly string[]
  log: MetadataProbeOptions['log']
  /** Monotonic clock in milliseconds. */
  now?: () => number
}

const MAX_DOCUMENTS = 1_000

const MINUTE_MS = 60_000
const MAX_FETCHES_PER_MINUTE = 60
const MAX_FETCHES_PER_MINUTE_AND_HOST = 10

const RETRY_AFTER_SECONDS = 5

const DEFAULT_FRESH_SECONDS = 300
const MIN_FRESH_SECONDS = 30
const MAX_FRESH_SECONDS = 86_400

/** Throws where a URL must not be fetched: its host is not allowed, or a limit is reached. */
type CheckFetch = (url: URL) => void

export type MetadataDocuments = ReturnType<typeof createMetadataDocuments>

/**
 * Client ID metadata documents (draft-ietf-oauth-client-id-metadata-document): fetches, validates and caches the
 * document behind a client id that is a URL.
 *
 * - Anyone can send any URL, so fetches are limited: one at a time per URL, ten a minute per host, sixty a minute in
 *   total.
 * - Only valid documents are cached, for as long as their HTTP headers allow. A stale one is never used, even if the
 *   document can no longer be fetched.
 * - The feature is advertised only while the document at CIMD_PROBE_URL can be fetched. A client's URL that fails
 *   triggers that probe and has no other effect on what is advertised.
 */
export function createMetadataDocuments (options: MetadataDocumentsOptions) {
  const { fetchDocument, enabled, probeUrl, allowedHosts, redirectUriSchemes, log } = options
  const { now = () => performance.now() } = options
  const cache = new LRUCache<string, { document: MetadataDocument, freshUntil: number }>({ max: MAX_DOCUMENTS })
  const singleFlight = createSingleFlight<MetadataDocument>()
  const countFetch = createFetchLimit(now)
  const probe = createMetadataProbe({ probeUrl, load: () => load(probeUrl, () => {}), log, now })

  function load (clientId: string, checkFetch: CheckFetch): Promise<MetadataDocument> {
    return singleFlight(clientId, async () => {
      const { document, freshSeconds } = await fetchClient(clientId, checkFetch)
      cache.set(clientId, { document, freshUntil: now() + freshSeconds * 1_000 })
      return document
    })
  }

  async function fetchClient (clientId: string, checkFetch: CheckFetch) {
    const url = checkDocumentUrl(clientId, 'A client ID that is a URL')
    const { value, freshSeconds } = await fetchObject(url, checkFetch)
    const document = validateDocument(clientId, value, redirectUriSchemes)
    if (document.tokenEndpointAuthMethod === 'none' || document.jwks !== undefined) return { document, freshSeconds }
    const keySet = await fetchObject(checkDocumentUrl(value['jwks_uri'], 'The jwks_uri of a client'), checkFetch)
    return {
      document: { ...document, jwks: validateKeySet(keySet.value) },
      freshSeconds: Math.min(freshSeconds, keySet.freshSeconds)
    }
  }

  async function fetchObject (url: URL, checkFetch: CheckFetch) {
    checkFetch(url)
    try {
      const { status, headers, body } = await fetchDocument(url.href)
      if (status !== 200) throw invalidDocument(`its URL answered ${status}`)
      if (!isJson(headers['content-type'])) throw invalidDocument('its content type is not JSON')
      const value = parseJsonObject(body)
      if (value === undefined) throw invalidDocument('it is not a JSON object')
      return { value, freshSeconds: freshnessSeconds(headers) }
    } catch (err) {
      if (!(err instanceof FetchError)) throw err
      if (!err.network) throw invalidDocument('it cannot be fetched from its URL', err)
      probe.recheck()
      throw unreachable(err)
    }
  }

  function checkHost (url: URL): void {
    if (allowedHosts.length === 0 || allowedHosts.includes(url.host)) return
    throw new OAuthError('invalid_client',
      'Client metadata documents of this host are not accepted here (CIMD_HOSTS)',
      { detail: `the host is ${url.host}` })
  }

  return {
    /**
     * Returns the document of a client, from the cache or its URL.
     * @throws OAuthError invalid_client if the id or the document is refused; temporarily_unavailable if the document
     * cannot be fetched now (503) or too many are being fetched (429)
     */
    async find (clientId: string): Promise<MetadataDocument> {
      if (!enabled) {
        throw new OAuthError('invalid_client',
          'Client metadata documents are not accepted here (CIMD_ENABLED): register instead')
      }
      checkHost(checkDocumentUrl(clientId, 'A client ID that is a URL'))
      const cached = cache.get(clientId)
      if (cached !== undefined && now() < cached.freshUntil) return cached.document
      cache.delete(clientId)
      return await load(clientId, (url) => {
        checkHost(url)
        countFetch(url)
      })
    },

    /** Returns true while metadata may promise `client_id_metadata_document_supported`. */
    advertised: () => enabled && probe.succeeded(),

    /** Starts the first probe; returns at once. */
    start () {
      if (enabled) probe.start()
    },

    close: probe.close
  }
}

/** Counts the fetches of the last minute, and throws OAuthError 429 at the limit. */
function createFetchLimit (now: () => number): CheckFetch {
  let fetches: Array<{ host: string, at: number }> = []

  function checkLimit (counted: typeof fetches, limit: number, scope: string): void {
    if (counted.length < limit) return
    const retryAfterSeconds = Math.ceil((counted[0]!.at + MINUTE_MS - now()) / 1_000)
    throw new OAuthError('temporarily_unavailable',
      `Too many client metadata documents; try again in ${retryAfterSeconds} seconds`,
      { statusCode: 429, retryAfterSeconds, detail: `${limit} documents were fetched ${scope} within a minute` })
  }

  return function countFetch ({ hostname: host }) {
    fetches = fetches.filter(({ at }) => now() - at < MINUTE_MS)
    checkLimit(fetches, MAX_FETCHES_PER_MINUTE, 'in total')
    checkLimit(fetches.filter((fetch) => fetch.host === host), MAX_FETCHES_PER_MINUTE_AND_HOST, `from ${host}`)
    fetches.push({ host, at: now() })
  }
}

function unreachable (cause: FetchError): OAuthError {
  return new OAuthError('temporarily_unavailable',
    'The client metadata document cannot be fetched now; try again shortly',
    { detail: cause.message, cause, retryAfterSeconds: RETRY_AFTER_SECONDS })
}

/** application/json, or a type with the +json suffix (RFC 6839 section 3.1). */
function isJson (contentType = ''): boolean {
  return /^application\/(?:json|[\w.+-]+\+json)\s*(?:;|$)/i.test(contentType)
}

/**
 * Returns how long a response may be cached (RFC 9111 sections 4.2 and 5.2.2): 30 seconds to a day. The minimum also
 * holds for no-store and no-cache, to spare the client's host. s-maxage is for shared proxies and is ignored.
 */
function freshnessSeconds (headers: { 'cache-control'?: string | undefined, age?: string | undefined }): number {
  const directives = headers['cache-control'] ?? ''
  if (/(?:^|[,\s])no-(?:store|cache)(?:$|[,\s=])/i.test(directives)) return MIN_FRESH_SECONDS
  const maxAge = /(?:^|[,\s])max-age="?(\d+)/i.exec(directives)?.[1]
  if (maxAge === undefined) return DEFAULT_FRESH_SECONDS
  const age = /^\d+$/.test(headers.age ?? '') ? Number(headers.age) : 0
  return Math.min(Math.max(Number(maxAge) - age, MIN_FRESH_SECONDS), MAX_FRESH_SECONDS)
}
