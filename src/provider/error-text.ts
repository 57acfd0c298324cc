/** Characters of an error code, and of its description, in the log. */
const MAX_CODE = 100
const MAX_DESCRIPTION = 200

/**
 * Describes the provider's error for the log (RFC 6749 sections 4.1.2.1 and 5.2). Its description often names the
 * remedy. It never goes to a client: it is the provider's text, and may quote what Seed has sent.
 */
export function describeError (error: unknown, description: unknown): string {
  const code = typeof error === 'string' ? JSON.stringify(error.slice(0, MAX_CODE)) : 'without an OAuth error'
  const text = typeof description === 'string' ? clean(description) : ''
  return text === '' ? code : `${code} (${text})`
}

/** Takes out line breaks and control characters, and what could be a token, a code or a secret. */
function clean (description: string): string {
  const text = description.slice(0, 10 * MAX_DESCRIPTION)
    .replace(/[\p{C}\p{Z}]+/gu, ' ')
    .replace(/(?=[\w~+=-]*\d)[\w~+=-]{16,}|[\w~+=-]{32,}/g, '[…]')
    .trim()
  return text.length <= MAX_DESCRIPTION ? text : `${text.slice(0, MAX_DESCRIPTION)}…`
}
