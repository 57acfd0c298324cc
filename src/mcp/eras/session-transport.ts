import { isJSONRPCRequest, isJSONRPCResponse } from '@modelcontextprotocol/server'
import type {
  InitializeRequest, JSONRPCMessage, JSONRPCRequest, JSONRPCResponse, RequestId, Server, Transport
} from '@modelcontextprotocol/server'
import { randomId } from '../../crypto/hash.ts'
import type { ClientRequests } from '../cluster/client-requests.ts'
import type { Session } from '../sessions/session.ts'
import type { CallStream } from '../streams/call-stream.ts'

/** A server object that is connected to one POST of a session. */
export interface SessionConnection {
  /** Passes a message of the client to the server. */
  deliver (message: JSONRPCMessage): void
  close (): Promise<void>
}

export interface SessionTransportOptions {
  session: Session
  stream: CallStream
  clientRequests: ClientRequests
}

/**
 * Connects a server to one POST of a session. A server knows its client from the handshake, so it first gets the one
 * that the session remembers.
 */
export async function connectToSession (server: Server, options: SessionTransportOptions): Promise<SessionConnection> {
  const transport = new SessionTransport(options)
  await server.connect(transport)
  await repeatHandshake(transport, options.session)
  return {
    deliver (message) { transport.onmessage!(message) },
    async close () { await server.close() }
  }
}

/** Initializes a server that serves nothing else. @returns its response */
export async function initializeServer (server: Server, request: JSONRPCRequest): Promise<JSONRPCResponse> {
  const transport = new HandshakeTransport()
  await server.connect(transport)
  const response = new Promise<JSONRPCResponse>((resolve) => { transport.onresponse = resolve })
  transport.onmessage!(request)
  try {
    return await response
  } finally {
    await server.close()
  }
}

async function repeatHandshake (transport: SessionTransport, session: Session): Promise<void> {
  const { clientInfo, capabilities, protocolVersion } = session
  const request: InitializeRequest & { jsonrpc: '2.0', id: RequestId } = {
    jsonrpc: '2.0',
    id: transport.handshakeId,
    method: 'initialize',
    params: { protocolVersion, capabilities, clientInfo }
  }
  const done = new Promise<void>((resolve) => { transport.onhandshake = resolve })
  transport.onmessage!(request as JSONRPCMessage)
  await done
}

class HandshakeTransport implements Transport {
  onmessage?: (message: JSONRPCMessage) => void
  onclose?: () => void
  onresponse?: (response: JSONRPCResponse) => void

  async start (): Promise<void> {}

  async send (message: JSONRPCMessage): Promise<void> {
    if (isJSONRPCResponse(message)) this.onresponse?.(message)
  }

  async close (): Promise<void> {
    this.onclose?.()
  }
}

class SessionTransport implements Transport {
  onmessage?: (message: JSONRPCMessage) => void
  onclose?: () => void
  onhandshake?: () => void
  readonly handshakeId = randomId(9)
  readonly #options: SessionTransportOptions
  /** Unique ids on the wire, by the ids of the SDK, which counts from 0 for every server object. */
  readonly #wireIds = new Map<RequestId, string>()

  constructor (options: SessionTransportOptions) {
    this.#options = options
  }

  async start (): Promise<void> {}

  async send (message: JSONRPCMessage): Promise<void> {
    const { stream } = this.#options
    if (isJSONRPCResponse(message)) {
      if (message.id === this.handshakeId) this.onhandshake?.()
      else stream.respond(message)
    } else if (isJSONRPCRequest(message)) {
      await stream.send({ ...message, id: this.#createRequest(message.id) })
    } else if (message.method === 'notifications/cancelled') {
      const requestId = this.#discardRequest(message.params!['requestId'] as RequestId)
      await stream.send({ ...message, params: { ...message.params, requestId } })
    } else {
      await stream.send(message)
    }
  }

  async close (): Promise<void> {
    for (const id of this.#wireIds.keys()) this.#discardRequest(id)
    this.onclose?.()
  }

  #createRequest (sdkId: RequestId): string {
    const { clientRequests, session } = this.#options
    const wireId = clientRequests.create(session.digest, (response) => {
      this.#wireIds.delete(sdkId)
      this.onmessage!({ ...response, id: sdkId } as JSONRPCMessage)
    })
    this.#wireIds.set(sdkId, wireId)
    return wireId
  }

  #discardRequest (sdkId: RequestId): string | undefined {
    const wireId = this.#wireIds.get(sdkId)
    this.#wireIds.delete(sdkId)
    if (wireId !== undefined) this.#options.clientRequests.discard(wireId)
    return wireId
  }
}
