import { randomInt } from 'node:crypto'
import type { Log } from '../logging/log.ts'
import { parseJsonObject } from '../net/fetch.ts'

/** Errors that never mean the token itself: Seed's client, its request or the provider is at fault. */
const OTHER_MEANINGS = [
  'invalid_client', 'unauthorized_client', 'unsupported_grant_type', 'invalid_scope', 'invalid_target',
  'temporarily_unavailable', 'server_error', 'slow_down'
]

/**
 * Recognizes a refresh token that has ended at a provider that does not call it `invalid_grant` (RFC 6749 section 5.2):
 * some send `invalid_request`, some no error at all. Neither is proof, so the provider is asked once with a refresh
 * token that cannot exist. Tokens that it answers in the same way have ended.
 *
 * @param refresh sends a refresh request
 */
export function createDeadTokenCheck (
  refresh: (parameters: Record<string, string>) => Promise<Response>, log: Pick<Log, 'info'>
) {
  let learned: Promise<string | undefined> | undefined

  async function askWithMadeUpToken (parameters: Record<string, string>): Promise<string | undefined> {
    const response = await refresh({ ...parameters, refresh_token: sameShape(parameters['refresh_token']!) })
    const answer = await refusalOf(response)
    if (answer !== undefined && !isClear(answer)) {
      log.info({ event: 'provider.refresh_error_unclear', answer },
        'The provider answers a refresh token that does not exist without "invalid_grant"; ' +
        'refresh tokens that it answers in the same way have ended')
    }
    return answer
  }

  return {
    /** Whether the response to a refresh request with these parameters means that the token has ended. */
    async isDead (response: Response, parameters: Record<string, string>): Promise<boolean> {
      const answer = await refusalOf(response)
      if (answer === undefined || isClear(answer)) return false
      learned ??= askWithMadeUpToken(parameters)
      const expected = await learned.catch(() => undefined)
      // The provider was away or busy.
      if (expected === undefined) learned = undefined
      return answer === expected
    }
  }
}

const isClear = (answer: string): boolean => /invalid_(grant|code)$/.test(answer)

/** Returns status and error of a refusal that may be about the token. A page comes from something in between. */
async function refusalOf (response: Response): Promise<string | undefined> {
  const { status } = response
  if (status < 400 || status === 429 || status >= 500) return undefined
  const text = await response.clone().text()
  const body = text === '' ? {} : parseJsonObject(text)
  if (body === undefined) return undefined
  const { error } = body
  if (typeof error !== 'string') return status === 400 ? '400 without an error' : undefined
  return OTHER_MEANINGS.includes(error) ? undefined : `${status} ${error.slice(0, 100)}`
}

const LETTERS_AND_DIGITS = 'abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789'

/** A random token of the same shape: one that is malformed could be answered in another way. */
function sameShape (token: string): string {
  return token.replace(/[a-z\d]/gi, () => LETTERS_AND_DIGITS[randomInt(LETTERS_AND_DIGITS.length)]!)
}
