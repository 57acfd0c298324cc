import { setTimeout as pause } from 'node:timers/promises'
import { ToolError, Type, audio, defineTool, embeddedResource, image, text } from '../../src/index.ts'
import type { Definition } from '../../src/index.ts'
import { PIXEL, SILENCE } from './media.ts'

/**
 * The tools that the conformance suite asks of a server: what results there are, and what a tool tells while it runs.
 */

const nothing = Type.Object({})

export const tools: readonly Definition[] = [
  defineTool({
    name: 'test_simple_text',
    description: 'Gives text',
    input: nothing,
    handler: () => 'This is a simple text response for testing.'
  }),
  defineTool({
    name: 'test_image_content',
    description: 'Gives a picture',
    input: nothing,
    handler: () => image(PIXEL, 'image/png')
  }),
  defineTool({
    name: 'test_audio_content',
    description: 'Gives a sound',
    input: nothing,
    handler: () => audio(SILENCE, 'audio/wav')
  }),
  defineTool({
    name: 'test_embedded_resource',
    description: 'Gives a resource with its content',
    input: nothing,
    handler: () => embeddedResource('test://embedded-resource', 'This is an embedded resource content.', 'text/plain')
  }),
  defineTool({
    name: 'test_multiple_content_types',
    description: 'Gives content of several kinds',
    input: nothing,
    handler: () => [
      text('Multiple content types test:'),
      image(PIXEL, 'image/png'),
      embeddedResource('test://mixed-content-resource', '{"test":"data","value":123}', 'application/json')
    ]
  }),
  defineTool({
    name: 'test_error_handling',
    description: 'Fails',
    input: nothing,
    handler () {
      throw new ToolError('This tool intentionally returns an error for testing')
    }
  }),
  defineTool({
    name: 'test_tool_with_logging',
    description: 'Tells the client what it does',
    input: nothing,
    async handler (_input, { logToClient }) {
      await logToClient('info', 'Tool execution started')
      await pause(50)
      await logToClient('info', 'Tool processing data')
      await pause(50)
      await logToClient('info', 'Tool execution completed')
      return 'Told three times'
    }
  }),
  defineTool({
    name: 'test_logging_tool',
    description: 'Tells the client something',
    input: nothing,
    async handler (_input, { logToClient }) {
      await logToClient('info', 'told')
      return 'told'
    }
  }),
  defineTool({
    name: 'test_tool_with_progress',
    description: 'Tells how far it is',
    input: nothing,
    async * handler () {
      for (const progress of [0, 50, 100]) {
        yield { progress, total: 100 }
        await pause(50)
      }
      return 'Done'
    }
  }),
  defineTool({
    name: 'json_schema_2020_12_tool',
    description: 'Has a schema that uses all of JSON Schema 2020-12',
    input: Type.Unsafe<Record<string, unknown>>({
      $schema: 'https://json-schema.org/draft/2020-12/schema',
      type: 'object',
      $defs: {
        address: {
          $anchor: 'addressDef',
          type: 'object',
          properties: { street: { type: 'string' }, city: { type: 'string' } }
        }
      },
      properties: {
        name: { type: 'string' },
        address: { $ref: '#/$defs/address' },
        contactMethod: { type: 'string', enum: ['phone', 'email'] },
        phone: { type: 'string' },
        email: { type: 'string' }
      },
      allOf: [{ anyOf: [{ required: ['phone'] }, { required: ['email'] }] }],
      if: { properties: { contactMethod: { const: 'phone' } }, required: ['contactMethod'] },
      then: { required: ['phone'] },
      else: { required: ['email'] },
      additionalProperties: false
    }) as never,
    handler: () => 'The arguments fit'
  }),
  defineTool({
    name: 'test_custom_header',
    description: 'Has an argument that a header repeats',
    input: Type.Object({ region: Type.Optional(Type.String({ 'x-mcp-header': 'Region' })) }),
    handler: ({ region }) => region ?? 'none'
  }),
  defineTool({
    name: 'test_trigger_tool_change',
    description: 'Says that the tools have changed',
    input: nothing,
    handler (_input, { announce }) {
      announce({ kind: 'tools_list_changed' })
      return 'told'
    }
  }),
  defineTool({
    name: 'test_trigger_prompt_change',
    description: 'Says that the prompts have changed',
    input: nothing,
    handler (_input, { announce }) {
      announce({ kind: 'prompts_list_changed' })
      return 'told'
    }
  })
]
