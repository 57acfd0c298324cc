import type { ServerContext } from '@modelcontextprotocol/server'
import { onAbort } from '../../async/on-abort.ts'

/** Sends a handler's requests, notifications and log messages to its client, through the SDK. */
export interface ClientChannel extends Pick<ServerContext['mcpReq'], 'send' | 'notify' | 'log'> {
  readonly _meta: ServerContext['mcpReq']['_meta'] | undefined
  /** Called before something is sent later: the call's response must not overtake it. */
  ensureAttached (): void
  /** Calls the listener when the client stops waiting. @returns a function that removes the listener */
  onAbort (listener: () => void): () => void
}

/** The channel of a request that the SDK handles. */
export function sdkChannel ({ mcpReq }: ServerContext): ClientChannel {
  const { _meta, send, notify, log, signal } = mcpReq
  return {
    _meta,
    ensureAttached () {},
    send,
    notify,
    log,
    onAbort: (listener) => onAbort(signal, listener)
  }
}

/**
 * The channel of a call on the fast path. Using it hands the call over to the SDK; messages wait until the SDK's
 * channel is attached.
 */
export class DeferredClientChannel implements ClientChannel {
  /** Absent: a request with a progress token in `_meta` never takes the fast path. */
  readonly _meta = undefined
  readonly #onClientNeeded: () => void
  #closed = false
  #channel: ClientChannel | undefined
  #waiting: Array<(channel: ClientChannel) => void> | undefined
  #onAbort: (() => void) | undefined
  #removeAbortListener: (() => void) | undefined

  /** @param onClientNeeded hands the call over to the SDK, which then attaches its channel */
  constructor (onClientNeeded: () => void) {
    this.#onClientNeeded = onClientNeeded
  }

  /** Connects to the SDK's channel: what waits is sent, in order and before anything later. */
  attach (channel: ClientChannel): void {
    this.#channel = channel
    if (this.#onAbort !== undefined) this.#removeAbortListener = channel.onAbort(this.#onAbort)
    const waiting = this.#waiting ?? []
    this.#waiting = undefined
    for (const send of waiting) send(channel)
  }

  /** Reports that the client has disconnected, as the SDK's channel would. */
  disconnect (): void {
    this.#onAbort?.()
  }

  /** Ends the channel, as the call was answered without the SDK: notifications are dropped, requests rejected. */
  close (): void {
    this.#closed = true
  }

  ensureAttached (): void {
    if (this.#channel === undefined && !this.#closed) this.#onClientNeeded()
  }

  get send (): ClientChannel['send'] {
    const send = async (...args: unknown[]): Promise<unknown> => await this.#whenAttached(
      (channel) => (channel.send as (...args: unknown[]) => Promise<unknown>)(...args),
      () => { throw new Error('The call has ended: its client can no longer be asked') })
    return send as ClientChannel['send']
  }

  get notify (): ClientChannel['notify'] {
    return async (...args) => { await this.#whenAttached(({ notify }) => notify(...args)) }
  }

  get log (): ClientChannel['log'] {
    return async (...args) => { await this.#whenAttached(({ log }) => log(...args)) }
  }

  onAbort (listener: () => void): () => void {
    this.#onAbort = listener
    return () => {
      this.#onAbort = undefined
      this.#removeAbortListener?.()
    }
  }

  async #whenAttached<T> (
    use: (channel: ClientChannel) => Promise<T>,
    whenClosed: () => undefined = () => undefined
  ): Promise<T | undefined> {
    if (this.#channel !== undefined) return await use(this.#channel)
    if (this.#closed) return whenClosed()
    const done = new Promise<T>((resolve, reject) => {
      this.#waiting ??= []
      this.#waiting.push((channel) => { use(channel).then(resolve, reject) })
    })
    this.#onClientNeeded()
    return await done
  }
}
