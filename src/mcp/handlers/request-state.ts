import { digest, randomId } from '../../crypto/keyring.ts'
import type { Keyring } from '../../crypto/keyring.ts'
import { canonicalJson } from '../../json/canonical-json.ts'
import { keys } from '../../store/keys.ts'
import type { Store } from '../../store/store.ts'

/**
 * What a handler has been told so far, while the client is asked for more (MCP 2026-07-28, multi round-trip requests). The
 * client carries it, sealed (AES-256-GCM): it opens for the same principal, request and arguments only, on any replica,
 * until it expires, and once.
 */
export interface RequestStates {
  seal (binding: StateBinding, state: RequestState): string
  /** @throws RequestStateError; StoreUnavailableError when nobody can say whether it was used */
  open (sealed: string, binding: StateBinding): Promise<RequestState>
}

export interface RequestState {
  answers: Answers
  /** Keys of what the client is asked for now. */
  asked: string[]
}

/** What the handler was told, by the key of the question. */
export type Answers = Record<string, unknown>

export interface StateBinding {
  principalKey: string
  method: string
  /** The tool, the prompt, the resource's URI. */
  name: string
  arguments: unknown
}

export class RequestStateError extends Error {
  override readonly name = 'RequestStateError'
}

/** @param now milliseconds since the epoch */
export function createRequestStates (secrets: Keyring, store: Store, ttlSeconds: number, now: () => number = Date.now): RequestStates {
  return {
    seal (binding, state) {
      return secrets.seal(JSON.stringify({ nonce: randomId(12), expiresAt: now() + ttlSeconds * 1_000, ...state }), context(binding))
    },

    async open (sealed, binding) {
      const text = secrets.open(sealed, context(binding))
      if (text === undefined) throw new RequestStateError('not sealed here, or for another principal, request or arguments')
      const { nonce, expiresAt, ...state } = JSON.parse(text) as { nonce: string, expiresAt: number } & RequestState
      if (expiresAt <= now()) throw new RequestStateError('expired')
      if (!await store.setIfAbsent(keys.round(nonce), '', ttlSeconds)) throw new RequestStateError('used before')
      return state
    }
  }
}

function context ({ principalKey, method, name, arguments: input }: StateBinding): string {
  return `request-state:${principalKey}:${method}:${digest(canonicalJson([name, input]))}`
}
