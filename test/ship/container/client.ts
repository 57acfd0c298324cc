import { Client, StreamableHTTPClientTransport } from '@modelcontextprotocol/client'
import { createOAuthClient } from '../../support/oauth-client.ts'

/**
 * A real MCP client in the network of the engine, where a person's would be on the machine: it is turned to sign-in,
 * registers, signs in as ada, lists the tools and calls some of them at once.
 *
 *   node client.js <MCP URL> <tool> <number of calls> <arguments, as JSON>
 *
 * Prints the tools, the results and the access token as JSON.
 */
const [url, name, count, args] = process.argv.slice(2)
const info = { name: 'container-test', version: '1.0.0' }
const oauth = createOAuthClient()

const first = new StreamableHTTPClientTransport(new URL(url!), { authProvider: oauth.provider })
const refusal = await new Client(info).connect(first).then(() => 'none', (err: Error) => err.message)
if (refusal !== 'Unauthorized') throw new Error(`The client was not turned to sign-in: ${refusal}`)
await first.finishAuth((await oauth.signIn()).searchParams)

const client = new Client(info)
await client.connect(new StreamableHTTPClientTransport(new URL(url!), { authProvider: oauth.provider }))
const { tools } = await client.listTools()
const results = await Promise.all(Array.from({ length: Number(count) }, async () =>
  await client.callTool({ name: name!, arguments: JSON.parse(args!) })
    .catch((err: Error) => ({ failed: err.message }))))
console.log(JSON.stringify({
  tools: tools.map(({ name }) => name),
  results,
  accessToken: oauth.tokens().access_token
}))
process.exit()
