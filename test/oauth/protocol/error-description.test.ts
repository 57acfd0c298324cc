import t from 'tap'
import { toDescription } from '../../../src/oauth/protocol/error-description.ts'

t.test('a text becomes an error_description that RFC 6749 allows, and stays readable', async (t) => {
  for (const [text, expected] of [
    ['Ask it@example.com; ~100 %!', 'Ask it@example.com; ~100 %!'],
    ['Zoë Müller, Łódź', 'Zoe Muller, ?odz'],
    ['“IT” \\ "desk"', "'IT' ' 'desk'"],
    ['問い合わせ 😀', '????? ?'],
    ['one\r\ntwo\u0000', 'one??two?']
  ] as const) {
    t.equal(toDescription(text), expected)
    t.match(toDescription(text), /^[\x20-\x21\x23-\x5b\x5d-\x7e]*$/)
  }
})
