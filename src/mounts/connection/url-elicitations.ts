import type { Client, InputRequest } from '@modelcontextprotocol/client'
import type { Caller } from '../caller/caller.ts'

/** Limit of the elicitations of one connection whose end is waited for; after that the oldest is forgotten. */
const MAX_OPEN = 100
const MAX_ID_LENGTH = 1_024

type NotifyComplete = NonNullable<Caller['notifyElicitationComplete']>

/**
 * The elicitations by URL that a server of 2025 has asked for on one connection. Their end, which may come long after
 * the call, is told to the client that was asked, and only for what it was asked (MCP 2025-11-25, elicitation).
 */
export class UrlElicitations {
  readonly #open = new Map<string, NotifyComplete>()

  /** Passes on what the server says on the connection of a client. */
  listen (client: Client): void {
    client.setNotificationHandler('notifications/elicitation/complete', ({ params: { elicitationId } }) => {
      const notify = this.#open.get(elicitationId)
      this.#open.delete(elicitationId)
      // While the store is away there is no way to the client.
      Promise.allSettled([notify?.(elicitationId)])
    })
  }

  /** Remembers a question, if it is one by URL and its client can be told of the end. */
  asked ({ params }: InputRequest, { notifyElicitationComplete: notify }: Caller): void {
    const { mode, elicitationId: id } = Object(params) as { mode?: unknown, elicitationId?: unknown }
    const isNamed = mode === 'url' && typeof id === 'string' && id.length <= MAX_ID_LENGTH
    if (!isNamed || notify === undefined) return
    this.#open.set(id, notify)
    if (this.#open.size > MAX_OPEN) this.#open.delete(this.#open.keys().next().value!)
  }
}
