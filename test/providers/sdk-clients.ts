import { Client, StreamableHTTPClientTransport } from '@modelcontextprotocol/client'
import { Client as ClientV1 } from '@modelcontextprotocol/sdk/client/index.js'
import { StreamableHTTPClientTransport as TransportV1 } from '@modelcontextprotocol/sdk/client/streamableHttp.js'
import { createOAuthClient } from '../support/oauth-client.ts'
import type { ConnectedClient, RealClient } from './client.ts'

const INFO = { name: 'providers', version: '1.0.0' }

/** The official TypeScript SDKs: version 1, and version 2 in both eras of the protocol. */
export const SDK_CLIENTS: RealClient[] = [
  {
    name: 'SDK v1',
    async connect ({ url, redirectUri, signIn }) {
      const oauth = createOAuthClient(undefined, undefined, { redirectUri, signIn })
      const transport = (): TransportV1 => new TransportV1(new URL(url), { authProvider: oauth.provider as never })
      const first = transport()
      await expectSignIn(new ClientV1(INFO).connect(first as never))
      await first.finishAuth((await oauth.signIn()).searchParams.get('code')!)
      const client = new ClientV1(INFO)
      await client.connect(transport() as never)
      return connected(client, oauth.spoilAccessToken)
    }
  },
  ...(['legacy', 'auto'] as const).map((mode): RealClient => ({
    name: mode === 'legacy' ? 'SDK v2, 2025-11-25' : 'SDK v2, 2026-07-28',
    async connect ({ url, redirectUri, signIn }) {
      const oauth = createOAuthClient(undefined, undefined, { redirectUri, signIn })
      const create = (): Client => new Client(INFO, { versionNegotiation: { mode } })
      const transport = (): StreamableHTTPClientTransport =>
        new StreamableHTTPClientTransport(new URL(url), { authProvider: oauth.provider })
      const first = transport()
      await expectSignIn(create().connect(first))
      await first.finishAuth((await oauth.signIn()).searchParams)
      const client = create()
      await client.connect(transport())
      return connected(client, oauth.spoilAccessToken)
    }
  }))
]

function connected (client: ClientV1 | Client, spoilAccessToken: () => void): ConnectedClient {
  return {
    listTools: async () => (await client.listTools()).tools.map(({ name }) => name),
    async whoami () {
      const { structuredContent } = await client.callTool({ name: 'whoami', arguments: {} })
      return structuredContent as Record<string, unknown>
    },
    spoilAccessToken,
    close: async () => { await client.close() }
  }
}

/** The SDKs end the first attempt with this error when they have sent the person to the browser. */
async function expectSignIn (attempt: Promise<void>): Promise<void> {
  const failure = await attempt.then(() => undefined, (err: Error) => err)
  if (failure?.name !== 'UnauthorizedError' && failure?.constructor.name !== 'UnauthorizedError') {
    throw new Error(`The client was to be sent to sign in: ${String(failure)}`, { cause: failure })
  }
}
