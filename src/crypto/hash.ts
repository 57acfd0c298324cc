import { hash, randomBytes, timingSafeEqual } from 'node:crypto'

/** Returns the SHA-256, base64url: the store keeps it in place of a code, a token or a cookie. */
export function digest (secret: string): string {
  return hash('sha256', secret, 'base64url')
}

/** Compares two strings in a time that does not depend on where they differ. */
export function timingSafeEquals (one: string, other: string): boolean {
  return timingSafeEqual(hash('sha256', one, 'buffer'), hash('sha256', other, 'buffer'))
}

/** Returns `bytes` random bytes, base64url. */
export function randomId (bytes = 24): string {
  return randomBytes(bytes).toString('base64url')
}
