import t from 'tap'
import { createDescription } from '../../src/import/description.ts'
import { printCode } from '../../src/import/code.ts'
import { sampleOf } from '../../src/import/sample.ts'
import { toShape } from '../../src/import/shape.ts'
import { toTypeBox } from '../../src/import/typebox.ts'

const api = await createDescription({ components: { schemas: { Name: { type: 'string', description: 'Of a pet' } } } })
const object = (properties: object, others: object = {}) => ({ type: 'object', properties, ...others })

t.test('schemas of OpenAPI 3.0 and 3.1 become TypeBox, and tests get values that they accept', async (t) => {
  for (const [schema, source, sample] of [
    [{ type: 'string', minLength: 8, maxLength: 9 }, 'Type.String({ minLength: 8, maxLength: 9 })', 'samplexx'],
    [{ type: 'string', maxLength: 3, minLength: 5_000 }, 'Type.String({ maxLength: 3 })', 'sam'],
    [{ type: 'string', format: 'date' }, 'Type.String({ format: \'date\' })', '2026-01-31'],
    [{ type: 'string', format: 'uuid', minLength: 64 }, 'Type.String({ minLength: 64 })', 'sample'.padEnd(64, 'x')],
    [{ type: 'string', format: 'email', maxLength: 5 }, 'Type.String({ maxLength: 5 })', 'sampl'],
    [{ type: 'string', format: 'uuid', maxLength: 36 }, 'Type.String({ maxLength: 36, format: \'uuid\' })', '5ca1ab1e-0000-4000-8000-000000000000'],
    [{ type: 'string', format: 'made-up' }, 'Type.String()', 'sample'],
    [{ type: 'integer', minimum: 2.5 }, 'Type.Integer({ minimum: 2.5 })', 3],
    [{ type: 'integer', maximum: 0.5 }, 'Type.Integer({ maximum: 0.5 })', 0],
    [{ type: 'number', minimum: 2.5, maximum: Infinity }, 'Type.Number({ minimum: 2.5 })', 2.5],
    [{ type: 'number', maximum: -1 }, 'Type.Number({ maximum: -1 })', -1],
    [{ type: 'boolean', default: true }, 'Type.Boolean({ description: \'Default: true\' })', true],
    [{ type: 'array', items: { type: 'boolean' }, minItems: 2 }, 'Type.Array(Type.Boolean(), { minItems: 2 })', [true, true]],
    [{ type: 'array', items: {}, maxItems: 0 }, 'Type.Array(Type.Unknown(), { maxItems: 0 })', []],
    [{ type: 'array', items: {}, minItems: 2, maxItems: 1 }, 'Type.Array(Type.Unknown())', ['sample']],
    [{ type: 'integer', minimum: 9, maximum: 1 }, 'Type.Integer()', 1],
    [{ type: 'string', nullable: true }, 'Type.Union([Type.String(), Type.Null()])', 'sample'],
    [{ type: ['string', 'null'] }, 'Type.Union([Type.String(), Type.Null()])', 'sample'],
    [{ type: ['string', 'integer'] }, 'Type.Union([Type.String(), Type.Integer()])', 'sample'],
    [{ type: 'null' }, 'Type.Null()', null],
    [{ type: 'strange' }, 'Type.Unknown()', 'sample'],
    [{}, 'Type.Unknown()', 'sample'],
    [true, 'Type.Unknown()', 'sample'],
    [{ enum: ['a', 'b', 'a', null] }, 'Type.Union([Type.Enum([\'a\', \'b\']), Type.Null()])', 'a'],
    [{ enum: [null] }, 'Type.Null()', null],
    [{ enum: [1, 'a'] }, 'Type.Unknown()', 'sample'],
    [{ enum: [{}, {}] }, 'Type.Unknown()', 'sample'],
    [{ type: 'boolean', enum: [true, false] }, 'Type.Boolean()', true],
    [{ enum: Array.from({ length: 99 }, (_, index) => index) }, 'Type.Number()', 1],
    [{ const: 7 }, 'Type.Literal(7)', 7],
    [{ type: 'object' }, 'Type.Object({}, { additionalProperties: true })', {}],
    [{ type: 'object', additionalProperties: { type: 'integer' } }, 'Type.Object({}, { additionalProperties: Type.Integer() })', {}],
    [{ type: 'object', description: 'x', additionalProperties: { description: 'y' } },
      'Type.Object({}, {\n  description: \'x\',\n  additionalProperties: Type.Unknown({ description: \'y\' })\n})', {}],
    [object({ 'a-b': {}, b: {} }, { required: ['b'] }), 'Type.Object({\n  \'a-b\': Type.Optional(Type.Unknown()),\n  b: Type.Unknown()\n})', { b: 'sample' }],
    [{ $ref: '#/components/schemas/Name' }, 'Type.String({ description: \'Of a pet\' })', 'sample'],
    [{ $ref: '#/components/schemas/Name', description: 'Mine' }, 'Type.String({ description: \'Mine\' })', 'sample'],
    [{ allOf: [object({ a: {} }), object({ b: {} }, { required: ['b'] })], required: ['a'] },
      'Type.Object({\n  a: Type.Unknown(),\n  b: Type.Unknown()\n})', { a: 'sample', b: 'sample' }],
    [{ allOf: [{ $ref: '#/components/schemas/Name' }] }, 'Type.String()', 'sample'],
    [{ allOf: [{}] }, 'Type.Unknown()', 'sample'],
    [{ anyOf: [{ type: 'string' }, { type: 'null' }, { type: 'string' }] }, 'Type.Union([Type.String(), Type.Null()])', 'sample'],
    [{ oneOf: [{ type: 'string' }, {}] }, 'Type.Unknown()', 'sample'],
    [{ oneOf: [] }, 'Type.Unknown()', 'sample'],
    [{ oneOf: Array.from({ length: 20 }, (_, index) => ({ const: index })) }, 'Type.Unknown()', 'sample'],
    [object({ a: {} }, { anyOf: [{ required: ['a'] }, object({ b: {} })] }), 'Type.Object({\n  b: Type.Optional(Type.Unknown()),\n  a: Type.Optional(Type.Unknown())\n})', {}],
    [object({ a: {} }, { anyOf: [{ type: 'string' }] }), 'Type.Object({ a: Type.Optional(Type.Unknown()) })', {}]
  ] as const) {
    const shape = toShape(api, 'input', schema)
    t.equal(printCode(toTypeBox(shape)), source, JSON.stringify(schema))
    t.same(sampleOf(shape), sample, JSON.stringify(schema))
  }
})

t.test('what an API answers is held to types, names and enums, not to limits', async (t) => {
  const schema = object({ a: { type: 'string', format: 'date', maxLength: 3 } }, { required: ['a'] })
  t.equal(printCode(toTypeBox(toShape(api, 'output', schema))), 'Type.Object({ a: Type.String() })')
})
