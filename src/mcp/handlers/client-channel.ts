import type { ServerContext } from '@modelcontextprotocol/server'

/** How a handler reaches its client: by what the SDK gives with a request. */
export interface ClientReach extends Pick<ServerContext['mcpReq'], 'send' | 'notify' | 'log'> {
  readonly _meta: ServerContext['mcpReq']['_meta'] | undefined
  /** Something may follow for the client, which the call's answer must not overtake. */
  expect (): void
  /** Calls when the client does not wait any more. @returns what stops that */
  onAbort (listener: () => void): () => void
}

export function reachThrough ({ mcpReq }: ServerContext): ClientReach {
  const { _meta, send, notify, log, signal } = mcpReq
  return {
    _meta,
    expect () {},
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
export class LateReach implements ClientReach {
  /** There is no `_meta` for the client to have asked for progress in. */
  readonly _meta = undefined
  readonly #needed: () => void
  #over = false
  #reach: ClientReach | undefined
  #waiting: Array<(reach: ClientReach) => void> | undefined
  #abort: (() => void) | undefined
  #forgetAbort: (() => void) | undefined

  constructor (needed: () => void) {
    this.#needed = needed
  }

  /** The SDK has the request now: what waited goes out, in its order and before anything later. */
  arrive (reach: ClientReach): void {
    this.#reach = reach
    if (this.#abort !== undefined) this.#forgetAbort = reach.onAbort(this.#abort)
    const waiting = this.#waiting ?? []
    this.#waiting = undefined
    for (const go of waiting) go(reach)
  }

  /** The client has left: as if the SDK had told of it. */
  leave (): void {
    this.#abort?.()
  }

  /** The call was answered without the SDK: from now on nobody is there to be told or asked. */
  end (): void {
    this.#over = true
  }

  expect (): void {
    if (this.#reach === undefined && !this.#over) this.#needed()
  }

  get send (): ClientReach['send'] {
    return (async (...given: unknown[]) => await this.#through(({ send }) => (send as (...given: unknown[]) => Promise<unknown>)(...given), true)) as ClientReach['send']
  }

  get notify (): ClientReach['notify'] {
    return async (...given) => { await this.#through(({ notify }) => notify(...given)) }
  }

  get log (): ClientReach['log'] {
    return async (...given) => { await this.#through(({ log }) => log(...given)) }
  }

  onAbort (listener: () => void): () => void {
    this.#abort = listener
    return () => {
      this.#abort = undefined
      this.#forgetAbort?.()
    }
  }

  async #through<T> (use: (reach: ClientReach) => Promise<T>, asks = false): Promise<T | undefined> {
    if (this.#reach !== undefined) return await use(this.#reach)
    if (this.#over) {
      if (asks) throw new Error('The call is over: its client cannot be asked any more')
      return undefined
    }
    const done = new Promise<T>((resolve, reject) => {
      this.#waiting ??= []
      this.#waiting.push((reach) => { use(reach).then(resolve, reject) })
    })
    this.#needed()
    return await done
  }
}
