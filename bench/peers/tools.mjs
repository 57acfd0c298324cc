import { z } from 'zod'

/** The same tools as Seed's (bench/servers/bench-tools.ts), with zod: `ping` and TOOLS - 1 others. */
const count = Number(process.env.TOOLS ?? 1)

export const ping = {
  name: 'ping',
  description: 'Answers pong.',
  annotations: { readOnlyHint: true },
  shape: {},
  answer: () => 'pong'
}

export const tools = [ping, ...Array.from({ length: count - 1 }, (_none, index) => ({
  name: `tickets_${index + 1}`,
  description: `Searches the tickets of queue ${index + 1} and returns those that match, the newest first.`,
  annotations: { readOnlyHint: true, openWorldHint: false },
  shape: {
    query: z.string().max(200).describe('Words that the ticket must contain'),
    limit: z.number().int().min(1).max(100).optional(),
    state: z.enum(['open', 'closed']).optional()
  },
  answer: ({ query }) => query
}))]

/** Registers all with an McpServer of either SDK. */
export function register (server, { v2 }) {
  for (const { name, description, annotations, shape, answer } of tools) {
    server.registerTool(
      name,
      { description, annotations, inputSchema: v2 ? z.object(shape) : shape },
      async (input) => ({ content: [{ type: 'text', text: answer(input) }] })
    )
  }
  return server
}
