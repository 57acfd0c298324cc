import { once } from 'node:events'
import { createServer } from 'node:http'
import type { IncomingMessage, ServerResponse } from 'node:http'
import type { AddressInfo } from 'node:net'
import { text } from 'node:stream/consumers'
import { McpServer, ResourceTemplate, createMcpHandler, fromJsonSchema } from '@modelcontextprotocol/server'
import type { Test } from 'tap'

/** Starts a server of the SDK, version 2, which speaks 2026-07-28 alone. @returns its URL */
export async function startModernServer (t: Test): Promise<string> {
  const handler = createMcpHandler(createModernServer, { legacy: 'reject' })
  const server = createServer((request, response) => { answer(handler, request, response) }).listen(0, '127.0.0.1')
  await once(server, 'listening')
  t.teardown(() => {
    server.closeAllConnections()
    server.close()
  })
  return `http://127.0.0.1:${(server.address() as AddressInfo).port}/mcp`
}

async function answer (
  handler: ReturnType<typeof createMcpHandler>, request: IncomingMessage, response: ServerResponse
): Promise<void> {
  const body = await text(request)
  const closing = new AbortController()
  response.on('close', () => { closing.abort() })
  const answer = await handler.fetch(new Request(`http://${request.headers.host}${request.url}`, {
    method: request.method!,
    headers: request.headers as Record<string, string>,
    signal: closing.signal,
    ...(body !== '' && { body })
  }))
  response.writeHead(answer.status, Object.fromEntries(answer.headers))
  response.flushHeaders()
  try {
    for await (const chunk of answer.body ?? []) response.write(chunk)
  } catch {
    // The client has closed the stream.
  }
  response.end()
}

/** A server of one connection, or of one request. */
export function createModernServer (): McpServer {
  const server = new McpServer({ name: 'modern', version: '1.0.0' })
  const object = <Input>(properties: object) =>
    fromJsonSchema<Input>({ type: 'object', properties, required: Object.keys(properties) } as never)

  server.registerTool('add', {
    title: 'Sum',
    description: 'Adds two numbers',
    inputSchema: object<{ a: number, b: number }>({ a: { type: 'number' }, b: { type: 'number' } }),
    outputSchema: object<{ sum: number }>({ sum: { type: 'number' } }),
    annotations: { readOnlyHint: true, openWorldHint: false }
  }, ({ a, b }) => ({ content: [{ type: 'text', text: String(a + b) }], structuredContent: { sum: a + b } }))

  server.registerTool('link', {}, () => ({
    content: [
      { type: 'resource_link', uri: 'notes://ada/1', name: 'A note', mimeType: 'text/plain' },
      { type: 'resource_link', uri: 'https://example.com/', name: 'A page' },
      { type: 'resource', resource: { uri: 'config://app', text: 'debug = true' } },
      { type: 'audio', data: 'UklGRiQAAABXQVZF', mimeType: 'audio/wav', annotations: { audience: ['user'] } }
    ],
    _meta: { 'example.com/cost': 3 }
  }))

  server.registerTool('fail', { inputSchema: object<{ reason: string }>({ reason: { type: 'string' } }) },
    ({ reason }) => { throw new Error(reason) })

  server.registerTool('slow', { inputSchema: object<{ steps: number }>({ steps: { type: 'integer' } }) },
    async ({ steps }, { mcpReq }) => {
      const progressToken = mcpReq._meta?.progressToken
      for (let progress = 1; progress <= steps; progress++) {
        if (progressToken === undefined) break
        await mcpReq.notify({ method: 'notifications/progress', params: { progressToken, progress, total: steps } })
      }
      return { content: [{ type: 'text', text: `${steps} steps` }] }
    })

  server.registerResource('app', 'config://app', { mimeType: 'text/plain' },
    ({ href }) => ({ contents: [{ uri: href, text: 'debug = true' }] }))

  server.registerResource('note', new ResourceTemplate('notes://{person}/{id}', {
    list: undefined, complete: { person: (typed) => ['ada', 'alan', 'bob'].filter((one) => one.startsWith(typed)) }
  }), { description: 'A note of a person' },
  ({ href }, { person, id }) => ({ contents: [{ uri: href, text: `Note ${String(id)} of ${String(person)}` }] }))

  server.registerPrompt('review', {
    description: 'Asks for a review', argsSchema: object<{ code: string }>({ code: { type: 'string' } })
  }, ({ code }) => ({ messages: [{ role: 'user', content: { type: 'text', text: `Please review: ${code}` } }] }))

  return server
}
