import { OAuthError } from '../../errors/oauth-error.ts'

/**
 * RFC 8707: the resource a client asks for must be this server's.
 *
 * Clients really send the canonical form, the bare origin, and either with a trailing slash or an upper-case
 * scheme or host; each means the same resource. Absent is tolerated (clients before 2025-06-18).
 *
 * @param resource the parameter as sent
 * @param canonical Config.resource
 * @throws OAuthError invalid_target for any other
 */
export function checkResource (resource: string | undefined, canonical: string): void {
  if (resource === undefined) return
  const origin = new URL(canonical).origin
  const aliases = [canonical, `${canonical}/`, origin, `${origin}/`]
  if (!aliases.includes(lowerCaseOrigin(resource))) {
    throw new OAuthError('invalid_target', `resource must be ${canonical}`)
  }
}

function lowerCaseOrigin (value: string): string {
  return value.replace(/^[a-z]+:\/\/[^/?#]*/i, (origin) => origin.toLowerCase())
}
