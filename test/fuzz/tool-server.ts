import { Type } from 'typebox'
import { defineTool } from '../../src/define/tool.ts'
import { serve } from '../../src/serve.ts'
import { promptsAndResources } from '../conformance/prompts-and-resources.ts'
import { tools } from '../conformance/tools.ts'
import { interactiveTools } from '../support/interactive-tools.ts'

/** Seed with everything that a server can offer, and with input schemas that are costly to check. */
const Filter = Type.Cyclic({
  Filter: Type.Union([
    Type.Object({ and: Type.Array(Type.Ref('Filter')) }),
    Type.Object({ or: Type.Array(Type.Ref('Filter')) }),
    Type.Object({ not: Type.Ref('Filter') }),
    Type.Object({ field: Type.String(), equals: Type.Union([Type.String(), Type.Number(), Type.Boolean()]) })
  ])
}, 'Filter')

await serve(process.env, false, {
  definitions: [
    ...interactiveTools.filter(({ name }) => name !== 'flood' && name !== 'count'),
    ...tools,
    ...promptsAndResources,
    defineTool({
      name: 'search',
      description: 'Finds what a filter expression describes',
      input: Type.Object({ filter: Filter, limit: Type.Optional(Type.Integer({ minimum: 1, maximum: 100 })) }),
      handler: ({ filter }) => `Nothing fits ${JSON.stringify(filter)}`
    }),
    defineTool({
      name: 'book',
      description: 'Checks formats, patterns and sizes',
      input: Type.Object({
        mail: Type.String({ format: 'email' }),
        day: Type.String({ format: 'date' }),
        code: Type.String({ pattern: '^[A-Z]{2,8}-[0-9]+$' }),
        tags: Type.Array(Type.String({ maxLength: 20 }), { maxItems: 10, uniqueItems: true }),
        more: Type.Record(Type.String(), Type.Union([Type.Number(), Type.Null()]))
      }, { additionalProperties: false }),
      handler: () => 'booked'
    })
  ]
})
