import { Client as ClientV1 } from '@modelcontextprotocol/sdk/client/index.js'
import { StreamableHTTPClientTransport as TransportV1 } from '@modelcontextprotocol/sdk/client/streamableHttp.js'
import { Client, StreamableHTTPClientTransport } from '@modelcontextprotocol/client'
import type { VersionNegotiationMode } from '@modelcontextprotocol/client'
import type { Test } from 'tap'
import type { SignedInClient } from './oauth-client.ts'

/** Clients of both SDKs that go the whole way: 401, discovery, registration, sign-in, token, connection. */

/** A client that has signed in, and has a connection. */
export interface SignedInConnection {
  protocolVersion: string | undefined
  listTools (): Promise<string[]>
  ping (): Promise<Record<string, unknown>>
  close (): Promise<void>
}
export type SignInAndConnect = (t: Test, url: URL, oauth: SignedInClient) => Promise<SignedInConnection>

const info = { name: 'flow-test', version: '1.0.0' }

export const signInV1: SignInAndConnect = async (t, url, oauth) => {
  const first = new TransportV1(url, { authProvider: oauth.provider as never })
  await t.rejects(
    new ClientV1(info).connect(first as never),
    { message: 'Unauthorized' },
    'the first connection is turned to sign-in'
  )
  await first.finishAuth((await oauth.signIn()).searchParams.get('code')!)
  const client = new ClientV1(info)
  const transport = new TransportV1(url, { authProvider: oauth.provider as never })
  await client.connect(transport as never)
  return {
    protocolVersion: transport.protocolVersion,
    listTools: async () => (await client.listTools()).tools.map(({ name }) => name),
    ping: async () =>
      (await client.callTool({ name: 'seed_ping', arguments: {} })).structuredContent as Record<string, unknown>,
    close: async () => {
      await client.close()
    }
  }
}

export function signInV2 (mode: VersionNegotiationMode): SignInAndConnect {
  const options = { versionNegotiation: { mode } }
  return async (t, url, oauth) => {
    const first = new StreamableHTTPClientTransport(url, { authProvider: oauth.provider })
    await t.rejects(
      new Client(info, options).connect(first),
      { message: 'Unauthorized' },
      'the first connection is turned to sign-in'
    )
    await first.finishAuth((await oauth.signIn()).searchParams)
    const client = new Client(info, options)
    await client.connect(new StreamableHTTPClientTransport(url, { authProvider: oauth.provider }))
    return {
      protocolVersion: client.getNegotiatedProtocolVersion(),
      listTools: async () => (await client.listTools()).tools.map(({ name }) => name),
      ping: async () =>
        (await client.callTool({ name: 'seed_ping', arguments: {} })).structuredContent as Record<string, unknown>,
      close: async () => {
        await client.close()
      }
    }
  }
}
