import type { ServerContext } from '@modelcontextprotocol/server'

/** How a handler reaches its client: by what the SDK gives with a request. */
export interface ClientChannel extends Pick<ServerContext['mcpReq'], 'send' | 'notify' | 'log'> {
  readonly _meta: ServerContext['mcpReq']['_meta'] | undefined
  /** Something may follow for the client, which the call's answer must not overtake. */
  ensureAttached (): void
  /** Calls when the client does not wait any more. @returns what stops that */
  onAbort (listener: () => void): () => void
}

export function sdkChannel ({ mcpReq }: ServerContext): ClientChannel {
  const { _meta, send, notify, log, signal } = mcpReq
  return {
    _meta,
    ensureAttached () {},
    send,
    notify,
    log,
    onAbort (listener) {
      if (signal.aborted) listener()
      else signal.addEventListener('abort', listener, { once: true })
      return () => { signal.removeEventListener('abort', listener) }
    }
  }
}

/**
 * That of a call which began without the SDK. What needs the client waits until the SDK has the request; being needed
 * is what brings it there.
 */
export class DeferredClientChannel implements ClientChannel {
  /** There is no `_meta` for the client to have asked for progress in. */
  readonly _meta = undefined
  readonly #needed: () => void
  #over = false
  #channel: ClientChannel | undefined
  #waiting: Array<(channel: ClientChannel) => void> | undefined
  #abort: (() => void) | undefined
  #forgetAbort: (() => void) | undefined

  constructor (needed: () => void) {
    this.#needed = needed
  }

  /** The SDK has the request now: what waited goes out, in its order and before anything later. */
  attach (channel: ClientChannel): void {
    this.#channel = channel
    if (this.#abort !== undefined) this.#forgetAbort = channel.onAbort(this.#abort)
    const waiting = this.#waiting ?? []
    this.#waiting = undefined
    for (const go of waiting) go(channel)
  }

  /** The client has left: as if the SDK had told of it. */
  disconnect (): void {
    this.#abort?.()
  }

  /** The call was answered without the SDK: from now on nobody is there to be told or asked. */
  close (): void {
    this.#over = true
  }

  ensureAttached (): void {
    if (this.#channel === undefined && !this.#over) this.#needed()
  }

  get send (): ClientChannel['send'] {
    return (async (...given: unknown[]) => await this.#through(({ send }) => (send as (...given: unknown[]) => Promise<unknown>)(...given), true)) as ClientChannel['send']
  }

  get notify (): ClientChannel['notify'] {
    return async (...given) => { await this.#through(({ notify }) => notify(...given)) }
  }

  get log (): ClientChannel['log'] {
    return async (...given) => { await this.#through(({ log }) => log(...given)) }
  }

  onAbort (listener: () => void): () => void {
    this.#abort = listener
    return () => {
      this.#abort = undefined
      this.#forgetAbort?.()
    }
  }

  async #through<T> (use: (channel: ClientChannel) => Promise<T>, asks = false): Promise<T | undefined> {
    if (this.#channel !== undefined) return await use(this.#channel)
    if (this.#over) {
      if (asks) throw new Error('The call is over: its client cannot be asked any more')
      return undefined
    }
    const done = new Promise<T>((resolve, reject) => {
      this.#waiting ??= []
      this.#waiting.push((channel) => { use(channel).then(resolve, reject) })
    })
    this.#needed()
    return await done
  }
}
