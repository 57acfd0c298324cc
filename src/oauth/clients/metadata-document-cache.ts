import { LRUCache } from 'lru-cache'
import { createSingleFlight } from '../../async/single-flight.ts'
import { OAuthError } from '../../errors/oauth-error.ts'
import { FetchError, parseJsonObject } from '../../net/fetch.ts'
import type { FetchPublicDocument } from '../../net/public-fetch.ts'
import { checkDocumentUrl, invalidDocument, validateDocument, validateKeySet } from './metadata-document-validation.ts'
import type { MetadataDocument } from './metadata-document-validation.ts'
import { createMetadataFetchLimit } from './metadata-fetch-limit.ts'
import { createMetadataProbe } from './metadata-document-reachability.ts'
import type { MetadataProbeOptions } from './metadata-document-reachability.ts'

export interface MetadataDocumentsOptions {
  fetchDocument: FetchPublicDocument
  /** CIMD_ENABLED */
  enabled: boolean
  /** CIMD_PROBE_URL: the document of a real client. CIMD_HOSTS and the limits do not apply to it. */
  probeUrl: string
  /** CIMD_HOSTS, with the port unless it is 443; empty means all hosts, at port 443. */
  allowedHosts: readonly string[]
  /** REDIRECT_URI_SCHEMES */
  redirectUriSchemes: readonly string[]
  log: MetadataProbeOptions['log']
  /** Monotonic clock in milliseconds. */
  now?: () => number
}

const MAX_DOCUMENTS = 1_000

const DEFAULT_FRESH_SECONDS = 300
const MIN_FRESH_SECONDS = 30
const MAX_FRESH_SECONDS = 86_400
/** A document may be used for so long after it went stale, while it cannot be fetched again (RFC 5861 section 4). */
const MAX_STALE_SECONDS = 86_400

interface CachedDocument {
  document: MetadataDocument
  freshUntil: number
  staleUntil: number
}

/**
 * Throws where a URL must not be fetched: its host is not allowed, or a limit is reached. Otherwise counts the fetch,
 * and returns a function for a fetch that reached no server.
 */
type BeginFetch = (url: URL) => () => void

/** The document, or its key set, cannot be fetched now; nothing is known about whether it is still valid. */
class DocumentUnavailable extends Error {
  readonly answer: OAuthError

  constructor (answer: OAuthError) {
    super(answer.message)
    this.answer = answer
  }
}

export type MetadataDocuments = ReturnType<typeof createMetadataDocuments>

/**
 * Client ID metadata documents (draft-ietf-oauth-client-id-metadata-document): fetches, validates and caches the
 * document behind a client id that is a URL.
 *
 * - Anyone can send any URL, so fetches are limited (metadata-fetch-limit.ts), and one at a time per URL.
 * - Only valid documents are cached, for as long as their HTTP headers allow, and for another day while they cannot be
 *   fetched: what strangers do, or an outage of the client's host, must not lock out people who use the client. A
 *   document that its host has changed or removed is not used any more.
 * - The feature is advertised only while the document at CIMD_PROBE_URL can be fetched. A client's URL that fails
 *   triggers that probe and has no other effect on what is advertised.
 */
export function createMetadataDocuments (options: MetadataDocumentsOptions) {
  const { enabled, probeUrl, allowedHosts, log } = options
  const { now = () => performance.now() } = options
  const cache = new LRUCache<string, CachedDocument>({ max: MAX_DOCUMENTS })
  const singleFlight = createSingleFlight<MetadataDocument>()
  const fetchLimit = createMetadataFetchLimit(now)
  const probe = createMetadataProbe({ probeUrl, load: loadProbe, log, now })
  const fetchClient = createClientFetch(options, probe.recheck)

  async function loadProbe (): Promise<unknown> {
    return await load(probeUrl, () => () => {}).catch((err: unknown) => { throw toAnswer(err) })
  }

  function load (clientId: string, beginFetch: BeginFetch): Promise<MetadataDocument> {
    return singleFlight(clientId, async () => {
      const { document, freshSeconds } = await fetchClient(clientId, beginFetch)
      const freshUntil = now() + freshSeconds * 1_000
      cache.set(clientId, { document, freshUntil, staleUntil: freshUntil + MAX_STALE_SECONDS * 1_000 })
      return document
    })
  }

  /** Without CIMD_HOSTS any host, but port 443 only: others would tell strangers what listens there. */
  function isAllowedHost ({ host, port }: URL): boolean {
    return allowedHosts.length === 0 ? port === '' : allowedHosts.includes(host)
  }

  /** Begins the fetches of a client's document and of its key set. */
  function beginFetchFor (requester: string, known: boolean): BeginFetch {
    return (url) => {
      if (!isAllowedHost(url)) throw invalidDocument(`its jwks_uri is at ${url.host}, which CIMD_HOSTS does not list`)
      try {
        return fetchLimit.count({ requester, known })
      } catch (err) {
        throw new DocumentUnavailable(err as OAuthError)
      }
    }
  }

  function checkAccepted (clientId: string): void {
    if (!enabled) {
      throw new OAuthError('invalid_client',
        'Client metadata documents are not accepted here (CIMD_ENABLED): register instead',
        { causeCode: 'metadata_document' })
    }
    const url = checkClientId(clientId)
    if (isAllowedHost(url)) return
    throw new OAuthError('invalid_client',
      'Client metadata documents of this host are not accepted here (CIMD_HOSTS)',
      { detail: `the host is ${url.host}`, causeCode: 'metadata_document' })
  }

  function findKnown (clientId: string): CachedDocument | undefined {
    const cached = cache.get(clientId)
    return cached !== undefined && now() < cached.staleUntil ? cached : undefined
  }

  return {
    /**
     * Returns the document of a client, from the cache or its URL.
     *
     * @param requester IP address of the client that named the URL
     * @throws OAuthError invalid_client if the id is refused or the document cannot be used; temporarily_unavailable
     * (429) if too many are being fetched
     */
    async find (clientId: string, requester: string): Promise<MetadataDocument> {
      checkAccepted(clientId)
      const known = findKnown(clientId)
      if (known !== undefined && now() < known.freshUntil) return known.document
      try {
        return await load(clientId, beginFetchFor(requester, known !== undefined))
      } catch (err) {
        if (err instanceof DocumentUnavailable && known !== undefined) {
          known.freshUntil = now() + MIN_FRESH_SECONDS * 1_000
          return known.document
        }
        if (!(err instanceof DocumentUnavailable)) cache.delete(clientId)
        throw toAnswer(err)
      }
    },

    /**
     * Returns the document of a client if it is in the cache, fresh or stale. Never fetches.
     * @throws OAuthError invalid_client if the id is refused
     */
    findCached (clientId: string): MetadataDocument | undefined {
      checkAccepted(clientId)
      return findKnown(clientId)?.document
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

/**
 * Makes the function that fetches and validates a document, and its key set where that is elsewhere.
 * @param onUnreachable called when a URL could not be reached
 */
function createClientFetch (
  { fetchDocument, redirectUriSchemes }: Pick<MetadataDocumentsOptions, 'fetchDocument' | 'redirectUriSchemes'>,
  onUnreachable: () => void
) {
  async function fetchObject (url: URL, beginFetch: BeginFetch) {
    const reachedNoServer = beginFetch(url)
    try {
      const { status, headers, body } = await fetchDocument(url.href)
      if (status >= 500 || status === 429) throw new DocumentUnavailable(invalidDocument(`its URL answered ${status}`))
      if (status !== 200) throw invalidDocument(`its URL answered ${status}`)
      if (!isJson(headers['content-type'])) throw invalidDocument('its content type is not JSON')
      const value = parseJsonObject(body)
      if (value === undefined) throw invalidDocument('it is not a JSON object')
      return { value, freshSeconds: freshnessSeconds(headers) }
    } catch (err) {
      if (!(err instanceof FetchError)) throw err
      if (err.status === undefined) reachedNoServer()
      const answer = invalidDocument('it cannot be fetched from its URL', err)
      if (!err.network) throw answer
      onUnreachable()
      throw new DocumentUnavailable(answer)
    }
  }

  return async function fetchClient (clientId: string, beginFetch: BeginFetch) {
    const { value, freshSeconds } = await fetchObject(checkClientId(clientId), beginFetch)
    const document = validateDocument(clientId, value, redirectUriSchemes)
    if (document.tokenEndpointAuthMethod === 'none' || document.jwks !== undefined) return { document, freshSeconds }
    const jwksUri = checkDocumentUrl(value['jwks_uri'], (why) => invalidDocument(`its jwks_uri ${why}`))
    const keySet = await fetchObject(jwksUri, beginFetch)
    return {
      document: { ...document, jwks: validateKeySet(keySet.value) },
      freshSeconds: Math.min(freshSeconds, keySet.freshSeconds)
    }
  }
}

function checkClientId (clientId: string): URL {
  return checkDocumentUrl(clientId, (why) => new OAuthError(
    'invalid_client', `A client ID that is a URL ${why}`, { causeCode: 'metadata_document' }))
}

function toAnswer (err: unknown): unknown {
  return err instanceof DocumentUnavailable ? err.answer : err
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
