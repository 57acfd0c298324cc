import { hash } from 'node:crypto'
import { LimitError } from '../errors/http-error.ts'
import type { Config } from '../config/config.ts'
import type { Count, Gauge, Tallies } from './shared-counters.ts'

/**
 * What one caller may use of /mcp, over all replicas: requests a minute, calls and streams at once. Callers are
 * principals and addresses. Nothing here waits for the store, so with several replicas a little more may be let through:
 * of requests about a tenth, of calls and streams what begins elsewhere within 25 ms (src/limits/shared-counters.ts).
 */
export interface McpLimits {
  /**
   * Counts a request; one that is refused does not count.
   * @param principalKey undefined with AUTH_REQUIRED=false
   * @throws LimitError when the address or the principal has had its requests of this minute
   */
  countRequest (address: string, principalKey: string | undefined): void
  /** Counts a request whose token was missing or refused. */
  countRefused (address: string): void
  /**
   * Asked when a token is missing or refused: the answer is 429 instead of 401 then. Good tokens of the same address are
   * none of its business, so that one bad client does not lock out its neighbours.
   * @throws LimitError when too many requests of this address were refused in this minute
   */
  checkRefused (address: string): void
  /**
   * Begins a tool call, of the principal or else of the address.
   * @returns what ends it; ending it twice does no harm
   * @throws LimitError when as many run already as may
   */
  beginCall (principalKey: string | undefined, address: string): () => void
  /** The same for a stream. */
  beginStream (principalKey: string | undefined, address: string): () => void
}

/** Nobody knows when a call ends: the client may try again soon. */
const RETRY_BUSY_SECONDS = 1

const MAX_ADDRESSES = 10_000

/** @param addressBucket what of an address is counted (src/limits/rate-limit.ts): one caller may hold a whole IPv6 /64 */
export function createMcpLimits (tallies: Tallies, limits: Config['mcp']['limits'], addressBucket: (address: string) => string): McpLimits {
  const ofAddress = tallies.count('address', limits.requestsPerAddress)
  const ofPrincipal = tallies.count('principal', limits.requestsPerPrincipal)
  const refused = tallies.count('refused', limits.refusedPerAddress)
  const calls = tallies.gauge('calls')
  const streams = tallies.gauge('streams')
  const addresses = new Map<string, string>()

  /** The digest of an address's bucket: requests come in rows from the same ones. */
  function addressName (address: string): string {
    const known = addresses.get(address)
    if (known !== undefined) return known
    const name = hash('sha256', addressBucket(address), 'base64url')
    if (addresses.size >= MAX_ADDRESSES) addresses.clear()
    addresses.set(address, name)
    return name
  }

  function begin (gauge: Gauge, name: string, most: number, { message, detail }: { message: string, detail: string }): () => void {
    if (gauge.total(name) >= most) throw new LimitError(message, { retryAfterSeconds: RETRY_BUSY_SECONDS, detail })
    gauge.add(name, 1)
    let ended = false
    return () => {
      if (!ended) gauge.add(name, -1)
      ended = true
    }
  }

  const { callsPerPrincipal, streamsPerPrincipal } = limits
  const tooManyCalls = {
    message: `${callsPerPrincipal} tool ${callsPerPrincipal === 1 ? 'call of yours is' : 'calls of yours are'} running already; wait for one to end`,
    detail: `${callsPerPrincipal} calls of one caller at once (CALLS_PER_PRINCIPAL)`
  }
  const tooManyStreams = {
    message: `${streamsPerPrincipal} ${streamsPerPrincipal === 1 ? 'stream of yours is' : 'streams of yours are'} open already; close one first`,
    detail: `${streamsPerPrincipal} streams of one caller at once (STREAMS_PER_PRINCIPAL)`
  }

  return {
    countRequest (address, principalKey) {
      const name = addressName(address)
      checkCount(ofAddress, name, limits.requestsPerAddress, 'requests', 'of one address', 'MCP_LIMIT_PER_ADDRESS, TRUST_PROXY')
      if (principalKey !== undefined) {
        checkCount(ofPrincipal, principalKey, limits.requestsPerPrincipal, 'requests', 'of one principal', 'MCP_LIMIT_PER_PRINCIPAL')
        ofPrincipal.add(principalKey)
      }
      ofAddress.add(name)
    },

    countRefused (address) {
      refused.add(addressName(address))
    },

    checkRefused (address) {
      checkCount(refused, addressName(address), limits.refusedPerAddress, 'requests without a valid token', 'of one address', 'MCP_LIMIT_REFUSED, TRUST_PROXY')
    },

    beginCall (principalKey, address) {
      return begin(calls, principalKey ?? addressName(address), callsPerPrincipal, tooManyCalls)
    },

    beginStream (principalKey, address) {
      return begin(streams, principalKey ?? addressName(address), streamsPerPrincipal, tooManyStreams)
    }
  }
}

function checkCount (count: Count, name: string, most: number, what: string, whose: string, setting: string): void {
  if (count.total(name) < most) return
  const seconds = count.secondsLeft()
  throw new LimitError(`Too many ${what}: at most ${most} a minute; try again in ${seconds} ${seconds === 1 ? 'second' : 'seconds'}`, {
    retryAfterSeconds: seconds,
    detail: `${most} ${what} ${whose} in this minute (${setting})`
  })
}
