import type { Caller } from '../caller/caller.ts'
import type { CallerIdentity } from '../caller/caller-identity.ts'

/** Names the call that a message belongs to on its way to `fetch`, where the identity takes its place. */
const CALL_HEADER = 'seed-call'

/** Options of the requests that belong to one call, for the MCP client. */
export interface CallOptions {
  headers?: Record<string, string>
}

/**
 * Tells a mounted server with each HTTP request who calls. The identity is made when the request is sent, as tokens and
 * assertions are short-lived and a call may have several requests. Requests that belong to no call, such as those that
 * open and end a session, are those of the connection's owner.
 */
export class RequestIdentity {
  readonly #identify: CallerIdentity
  readonly #owner: Caller | undefined
  readonly #calls = new Map<string, Caller>()
  #count = 0

  /** @param owner undefined for a connection of Seed itself */
  constructor (identify: CallerIdentity, owner: Caller | undefined) {
    this.#identify = identify
    this.#owner = owner
  }

  /** Returns the options of a call's requests. They are of use until `end`. */
  begin (caller: Caller): CallOptions {
    const id = String(this.#count++)
    this.#calls.set(id, caller)
    return { headers: { [CALL_HEADER]: id } }
  }

  end ({ headers }: CallOptions): void {
    this.#calls.delete(headers![CALL_HEADER]!)
  }

  /** Returns the headers of a request with the identity. @throws ToolError if there is none */
  async addTo (headers: RequestInit['headers']): Promise<Record<string, string>> {
    const { [CALL_HEADER]: id, ...others } = Object.fromEntries(new Headers(headers))
    return { ...others, ...await this.#identityOf(id) }
  }

  async #identityOf (id: string | undefined): Promise<Record<string, string>> {
    if (id === undefined) return await this.#identify(this.#owner?.principal)
    const caller = this.#calls.get(id)
    if (caller === undefined) throw new Error('A request of a call that has ended is not sent')
    return await this.#identify(caller.principal, caller.signal)
  }
}
