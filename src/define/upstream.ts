import type { CacheHint, InputRequest } from '@modelcontextprotocol/server'

/**
 * The result of a server behind this one, as a mounted server gives it. The client gets it whole: it is checked against
 * the types of MCP and the limit of its size, and nothing is added or left out.
 */
export class UpstreamResult {
  readonly result: object
  readonly cacheHint: Required<CacheHint>

  /** @param cacheHint for how long, and for whom, clients may keep a resource; they do not keep it by default */
  constructor (result: object, cacheHint: Required<CacheHint> = { ttlMs: 0, cacheScope: 'private' }) {
    this.result = result
    this.cacheHint = cacheHint
  }
}

/** The JSON-RPC error of a server behind this one. The client gets its code, message and data. */
export class UpstreamError extends Error {
  override readonly name = 'UpstreamError'
  readonly code: number
  readonly data: unknown

  constructor (code: number, message: string, data?: unknown) {
    super(message)
    this.code = code
    this.data = data
  }
}

/** The input that a server behind this one needs before it can answer (MCP 2026-07-28, multi round-trip requests). */
export interface UpstreamQuestions {
  inputRequests: Record<string, InputRequest>
  /** That server's own state, which it gets back with the answers. */
  requestState: string | undefined
  /** Whether the state is instead the id of a call that a replica holds open. */
  isHeld?: boolean | undefined
}

/** A round of a call to a server behind this one: the members of its request beside the arguments. */
export interface UpstreamRound {
  inputResponses: Record<string, unknown>
  requestState: string | undefined
  isHeld?: boolean | undefined
  /** The rounds so far, this one included. */
  count: number
}

/** A round whose answers are still to come, as the request state holds it. */
export type NextUpstreamRound = Omit<UpstreamRound, 'inputResponses'>
