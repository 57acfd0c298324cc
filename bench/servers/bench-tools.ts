import { Type } from 'typebox'
import { defineTool } from '../../src/define/tool.ts'
import type { ToolDefinition } from '../../src/define/tool.ts'

/**
 * `ping`, which is called, and others beside it of the size that tools have.
 *
 * @param scopes the policy of `ping`
 */
export function benchTools (count: number, scopes: readonly string[]): ToolDefinition[] {
  return [pingFor(scopes), ...Array.from({ length: count - 1 }, (_none, index) => neighbour(index + 1))]
}

function pingFor (scopes: readonly string[]): ToolDefinition {
  return defineTool({
    name: 'ping',
    description: 'Answers pong.',
    input: Type.Object({}, { additionalProperties: false }),
    ...(scopes.length > 0 && { scopes }),
    annotations: { readOnlyHint: true },
    handler: () => 'pong'
  })
}

function neighbour (number: number): ToolDefinition {
  return defineTool({
    name: `tickets_${number}`,
    title: `Search tickets of queue ${number}`,
    description: `Searches the tickets of queue ${number} and returns those that match, the newest first.`,
    input: Type.Object({
      query: Type.String({ description: 'Words that the ticket must contain', maxLength: 200 }),
      limit: Type.Optional(Type.Integer({ minimum: 1, maximum: 100 })),
      state: Type.Optional(Type.Union([Type.Literal('open'), Type.Literal('closed')]))
    }, { additionalProperties: false }),
    annotations: { readOnlyHint: true, openWorldHint: false },
    handler: ({ query }) => query
  })
}
