import t from 'tap'
import { hasDuplicateMembers } from '../../src/json/duplicate-members.ts'

t.test('a member that an object has twice is found, however it is written and wherever it is', async (t) => {
  for (const text of [
    '{"sub":"a","sub":"b"}', '{"sub":"a", "s\\u0075b" : "b"}', '{"a":{"b":1,"c":[{"d":1,"d":2}]}}',
    '[{"a":1,"a":1}]', '{"\\"":1,"\\"":2}', '{"a":{},"a":[]}', '{"":1,"":2}'
  ]) {
    t.equal(hasDuplicateMembers(text), true, text)
    JSON.parse(text)
  }
  for (const text of [
    '{}', '[]', '"sub"', '7', '{"sub":"a","aud":"sub"}', '{"a":{"a":{"a":1}},"b":{"a":1}}', '{"a":["a","a:","a"]}',
    '{"a":"\\",\\"a\\":","b":"{\\"a\\":"}', '{"a":"}","b":"{"}', '[{"a":1},{"a":1}]', '{"a:":1,"a":2}'
  ]) {
    t.equal(hasDuplicateMembers(text), false, text)
    JSON.parse(text)
  }
})
