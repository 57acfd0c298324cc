import type { Policy } from '../define/policy.ts'

/**
 * The shortest `maxAge`. The way from the provider back to the call takes some seconds, in which the person's sign-in
 * ages: with less, a client would send the person to sign in again and again.
 */
const MIN_AGE_SECONDS = 60

/** As many digits as authorization requests may have in `max_age` (src/schemas/authorize.ts). */
const MAX_AGE_SECONDS = 999_999_999

const MAX_VALUES = 20

/** A value of `acr` in a space-separated list and in a quoted string of HTTP (RFC 9110 section 5.6.4). */
const ACR_VALUE = /^[\x21\x23-\x5b\x5d-\x7e]{1,256}$/

/** Checks what a policy demands of the person's authentication. @throws Error */
export function checkAuthenticationPolicy ({ maxAge, acr }: Policy): void {
  if (maxAge !== undefined && !(Number.isInteger(maxAge) && maxAge >= MIN_AGE_SECONDS && maxAge <= MAX_AGE_SECONDS)) {
    throw new Error(`maxAge must be a whole number of seconds from ${MIN_AGE_SECONDS} to ${MAX_AGE_SECONDS}: ` +
      'with less, the sign-in would be too old when its call arrives')
  }
  if (acr === undefined) return
  const isList = Array.isArray(acr) && acr.length > 0 && acr.length <= MAX_VALUES
  if (isList && acr.every((value) => typeof value === 'string' && ACR_VALUE.test(value))) return
  throw new Error(`acr must be a list of 1 to ${MAX_VALUES} texts without spaces, quotes and backslashes`)
}
