import type { RequestId } from '@modelcontextprotocol/server'
import { isPromise } from '../../async/maybe-async.ts'
import type { McpRequest, McpResponse } from '../exchange.ts'
import type { Session } from '../sessions/session.ts'
import { requestKey } from './pending-calls.ts'
import type { HandedOverCall, PendingCall, PendingCalls } from './pending-calls.ts'
import type { PlainResponses } from './plain-response.ts'

/** The SDK's path, as the fast path needs it. */
export interface SdkPath {
  /** Finishes a call of 2026-07-28. */
  resumeModern (request: McpRequest, call: HandedOverCall): Promise<McpResponse>
  /** Finishes a call in a session. */
  resumeInSession (request: McpRequest, session: Session, call: HandedOverCall): Promise<McpResponse>
  /** Whether a request with this id is running in a session. */
  isRunning (session: string, id: RequestId): boolean
}

export interface UnfinishedCallServices {
  sdk: SdkPath
  pendingCalls: PendingCalls
  responses: PlainResponses
}

/** A call whose handler has not returned at once, or whose outcome is not plain. */
export class UnfinishedCall implements PendingCall {
  readonly #services: UnfinishedCallServices
  readonly #request: McpRequest
  readonly #id: RequestId
  readonly #call: HandedOverCall
  readonly #key: unknown
  #handedOver: Promise<McpResponse> | undefined
  #stopWaiting: ((result: undefined) => void) | undefined
  #stopWatching: (() => void) | undefined

  constructor (services: UnfinishedCallServices, request: McpRequest, id: RequestId, call: HandedOverCall) {
    const { session } = call.caller
    this.#services = services
    this.#request = request
    this.#id = id
    this.#call = call
    this.#key = session === undefined ? call : requestKey(session.digest, id)
  }

  /** Waits for a plain result and writes it; leaves every other outcome to the SDK. */
  async respond (isClientNeeded: boolean): Promise<McpResponse> {
    const { caller: { session, running }, release } = this.#call
    const { outcome, channel } = running!
    if (isClientNeeded || !isPromise(outcome)) return await this.handOver()
    const { pendingCalls, responses } = this.#services
    pendingCalls.add(this.#key, this)
    const result = await new Promise<object | undefined>((resolve) => {
      this.#stopWaiting = resolve
      outcome.then(resolve, () => { resolve(undefined) })
    })
    if (this.#handedOver !== undefined || result === undefined) return await this.handOver()
    let isHandedOver = false
    try {
      const response = responses.toolResult(this.#id, session === undefined, result)
      isHandedOver = response === undefined
      return response ?? await this.handOver()
    } finally {
      if (!isHandedOver) {
        this.#leavePending()
        channel.close()
        release()
      }
    }
  }

  /** Hands the call over to the SDK, once. Callers need not await the promise: `respond` does. */
  handOver (): Promise<McpResponse> {
    if (this.#handedOver !== undefined) return this.#handedOver
    this.#leavePending()
    const { sdk } = this.#services
    const { session } = this.#call.caller
    this.#handedOver = session === undefined
      ? sdk.resumeModern(this.#request, this.#call)
      : sdk.resumeInSession(this.#request, session, this.#call)
    this.#stopWaiting?.(undefined)
    return this.#handedOver
  }

  watchClient (): void {
    this.#stopWatching = this.#request.onDisconnect(() => { this.#onDisconnect() })
  }

  /** Cancels a call of 2026-07-28; a call in a session continues. */
  #onDisconnect (): void {
    const { session, running } = this.#call.caller
    if (session === undefined) running!.channel.disconnect()
    this.handOver()
  }

  #leavePending (): void {
    this.#services.pendingCalls.delete(this.#key)
    this.#stopWatching?.()
  }
}
