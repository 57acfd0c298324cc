import { LRUCache } from 'lru-cache'
import type { Config } from '../config/config.ts'
import { digest } from '../crypto/hash.ts'
import { LimitError } from '../errors/http-error.ts'
import { clientAddressKey } from '../net/addresses.ts'
import type { Gauge } from './shared-gauge.ts'
import type { SharedCounters } from './shared-counters.ts'

/**
 * Limits of /mcp, over all replicas: requests a minute, and calls and streams at once, of each person and address. A
 * person is counted with all their clients, whose ids are theirs to choose.
 *
 * Nothing here waits for the store, so with several replicas a little more may be let through: about a tenth more
 * requests, and the calls and streams that begin elsewhere within 25 ms (shared-counters.ts).
 */
export interface McpLimits {
  /**
   * Counts a request, or several messages of one. A refused request does not count.
   *
   * @param personKey undefined with AUTH_REQUIRED=false
   * @param messages 1 where absent
   * @throws LimitError when the address or the principal has reached its limit for this minute
   */
  countRequest (address: string, personKey: string | undefined, messages?: number): void

  /** Counts a request whose token was refused. */
  countRefused (address: string): void

  /**
   * Checks whether a request with an invalid token gets 401, or 429. Requests with a valid token are not affected, so
   * that one bad client does not lock out its neighbours.
   *
   * @throws LimitError when too many tokens of this address were refused in this minute
   */
  checkRefused (address: string): void

  /**
   * Counts a call of the principal, or else of the address, as running.
   *
   * @returns the function that ends it; a second call of it does nothing
   * @throws LimitError when the limit of running calls is reached
   */
  beginCall (requester: Requester): () => void

  /** Counts a stream as open; otherwise the same as beginCall. */
  beginStream (requester: Requester): () => void

  /** Returns how many streams of a person are open, on all replicas. */
  openStreams (personKey: string): number

  /** Returns what runs on this replica. */
  running (): { calls: number, streams: number }

  /** Returns the key under which everything of a person, or else of an address, is counted. */
  callerKey (requester: Requester): string
}

interface Requester {
  readonly principal: { readonly personKey: string } | undefined
  /** Read only where there is no principal: behind a proxy it is searched for in the headers each time. */
  readonly address: string
}

/** Retry-After for calls and streams, of which nobody knows when they end. */
const RETRY_BUSY_SECONDS = 1

const MAX_ADDRESSES = 10_000

export function createMcpLimits (counters: SharedCounters, limits: Config['mcp']['limits']): McpLimits {
  const requestsByAddress = createMinuteLimit(counters, {
    family: 'address',
    max: limits.requestsPerAddress,
    what: 'requests',
    whose: 'of one address',
    setting: 'MCP_LIMIT_PER_ADDRESS, TRUST_PROXY'
  })
  const requestsByPerson = createMinuteLimit(counters, {
    family: 'principal',
    max: limits.requestsPerPrincipal,
    what: 'requests',
    whose: 'of one person',
    setting: 'MCP_LIMIT_PER_PRINCIPAL'
  })
  const refused = createMinuteLimit(counters, {
    family: 'refused',
    max: limits.refusedPerAddress,
    what: 'requests with an invalid token',
    whose: 'of one address',
    setting: 'MCP_LIMIT_REFUSED, TRUST_PROXY'
  })
  const calls = counters.gauge('calls')
  const streams = counters.gauge('streams')
  /** Digests of addresses, since many requests come from the same ones. */
  const digests = new LRUCache<string, string>({ max: MAX_ADDRESSES })

  function addressDigest (address: string): string {
    const known = digests.peek(address)
    if (known !== undefined) return known
    const name = digest(clientAddressKey(address))
    digests.set(address, name)
    return name
  }

  function callerKey (requester: Requester): string {
    return requester.principal?.personKey ?? addressDigest(requester.address)
  }

  const { callsPerPrincipal: maxCalls, streamsPerPrincipal: maxStreams } = limits
  const tooManyCalls = {
    message: `You already have ${count(maxCalls, 'call')} running; wait for one to finish`,
    detail: `${count(maxCalls, 'call')} of one caller at once (CALLS_PER_PRINCIPAL)`
  }
  const tooManyStreams = {
    message: `You already have ${count(maxStreams, 'stream')} open; close one first`,
    detail: `${count(maxStreams, 'stream')} of one caller at once (STREAMS_PER_PRINCIPAL)`
  }

  return {
    countRequest (address, personKey, messages = 1) {
      const name = addressDigest(address)
      requestsByAddress.check(name, messages)
      if (personKey !== undefined) {
        requestsByPerson.check(personKey, messages)
        requestsByPerson.add(personKey, messages)
      }
      requestsByAddress.add(name, messages)
    },

    countRefused (address) {
      refused.add(addressDigest(address))
    },

    checkRefused (address) {
      refused.check(addressDigest(address))
    },

    beginCall (requester) {
      return increase(calls, callerKey(requester), maxCalls, tooManyCalls)
    },

    beginStream (requester) {
      return increase(streams, callerKey(requester), maxStreams, tooManyStreams)
    },

    openStreams: (personKey) => streams.total(personKey),

    running: () => ({ calls: calls.localTotal(), streams: streams.localTotal() }),

    callerKey
  }
}

function increase (gauge: Gauge, name: string, max: number, refusal: { message: string, detail: string }): () => void {
  if (gauge.total(name) >= max) {
    throw new LimitError(refusal.message, { retryAfterSeconds: RETRY_BUSY_SECONDS, detail: refusal.detail })
  }
  gauge.add(name, 1)
  let ended = false
  return () => {
    if (!ended) gauge.add(name, -1)
    ended = true
  }
}

interface MinuteLimitOptions {
  family: string
  max: number
  what: string
  whose: string
  setting: string
}

function createMinuteLimit (counters: SharedCounters, { family, max, what, whose, setting }: MinuteLimitOptions) {
  const counter = counters.counter(family, max)
  return {
    add (name: string, by = 1): void {
      counter.add(name, by)
    },

    /** @throws LimitError if so many more would exceed the limit */
    check (name: string, more = 1): void {
      if (counter.total(name) + more <= max) return
      const seconds = counter.secondsLeft()
      throw new LimitError(`Too many ${what}: at most ${max} a minute; try again in ${count(seconds, 'second')}`, {
        retryAfterSeconds: seconds,
        detail: `${max} ${what} ${whose} in this minute (${setting})`
      })
    }
  }
}

function count (number: number, noun: string): string {
  return `${number} ${noun}${number === 1 ? '' : 's'}`
}
