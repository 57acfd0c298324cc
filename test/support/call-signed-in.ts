import { Client, StreamableHTTPClientTransport } from '@modelcontextprotocol/client'
import { createOAuthClient } from './oauth-client.ts'

/** Registers a client, signs ada in as a browser would, and calls a tool. */
export async function callSignedIn (
  mcpUrl: string, name = 'seed_ping', args: Record<string, unknown> = {}
): Promise<unknown> {
  const { provider: authProvider, signIn } = createOAuthClient()
  const connect = async (): Promise<{ client: Client, transport: StreamableHTTPClientTransport }> => {
    const transport = new StreamableHTTPClientTransport(new URL(mcpUrl), { authProvider })
    const client = new Client({ name: 'newcomer', version: '1' })
    return { client, transport }
  }
  const first = await connect()
  await first.client.connect(first.transport).catch(() => {})
  await first.transport.finishAuth((await signIn()).searchParams)
  const { client, transport } = await connect()
  await client.connect(transport)
  try {
    return (await client.callTool({ name, arguments: args })).structuredContent
  } finally {
    await client.close()
  }
}
