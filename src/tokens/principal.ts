import { hash } from 'node:crypto'

/** Who is calling: what a verified access token says of its bearer. Handed to every tool. */
export interface Principal {
  /** `iss` of the token. */
  issuer: string
  /** `sub`: stable for this person at this issuer. */
  subject: string
  /** The client the token was issued to (`client_id`, else `azp`, Okta's `cid`, Entra's `appid`); absent when the token names none. */
  clientId: string | undefined
  scopes: ReadonlySet<string>
  name: string | undefined
  email: string | undefined
  groups: readonly string[]
  /** Every claim of the token, as it was. */
  claims: Readonly<Record<string, unknown>>
  /** Seconds since the epoch at which the token ends. */
  expiresAt: number
  /** One string for (issuer, subject, client), safe in a store key: no choice of `sub` can make it another's. */
  key: string
}

/** A claim has a type that the standards do not give it. */
export class ClaimError extends Error {
  override readonly name = 'ClaimError'
}

/**
 * Reads a principal from the claims of a verified token.
 *
 * @throws ClaimError for scopes of a wrong type
 */
export function toPrincipal (claims: Record<string, unknown> & { iss: string, sub: string, exp: number }, options: GroupOptions): Principal {
  const clientId = firstString(claims, ['client_id', 'azp', 'cid', 'appid'])
  return {
    issuer: claims.iss,
    subject: claims.sub,
    clientId,
    scopes: readScopes(claims),
    name: firstString(claims, ['name', 'preferred_username']),
    email: firstString(claims, ['email']),
    groups: readGroups(claims, options),
    claims,
    expiresAt: claims.exp,
    key: principalKey(claims.iss, claims.sub, clientId ?? '')
  }
}

/** SHA-256 over length-prefixed parts, so that no part can run into the next; UTF-16, as UTF-8 makes one of all lone surrogates. */
function principalKey (...parts: string[]): string {
  // In one piece: there is a digest for each new token, and in pieces it takes three times as long.
  const bytes = Buffer.allocUnsafe(parts.reduce((sum, part) => sum + 2 * part.length + LENGTH_PREFIX, 0))
  let at = 0
  for (const part of parts) {
    at += bytes.write(`${part.length}:`, at, 'latin1')
    at += bytes.write(part, at, 'utf16le')
  }
  return hash('sha256', bytes.subarray(0, at), 'base64url')
}

/** More than a length and its colon take. */
const LENGTH_PREFIX = 12

/** `scope` is one string (RFC 9068 section 2.2.3), `scp` (Okta, Entra) a string or an array; exact members, nothing else. */
function readScopes ({ scope, scp }: Record<string, unknown>): Set<string> {
  if (scope !== undefined && typeof scope !== 'string') throw new ClaimError('scope must be a string')
  if (scp !== undefined && typeof scp !== 'string' && !isStringArray(scp)) throw new ClaimError('scp must be a string or an array of strings')
  const scopes = new Set((scope ?? '').split(' '))
  for (const item of Array.isArray(scp) ? scp : (scp ?? '').split(' ')) scopes.add(item)
  scopes.delete('')
  return scopes
}

export interface GroupOptions {
  /** The claim that lists groups: its exact name, or a path such as `realm_access.roles`. */
  groupsClaim: string
  /** Groups are paths such as `/engineering` (Keycloak): the slash is dropped. */
  groupPaths: boolean
}

/** The groups that claims list; none where the claim is absent or no array of strings. */
export function readGroups (claims: Record<string, unknown>, { groupsClaim, groupPaths }: GroupOptions): string[] {
  const value = claimAt(claims, groupsClaim)
  if (!isStringArray(value)) return []
  return groupPaths ? value.map((group) => group.replace(/^\//, '')) : value
}

/** A claim by its exact name, or by a path such as `realm_access.roles`. */
export function claimAt (claims: Readonly<Record<string, unknown>>, name: string): unknown {
  return member(claims, name) ?? name.split('.').reduce<unknown>(member, claims)
}

function member (value: unknown, name: string): unknown {
  return typeof value === 'object' && value !== null && Object.hasOwn(value, name) ? (value as Record<string, unknown>)[name] : undefined
}

/** The first of these claims that is a string with something in it. */
export function firstString (claims: Record<string, unknown>, names: string[]): string | undefined {
  for (const name of names) {
    const value = claims[name]
    if (typeof value === 'string' && value !== '') return value
  }
  return undefined
}

function isStringArray (value: unknown): value is string[] {
  return Array.isArray(value) && value.every((item) => typeof item === 'string')
}
