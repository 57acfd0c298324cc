import { LRUCache } from 'lru-cache'
import { OAuthError } from '../../errors/oauth-error.ts'
import { clientAddressKey, clientNetworkKey } from '../../net/addresses.ts'

const MINUTE_MS = 60_000
const MAX_PER_ADDRESS = 10
/** For the /48 of an IPv6 address: one site may hold 65,536 of the /64 networks that count as addresses. */
const MAX_PER_NETWORK = 30
const MAX_TOTAL = 300
/** For documents that were valid before. Fetches that strangers cause otherwise cannot use it up. */
const MAX_KNOWN = 300
const MAX_REQUESTERS = 10_000

export interface FetchRequest {
  /** IP address of the client that named the URL. */
  requester: string
  /** True for a URL whose document was valid before. */
  known: boolean
}

interface Window { count: number, endsAt: number }
type Windows = { get (key: string): Window | undefined, set (key: string, window: Window): unknown }

/**
 * Limits the fetches of metadata documents in a minute. Anyone can name any URL, so each address has a limit of its
 * own, and a stranger cannot use up what others need. The total protects this server and the hosts that are asked.
 *
 * @param now monotonic clock in milliseconds
 */
export function createMetadataFetchLimit (now: () => number) {
  const requesters = new LRUCache<string, Window>({ max: MAX_REQUESTERS })
  const totals = new Map<string, Window>()

  function windowOf (windows: Windows, key: string): Window {
    const current = windows.get(key)
    if (current !== undefined && now() < current.endsAt) return current
    const window = { count: 0, endsAt: now() + MINUTE_MS }
    windows.set(key, window)
    return window
  }

  function checkRoom ({ count, endsAt }: Window, max: number, scope: string): void {
    if (count < max) return
    const retryAfterSeconds = Math.ceil((endsAt - now()) / 1_000)
    throw new OAuthError('temporarily_unavailable',
      `Too many client metadata documents; try again in ${retryAfterSeconds} seconds`,
      {
        statusCode: 429,
        retryAfterSeconds,
        causeCode: 'metadata_document',
        detail: `${max} documents were fetched ${scope} within a minute`
      })
  }

  /** An IPv4 address is its own network and counts once. */
  function countRequester (requester: string): void {
    const address = windowOf(requesters, clientAddressKey(requester))
    const network = windowOf(requesters, clientNetworkKey(requester))
    checkRoom(address, MAX_PER_ADDRESS, 'for one address')
    checkRoom(network, MAX_PER_NETWORK, 'for one network')
    for (const window of new Set([address, network])) window.count++
  }

  return {
    /**
     * Counts a fetch that is about to begin.
     * @returns a function that takes the fetch out of the total again, because it reached no server
     * @throws OAuthError 429
     */
    count ({ requester, known }: FetchRequest): () => void {
      const total = windowOf(totals, known ? 'known' : 'others')
      if (!known) countRequester(requester)
      checkRoom(total, known ? MAX_KNOWN : MAX_TOTAL, 'in total')
      total.count++
      return () => { total.count-- }
    }
  }
}
