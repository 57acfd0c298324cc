import t from 'tap'
import { Type } from 'typebox'
import { Compile } from 'typebox/compile'
import { describeValidationError } from '../../src/json/validation-message.ts'

t.test('says which type was expected and which came, as models often send text instead of numbers and lists', (t) => {
  const validator = Compile(Type.Object({
    id: Type.Integer(),
    tags: Type.Array(Type.String()),
    when: Type.Object({ 'a/b~c': Type.Boolean() })
  }))
  t.equal(
    describeValidationError(validator, { id: '5', tags: '["a"]', when: { 'a/b~c': null } }),
    'id must be integer, not string; tags must be array, not string; when/a~1b~0c must be boolean, not null'
  )
  t.equal(describeValidationError(validator, []), 'they must be object, not array')
  t.end()
})

t.test('names unknown members once', (t) => {
  const validator = Compile(Type.Object({ id: Type.Optional(Type.Integer()) }, { additionalProperties: false }))
  t.equal(describeValidationError(validator, { random_string: 1, other: 2 }), 'they must not have random_string, other')
  const numbers = Compile(Type.Object({}, { additionalProperties: Type.Number() }))
  t.equal(describeValidationError(numbers, { size: '7' }), 'size must be number, not string')
  const without = Compile(Type.Object({ id: Type.Optional(Type.Never()) }))
  t.match(describeValidationError(without, { id: 1 }), /^id /)
  t.end()
})
