import { hash } from 'node:crypto'
import { FrozenSet } from '../json/frozen-set.ts'
import { deepFreeze } from '../json/deep-freeze.ts'
import type { JWT_BEARER } from '../oauth/protocol/grant-types.ts'
import { providerTokenKind, readClientId } from '../provider/token-kind.ts'
import { readAuthentication } from './authentication.ts'

/** A person who signed in, or a program that acts for itself. */
export type PrincipalKind = 'person' | 'service'

/** The grant type that a caller's access token goes back to (RFC 6749 section 4, RFC 7523 section 2.1). */
export type PrincipalGrantType = 'authorization_code' | 'client_credentials' | typeof JWT_BEARER

/** The caller of a request, as a verified access token describes it. Every tool gets it. */
export interface Principal {
  /** Whether a person called, or a service: a program without a person. */
  kind: PrincipalKind
  /**
   * How the caller got in: the grant type of the first token, which a refresh does not change. Undefined with
   * `OAUTH_MODE=proxy` and for tokens of other issuers (`TRUSTED_ISSUERS`), as these do not say it.
   */
  grantType: PrincipalGrantType | undefined
  /** `iss` of the token. */
  issuer: string
  /** `sub`: stable for this person at this issuer. The `sub` of a service is its client id. */
  subject: string
  /** The client that the token was issued to: `client_id`, `azp`, Okta's `cid` or Entra's `appid`. */
  clientId: string | undefined
  scopes: ReadonlySet<string>
  /** The URL of the MCP endpoint that the token is for (RFC 8707); undefined where a test does not say. */
  resource: string | undefined
  name: string | undefined
  email: string | undefined
  groups: readonly string[]
  /**
   * When the person proved at the provider who they are (`auth_time`), in seconds since the epoch; a refresh does not
   * change it. Undefined if the token does not say.
   */
  authenticatedAt: number | undefined
  /** The level of that authentication (`acr`), by the provider's name for it. */
  acr: string | undefined
  /** All claims of the token, unchanged. */
  claims: Readonly<Record<string, unknown>>
  /** `exp` of the token: seconds since the epoch. */
  expiresAt: number
  /** One string for issuer, subject and client, safe in a store key: no choice of `sub` makes it somebody else's. */
  key: string
  /**
   * One string for issuer and subject, for limits: a person may have any number of clients, whose ids are theirs to
   * choose. A service never has that of a person.
   */
  personKey: string
}

/** A claim whose type is not the one in the standards. */
export class ClaimError extends Error {
  override readonly name = 'ClaimError'
}

/**
 * Reads a principal from the claims of a verified token. It is frozen: it is remembered for the token, and handed to
 * tools, which must not be able to change what a later call may do.
 *
 * @throws ClaimError for scopes of a wrong type
 */
export function toPrincipal (
  claims: Record<string, unknown> & { iss: string, sub: string, exp: number }, options: PrincipalOptions
): Principal {
  const clientId = readClientId(claims)
  const { authenticatedAt, acr } = readAuthentication(claims)
  const kind = options.areOwn === true ? ownKind(claims) : providerTokenKind(claims)
  return Object.freeze({
    kind,
    grantType: options.areOwn === true ? ownGrantType(claims) : undefined,
    issuer: claims.iss,
    subject: claims.sub,
    clientId,
    scopes: new FrozenSet(readScopes(claims)),
    resource: options.resource,
    name: firstString(claims, ['name', 'preferred_username']),
    email: firstString(claims, ['email']),
    groups: Object.freeze(readGroups(claims, options)),
    authenticatedAt,
    acr,
    claims: deepFreeze(claims),
    expiresAt: claims.exp,
    key: principalKey(claims.iss, claims.sub, clientId, kind),
    personKey: personKey(claims.iss, claims.sub, kind)
  })
}

/**
 * Claims of Seed's own access tokens. No provider's claim of these names gets into one (issue-access-token.ts).
 * Without them a token is that of a person who signed in, as are all tokens of earlier versions.
 */
export const KIND_CLAIM = 'seed_principal_kind'
export const GRANT_TYPE_CLAIM = 'seed_grant_type'

function ownKind (claims: Record<string, unknown>): PrincipalKind {
  return claims[KIND_CLAIM] === 'service' ? 'service' : 'person'
}

function ownGrantType (claims: Record<string, unknown>): PrincipalGrantType {
  return claims[GRANT_TYPE_CLAIM] as PrincipalGrantType | undefined ?? 'authorization_code'
}

/** Returns the `key` of a principal. */
export function principalKey (
  issuer: string, subject: string, clientId: string | undefined, kind: PrincipalKind = 'person'
): string {
  return kind === 'person' ? keyOf(issuer, subject, clientId ?? '') : keyOf(issuer, subject, clientId ?? '', kind)
}

/** Returns the `personKey` of a principal. */
export function personKey (issuer: string, subject: string, kind: PrincipalKind = 'person'): string {
  // The lengths of the parts are hashed too: no person's subject and client add up to the key of a service.
  return kind === 'person' ? keyOf(issuer, subject) : keyOf(issuer, subject, '', '', kind)
}

/**
 * SHA-256 over length-prefixed parts, so that no part can run into the next. In UTF-16, because UTF-8 has one and the
 * same replacement for all lone surrogates.
 */
function keyOf (...parts: string[]): string {
  // One buffer: updating a hash part by part takes three times as long, and every new token needs one.
  const bytes = Buffer.allocUnsafe(parts.reduce((sum, part) => sum + 2 * part.length + LENGTH_PREFIX, 0))
  let at = 0
  for (const part of parts) {
    at += bytes.write(`${part.length}:`, at, 'latin1')
    at += bytes.write(part, at, 'utf16le')
  }
  return hash('sha256', bytes.subarray(0, at), 'base64url')
}

/** An upper bound for the decimal length and its colon. */
const LENGTH_PREFIX = 12

/** Reads `scope`, one string (RFC 9068 section 2.2.3), and `scp` (Okta, Entra), a string or an array. */
function readScopes ({ scope, scp }: Record<string, unknown>): Set<string> {
  if (scope !== undefined && typeof scope !== 'string') throw new ClaimError('scope must be a string')
  if (scp !== undefined && typeof scp !== 'string' && !isStringArray(scp)) {
    throw new ClaimError('scp must be a string or an array of strings')
  }
  const scopes = new Set((scope ?? '').split(' '))
  for (const item of Array.isArray(scp) ? scp : (scp ?? '').split(' ')) scopes.add(item)
  scopes.delete('')
  return scopes
}

export interface PrincipalOptions extends GroupOptions {
  /** The tokens are Seed's own, so that their claims about the kind of caller are too. */
  areOwn?: boolean
  /** The URL of the MCP endpoint that the token is for. */
  resource?: string | undefined
}

export interface GroupOptions {
  /** The claim that lists groups: its exact name, or a path such as `realm_access.roles`. */
  groupsClaim: string
  /** Whether groups are paths such as `/engineering` (Keycloak): the slash is dropped. */
  groupPaths: boolean
}

/**
 * Reads the groups of a person: an array of strings, or a string, which is one group (LemonLDAP::NG sends a person's
 * only group so). None where the claim is absent or of another type.
 */
export function readGroups (claims: Record<string, unknown>, { groupsClaim, groupPaths }: GroupOptions): string[] {
  const claim = claimAt(claims, groupsClaim)
  const value = typeof claim === 'string' && claim !== '' ? [claim] : claim
  if (!isStringArray(value)) return []
  return groupPaths ? value.map((group) => group.replace(/^\//, '')) : value
}

/** Reads a claim by its exact name, or by a path such as `realm_access.roles`. */
export function claimAt (claims: Readonly<Record<string, unknown>>, name: string): unknown {
  return member(claims, name) ?? name.split('.').reduce<unknown>(member, claims)
}

function member (value: unknown, name: string): unknown {
  if (typeof value !== 'object' || value === null || !Object.hasOwn(value, name)) return undefined
  return (value as Record<string, unknown>)[name]
}

/** Returns the first of these claims that is a string and not empty. */
export function firstString (claims: Readonly<Record<string, unknown>>, names: string[]): string | undefined {
  for (const name of names) {
    const value = claims[name]
    if (typeof value === 'string' && value !== '') return value
  }
  return undefined
}

function isStringArray (value: unknown): value is string[] {
  return Array.isArray(value) && value.every((item) => typeof item === 'string')
}
