import { Client, StreamableHTTPClientTransport } from '@modelcontextprotocol/client'
import { Client as ClientV1 } from '@modelcontextprotocol/sdk/client/index.js'
import { StreamableHTTPClientTransport as TransportV1 } from '@modelcontextprotocol/sdk/client/streamableHttp.js'
import { createOAuthClient } from '../support/oauth-client.ts'
import type { ConnectedClient, Method, Params, RealClient } from './client.ts'

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
    request: async (method, params) => await sendRequest(client as Client, method, params),
    close: async () => { await client.close() }
  }
}

/** Sends a request by the method that a program would use; both SDKs call them the same. */
export async function sendRequest (client: Client, method: Method, params: Params): Promise<unknown> {
  switch (method) {
    case 'tools/list': return await client.listTools(params)
    case 'tools/call': return await client.callTool(params as never)
    case 'prompts/list': return await client.listPrompts(params)
    case 'prompts/get': return await client.getPrompt(params as never)
    case 'resources/list': return await client.listResources(params)
    case 'resources/templates/list': return await client.listResourceTemplates(params)
    case 'resources/read': return await client.readResource(params as never)
    case 'completion/complete': return await client.complete(params as never)
  }
}

/** The SDKs end the first attempt with this error when they have sent the person to the browser. */
async function expectSignIn (attempt: Promise<void>): Promise<void> {
  const failure = await attempt.then(() => undefined, (err: Error) => err)
  if (failure?.name !== 'UnauthorizedError' && failure?.constructor.name !== 'UnauthorizedError') {
    throw new Error(`The client was to be sent to sign in: ${String(failure)}`, { cause: failure })
  }
}
