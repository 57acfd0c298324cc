import { isJSONRPCRequest, isJSONRPCResponse } from '@modelcontextprotocol/server'
import type { InitializeRequest, JSONRPCMessage, JSONRPCRequest, JSONRPCResponse, RequestId, Server, Transport } from '@modelcontextprotocol/server'
import { randomId } from '../../crypto/hash.ts'
import type { CallStream } from '../streams/call-stream.ts'
import type { ClientRequests } from '../cluster/client-requests.ts'
import type { Session } from '../sessions/sessions.ts'

/**
 * Runs a server for one POST of a session. A server knows its client from the handshake, so it is shown the one that
 * the session remembers; then the POST's messages.
 */
export interface CallTransport {
  /** Delivers a message of the client. */
  deliver (message: JSONRPCMessage): void
  close (): Promise<void>
}

export interface CallTransportOptions {
  session: Session
  call: CallStream
  clientRequests: ClientRequests
}

export async function connect (server: Server, options: CallTransportOptions): Promise<CallTransport> {
  const transport = new SessionTransport(options)
  await server.connect(transport)
  await handshake(transport, options.session)
  return {
    deliver (message) { transport.onmessage!(message) },
    async close () { await server.close() }
  }
}

/** Initializes a server and gives what it answered. */
export async function initialize (server: Server, request: JSONRPCRequest): Promise<JSONRPCResponse> {
  const transport = new HandshakeTransport()
  await server.connect(transport)
  const answer = new Promise<JSONRPCResponse>((resolve) => { transport.onanswer = resolve })
  transport.onmessage!(request)
  try {
    return await answer
  } finally {
    await server.close()
  }
}

class HandshakeTransport implements Transport {
  onmessage?: (message: JSONRPCMessage) => void
  onclose?: () => void
  onanswer?: (answer: JSONRPCResponse) => void

  async start (): Promise<void> {}

  async send (message: JSONRPCMessage): Promise<void> {
    if (isJSONRPCResponse(message)) this.onanswer?.(message)
  }

  async close (): Promise<void> {
    this.onclose?.()
  }
}

async function handshake (transport: SessionTransport, { clientInfo, capabilities, protocolVersion }: Session): Promise<void> {
  const request: InitializeRequest & { jsonrpc: '2.0', id: RequestId } = {
    jsonrpc: '2.0', id: transport.handshakeId, method: 'initialize', params: { protocolVersion, capabilities, clientInfo }
  }
  const shaken = new Promise<void>((resolve) => { transport.onhandshake = resolve })
  transport.onmessage!(request as JSONRPCMessage)
  await shaken
}

class SessionTransport implements Transport {
  onmessage?: (message: JSONRPCMessage) => void
  onclose?: () => void
  onhandshake?: () => void
  readonly handshakeId = randomId(9)
  readonly #options: CallTransportOptions
  /** The SDK counts its requests for each server anew; on the wire they have ids that are unique. */
  readonly #sent = new Map<RequestId, string>()

  constructor (options: CallTransportOptions) {
    this.#options = options
  }

  async start (): Promise<void> {}

  async send (message: JSONRPCMessage): Promise<void> {
    const { call } = this.#options
    if (isJSONRPCResponse(message)) {
      if (message.id === this.handshakeId) this.onhandshake?.()
      else call.respond(message)
    } else if (isJSONRPCRequest(message)) {
      await call.emit({ ...message, id: this.#open(message.id) })
    } else if (message.method === 'notifications/cancelled') {
      await call.emit({ ...message, params: { ...message.params, requestId: this.#close(message.params!['requestId'] as RequestId) } })
    } else {
      await call.emit(message)
    }
  }

  async close (): Promise<void> {
    for (const id of this.#sent.keys()) this.#close(id)
    this.onclose?.()
  }

  #open (own: RequestId): string {
    const { clientRequests, session } = this.#options
    const id = clientRequests.open(session.digest, (answer) => {
      this.#sent.delete(own)
      this.onmessage!({ ...answer, id: own } as JSONRPCMessage)
    })
    this.#sent.set(own, id)
    return id
  }

  #close (own: RequestId): string | undefined {
    const id = this.#sent.get(own)
    this.#sent.delete(own)
    if (id !== undefined) this.#options.clientRequests.close(id)
    return id
  }
}
