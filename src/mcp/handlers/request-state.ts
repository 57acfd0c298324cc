import { digest, randomId } from '../../crypto/hash.ts'
import type { Keyring } from '../../crypto/keyring.ts'
import type { NextUpstreamRound } from '../../define/upstream.ts'
import { keys } from '../../store/keys.ts'
import type { Store } from '../../store/store.ts'

/** The client's answers so far, by the key of the question. */
export type Answers = Record<string, unknown>

/** The progress of a call whose client is asked for more (MCP 2026-07-28, multi round-trip requests). */
export interface RequestState {
  answers: Answers
  /** Keys of the questions that the client is asked now. */
  asked: string[]
  /** The next round at a server behind this one, which asks these questions; undefined if this one asks. */
  upstream?: NextUpstreamRound | undefined
}

/** The request that a state belongs to. A state opens for the same request only. */
export interface StateBinding {
  principalKey: string
  method: string
  /** The tool's or prompt's name, or the resource's URI. */
  name: string
  arguments: unknown
}

/** A request state that is not valid, for the log. */
export class RequestStateError extends Error {
  override readonly name = 'RequestStateError'
}

export type RequestStates = ReturnType<typeof createRequestStates>

/**
 * Request states that the client carries between two rounds, sealed with AES-256-GCM. A state opens at any replica, for
 * the same principal, request and arguments only, until it expires, and once.
 *
 * @param ttlSeconds lifetime of a state (INPUT_TIMEOUT_SECONDS)
 * @param scope text that keeps the states of an MCP endpoint apart from those of the others
 * @param now milliseconds since the epoch
 */
export function createRequestStates (
  keyring: Keyring,
  store: Store,
  ttlSeconds: number,
  scope = '',
  now: () => number = Date.now
) {
  const contextOf = (binding: StateBinding): string => `request-state${scope}:${describeBinding(binding)}`

  return {
    seal (binding: StateBinding, state: RequestState): string {
      const content = { nonce: randomId(12), expiresAt: now() + ttlSeconds * 1_000, ...state }
      return keyring.seal(JSON.stringify(content), contextOf(binding))
    },

    /** @throws RequestStateError; StoreUnavailableError if it cannot be known whether the state was used */
    async open (sealed: string, binding: StateBinding): Promise<RequestState> {
      const text = keyring.open(sealed, contextOf(binding))
      if (text === undefined) {
        throw new RequestStateError('not sealed here, or for another principal, request or arguments')
      }
      const { nonce, expiresAt, ...state } = JSON.parse(text) as { nonce: string, expiresAt: number } & RequestState
      if (expiresAt <= now()) throw new RequestStateError('expired')
      if (!await store.setIfAbsent(keys.round(nonce), '', ttlSeconds)) throw new RequestStateError('used before')
      return state
    }
  }
}

function describeBinding ({ principalKey, method, name, arguments: args }: StateBinding): string {
  return `${principalKey}:${method}:${digest(canonicalJson([name, args]))}`
}

/** Sorts the members of all objects: a client may send them in another order. */
function canonicalJson (value: unknown): string {
  return JSON.stringify(value, (_key, inner: unknown) => {
    if (typeof inner !== 'object' || inner === null || Array.isArray(inner)) return inner
    return Object.fromEntries(Object.entries(inner).sort(([a], [b]) => a < b ? -1 : 1))
  })
}
