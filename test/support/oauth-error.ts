import type { LightMyRequestResponse } from 'fastify'
import type { Test } from 'tap'

/** RFC 6749 section 5.2: JSON of two members, the description in %x20-21 / %x23-5B / %x5D-7E, not to be stored. */
export function isError (
  t: Test,
  { statusCode, headers, body }: Pick<LightMyRequestResponse, 'statusCode' | 'headers' | 'body'>,
  status: number,
  error: string,
  about: string
): void {
  const { error: code, error_description: description, ...rest } = JSON.parse(body) as Record<string, string>
  t.same(
    {
      status: statusCode,
      headers: [headers['content-type'], headers['cache-control'], headers['pragma'], headers['set-cookie']],
      code,
      described: /^[\x20-\x21\x23-\x5b\x5d-\x7e]+$/.test(String(description)),
      rest
    },
    {
      status,
      headers: ['application/json; charset=utf-8', 'no-store', 'no-cache', undefined],
      code: error,
      described: true,
      rest: {}
    },
    about
  )
}

/** Returns a description of an error without the reference that each has at its end. */
export function withoutReference (description: unknown): string {
  const [, text] = /^(.*) \(reference [\w-]{12}\)$/.exec(String(description)) ?? []
  if (text === undefined) throw new Error(`No reference in "${String(description)}"`)
  return text
}
