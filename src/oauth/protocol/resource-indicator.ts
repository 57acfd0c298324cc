import { OAuthError } from '../../errors/oauth-error.ts'

/**
 * Checks that the resource a client asks for is this server's (RFC 8707 section 2).
 *
 * Besides the canonical form, clients send the bare origin, a trailing slash, or an upper-case scheme or host; all of
 * them are accepted. Clients before 2025-06-18 send no resource.
 *
 * @param resource the parameter as sent
 * @param canonical Config.resource
 * @throws OAuthError invalid_target
 */
export function checkResource (resource: string | undefined, canonical: string): void {
  if (resource !== undefined && !isOwnResource(resource, canonical)) {
    throw new OAuthError('invalid_target', `resource must be ${canonical}`, { causeCode: 'resource_wrong' })
  }
}

/** Returns whether a resource indicator names this server, in any of the forms that `checkResource` accepts. */
export function isOwnResource (resource: unknown, canonical: string): boolean {
  const origin = new URL(canonical).origin
  const accepted = [canonical, `${canonical}/`, origin, `${origin}/`]
  return typeof resource === 'string' && accepted.includes(lowerCaseOrigin(resource))
}

function lowerCaseOrigin (value: string): string {
  return value.replace(/^[a-z]+:\/\/[^/?#]*/i, (origin) => origin.toLowerCase())
}
