import t from 'tap'
import { Type } from 'typebox'
import { toRequestedSchema } from '../../../src/mcp/handlers/elicitation-schema.ts'

t.test('writes choices in the form that clients understand', async (t) => {
  const form = Type.Object({
    union: Type.Union([Type.Literal('a'), Type.Literal('b')]),
    titled: Type.Union([Type.Literal('a', { title: 'The first' }), Type.Literal('b')], { description: 'One of two' }),
    enum: Type.Enum(['a', 'b'], { default: 'a' }),
    only: Type.Literal('a'),
    several: Type.Array(Type.Union([Type.Literal('a'), Type.Literal('b')]), { minItems: 1 }),
    severalTitled: Type.Array(Type.Union([Type.Literal('a', { title: 'The first' }), Type.Literal('b')])),
    written: Type.Unsafe<string>({ type: 'string', oneOf: [{ const: 'a', title: 'The first' }] })
  })
  t.same(toRequestedSchema(form), {
    type: 'object',
    properties: {
      union: { type: 'string', enum: ['a', 'b'] },
      titled: {
        type: 'string',
        description: 'One of two',
        oneOf: [{ const: 'a', title: 'The first' }, { const: 'b', title: 'b' }]
      },
      enum: { type: 'string', default: 'a', enum: ['a', 'b'] },
      only: { type: 'string', const: 'a' },
      several: { type: 'array', minItems: 1, items: { type: 'string', enum: ['a', 'b'] } },
      severalTitled: {
        type: 'array',
        items: { anyOf: [{ const: 'a', title: 'The first' }, { const: 'b', title: 'b' }] }
      },
      written: { type: 'string', oneOf: [{ const: 'a', title: 'The first' }] }
    },
    required: ['union', 'titled', 'enum', 'only', 'several', 'severalTitled', 'written']
  })
})

t.test('keeps plain fields, with their bounds and defaults', async (t) => {
  const form = Type.Object({
    name: Type.Optional(Type.String({ minLength: 1, default: 'Ada', format: 'email' })),
    age: Type.Optional(Type.Integer({ minimum: 0 })),
    score: Type.Optional(Type.Number()),
    sure: Type.Optional(Type.Boolean({ default: true }))
  }, { title: 'About you', description: 'Only what you like' })
  t.same(toRequestedSchema(form), {
    type: 'object',
    title: 'About you',
    description: 'Only what you like',
    properties: {
      name: { type: 'string', minLength: 1, default: 'Ada', format: 'email' },
      age: { type: 'integer', minimum: 0 },
      score: { type: 'number' },
      sure: { type: 'boolean', default: true }
    }
  })
})

t.test('refuses a field that clients do not know, by its name', async (t) => {
  for (const field of [
    Type.Object({ inner: Type.String() }),
    Type.Array(Type.Object({})),
    Type.Union([Type.Literal(1), Type.Literal(2)]),
    Type.Null()
  ]) {
    t.throws(() => toRequestedSchema(Type.Object({ field })), { message: /A form cannot have the field field:/ })
  }
})
