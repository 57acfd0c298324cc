import t from 'tap'
import { describeError } from '../../src/provider/error-text.ts'

t.test("the log has the provider's words without control characters, cut, and without what could be a token", async (t) => {
  for (const [error, description, text] of [
    [undefined, undefined, 'without an OAuth error'],
    [{ code: 7 }, 7, 'without an OAuth error'],
    ['invalid_request', 'Pushed Authorization Request must be used', '"invalid_request" (Pushed Authorization Request must be used)'],
    ['x"\n', ' a\r\n\u0000\u202e\u2028b ', '"x\\"\\n" (a b)'],
    ['invalid_grant', 'code Zx9-abcDEF_0123456789 of https://auth.example.com/realms/r is dead',
      '"invalid_grant" (code […] of https://auth.example.com/realms/r is dead)'],
    ['invalid_token', `token ${'aB'.repeat(20)}.${'eyJhbGciOi1234567'}.x`, '"invalid_token" (token […].[…].x)'],
    ['e'.repeat(200), 'word '.repeat(500), `"${'e'.repeat(100)}" (${'word '.repeat(40)}…)`]
  ] as const) t.equal(describeError(error, description), text)
})
