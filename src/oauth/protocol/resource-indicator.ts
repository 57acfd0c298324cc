import { OAuthError } from '../../errors/oauth-error.ts'

/**
 * Returns the resource that a client asks for (RFC 8707 section 2): the first one if it asks for none, as clients
 * before 2025-06-18 do.
 *
 * Besides the canonical form, clients send a trailing slash, an upper-case scheme or host, or the bare origin, which
 * means the first one; all of them are accepted.
 *
 * @param indicator the parameter as sent
 * @param resources all resources of this server
 * @throws OAuthError invalid_target
 */
export function findResource<Found extends { resource: string }> (
  indicator: string | undefined, resources: readonly Found[]
): Found {
  const [first, ...others] = resources
  if (indicator === undefined) return first!
  const found = resources.find(({ resource }) => isResource(indicator, resource)) ??
    (isOrigin(indicator, first!.resource) ? first : undefined)
  if (found !== undefined) return found
  const all = resources.map(({ resource }) => resource).join(', ')
  const expected = others.length === 0 ? all : `one of ${all}`
  throw new OAuthError('invalid_target', `resource must be ${expected}`, { causeCode: 'resource_wrong' })
}

function isResource (indicator: string, canonical: string): boolean {
  return [canonical, `${canonical}/`].includes(lowerCaseOrigin(indicator))
}

function isOrigin (indicator: string, canonical: string): boolean {
  const { origin } = new URL(canonical)
  return [origin, `${origin}/`].includes(lowerCaseOrigin(indicator))
}

function lowerCaseOrigin (value: string): string {
  return value.replace(/^[a-z]+:\/\/[^/?#]*/i, (origin) => origin.toLowerCase())
}
