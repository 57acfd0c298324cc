import { decodeJwt, decodeProtectedHeader, errors, jwtVerify } from 'jose'
import type { JWTPayload, JWTVerifyGetKey, ProtectedHeaderParameters } from 'jose'
import type { Endpoint } from '../../../config/endpoints.ts'
import { OAuthError } from '../../../errors/oauth-error.ts'
import { MAX_DEPTH, isDeeperThan } from '../../../json/depth.ts'
import { expectedIssuer } from '../../../provider/issuer.ts'
import { KeyNotFoundError } from '../../../provider/key-set.ts'
import { ID_JAG_TYPE } from '../../protocol/grant-types.ts'
import { findResource } from '../../protocol/resource-indicator.ts'

/** An ID-JAG that has passed every check, except that it may have been used before. */
export interface IdentityAssertion {
  issuer: string
  /** The person: the same subject as after a sign-in at this issuer. */
  subject: string
  /** Unique for this issuer and subject. */
  jti: string
  /** Seconds since the epoch. */
  issuedAt: number
  expiresAt: number
  /** The scopes that the provider allows, space-separated; undefined if it says nothing about scopes. */
  scope: string | undefined
  /** The MCP endpoint that the token may be for. */
  endpoint: Endpoint
  /** All claims, those about the person among them. */
  claims: Readonly<Record<string, unknown>>
}

export interface IdentityAssertionOptions {
  /** OIDC_ISSUER, the only issuer that is trusted for this; with OIDC_TENANTS its listed tenants. */
  issuer: string
  tenants: readonly string[]
  algorithms: readonly string[]
  clockSkewSeconds: number
  /** The provider's keys. */
  getKey: JWTVerifyGetKey
  /** BASE_URL: Seed's issuer, the only audience. */
  baseUrl: string
  /** All MCP endpoints; `/mcp` first. */
  endpoints: readonly Endpoint[]
}

interface AssertedRequest {
  clientId: string
  target: Endpoint | undefined
}

/** The longest accepted life of an ID-JAG, which providers issue for a few minutes. */
const MAX_LIFETIME_SECONDS = 600

const MAX_TEXT_LENGTH = 512

/**
 * Verifies an Identity Assertion JWT Authorization Grant (draft-ietf-oauth-identity-assertion-authz-grant section 4.4,
 * RFC 7523 section 3): the company's provider allows this client to act for this person at this server.
 *
 * Everything that needs no key is checked first, so that a token of somebody else makes Seed fetch nothing. Messages
 * say what is expected and nothing of what came: an ID-JAG is a credential, and so is a token that is in its place.
 *
 * @param clientId the client that the request authenticates or names
 * @param target the MCP endpoint that the request names; undefined if it names none
 * @throws OAuthError invalid_grant, or invalid_target for a resource that the ID-JAG is not for;
 * ProviderUnavailableError (the provider's keys cannot be had now)
 */
export async function verifyIdentityAssertion (
  assertion: string, { clientId, target }: AssertedRequest, options: IdentityAssertionOptions
): Promise<IdentityAssertion> {
  const { header, claims: unverified } = decode(assertion)
  checkHeader(header, options.algorithms)
  checkParties(unverified, clientId, options)
  const claims = await verifySignature(assertion, options)
  checkProofOfPossession(claims)
  const { issuedAt, expiresAt } = checkTimes(claims, options.clockSkewSeconds)
  return {
    issuer: claims.iss!,
    subject: requiredText(claims, 'sub'),
    jti: requiredText(claims, 'jti'),
    issuedAt,
    expiresAt,
    scope: optionalScope(claims),
    endpoint: readEndpoint(claims, target, options.endpoints),
    claims
  }
}

function decode (assertion: string): { header: ProtectedHeaderParameters, claims: JWTPayload } {
  try {
    const decoded = { header: decodeProtectedHeader(assertion), claims: decodeJwt(assertion) }
    if (!isDeeperThan(decoded.claims, MAX_DEPTH)) return decoded
  } catch {}
  throw invalidAssertion('it must be a signed JWT')
}

/** RFC 8725 section 3.11: an ID token, an access token or a logout token of the same issuer has another `typ`. */
function checkHeader ({ typ, alg }: ProtectedHeaderParameters, algorithms: readonly string[]): void {
  if (typ !== ID_JAG_TYPE) {
    throw invalidAssertion(`typ in its header must be ${ID_JAG_TYPE}: only an ID-JAG is an assertion here`)
  }
  if (alg === undefined || !algorithms.includes(alg)) {
    throw invalidAssertion('it must be signed with an algorithm that OIDC_ALGORITHMS lists')
  }
}

/** The parties of the grant: the provider that issued it, the server and the resource it is for, and the client. */
function checkParties (claims: JWTPayload, clientId: string, options: IdentityAssertionOptions): void {
  const { iss, aud, client_id: issuedTo, resource } = claims
  const { baseUrl } = options
  if (iss === undefined || iss !== expectedIssuer(options, claims)) {
    throw invalidAssertion('iss must be the identity provider of this server')
  }
  // An ID-JAG for several servers could be used at this one by each of the others.
  const audience = Array.isArray(aud) && aud.length === 1 ? aud[0] : aud
  if (audience !== baseUrl && audience !== `${baseUrl}/`) throw invalidAssertion(`aud must be ${baseUrl} alone`)
  if (issuedTo !== clientId) throw invalidAssertion('client_id must be the client that sends the request')
  findEndpoints(resource, options.endpoints)
}

/** Returns the endpoints that `resource` names; all of them if it names none, as the audience is this server. */
function findEndpoints (resource: unknown, endpoints: readonly Endpoint[]): readonly Endpoint[] {
  if (resource === undefined) return endpoints
  const named = [resource].flat()
  try {
    if (named.length > 0 && named.every((uri) => typeof uri === 'string')) {
      return named.map((uri) => findResource(uri, endpoints))
    }
  } catch {}
  throw invalidAssertion(`resource must be ${endpoints.map((endpoint) => endpoint.resource).join(' or ')}`)
}

function readEndpoint (
  { resource }: JWTPayload, target: Endpoint | undefined, endpoints: readonly Endpoint[]
): Endpoint {
  const allowed = findEndpoints(resource, endpoints)
  if (target === undefined) return allowed[0]!
  if (allowed.includes(target)) return target
  throw new OAuthError('invalid_target', 'resource must be one that the ID-JAG is for', { causeCode: 'resource_wrong' })
}

async function verifySignature (assertion: string, options: IdentityAssertionOptions): Promise<JWTPayload> {
  try {
    const { payload } = await jwtVerify(assertion, options.getKey, {
      algorithms: [...options.algorithms],
      clockTolerance: options.clockSkewSeconds,
      requiredClaims: ['iat', 'exp']
    })
    return payload
  } catch (err) {
    if (err instanceof errors.JWTExpired) throw invalidAssertion('it has expired: get another one', err)
    if (err instanceof errors.JWTClaimValidationFailed) {
      throw invalidAssertion(`${err.claim} is missing or not acceptable (clocks may differ)`, err)
    }
    if (err instanceof errors.JOSEError || err instanceof KeyNotFoundError) {
      throw invalidAssertion('its signature is not valid, or its key is not published by the identity provider', err)
    }
    throw err
  }
}

/** Refuses what limits the grant further (RFC 7800 section 3.1, RFC 9396 section 5): Seed could not honor it. */
function checkProofOfPossession (claims: JWTPayload): void {
  if (claims['cnf'] !== undefined) throw invalidAssertion('it is bound to a key (cnf), which is not supported here')
  if (claims['authorization_details'] !== undefined) {
    throw invalidAssertion('authorization_details are not supported here')
  }
}

/** `exp` and `nbf` have been checked; `iat` and the lifetime have not. */
function checkTimes (
  { iat, exp }: JWTPayload, clockSkewSeconds: number
): { issuedAt: number, expiresAt: number } {
  // Required, and numbers: jose has checked it.
  const [issuedAt, expiresAt] = [iat!, exp!]
  if (issuedAt > Date.now() / 1_000 + clockSkewSeconds) {
    throw invalidAssertion('iat is in the future (clocks may differ)')
  }
  if (expiresAt - issuedAt > MAX_LIFETIME_SECONDS) {
    throw invalidAssertion(`it may live for at most ${MAX_LIFETIME_SECONDS} seconds from iat to exp`)
  }
  return { issuedAt, expiresAt }
}

function requiredText (claims: JWTPayload, name: string): string {
  const value = claims[name]
  if (typeof value === 'string' && value !== '' && value.length <= MAX_TEXT_LENGTH) return value
  throw invalidAssertion(`${name} must be a text of at most ${MAX_TEXT_LENGTH} characters`)
}

function optionalScope ({ scope }: JWTPayload): string | undefined {
  if (scope === undefined || typeof scope === 'string') return scope
  throw invalidAssertion('scope must be a text')
}

export function invalidAssertion (reason: string, cause?: unknown): OAuthError {
  return new OAuthError('invalid_grant', `The ID-JAG is not acceptable: ${reason}`, {
    detail: reason, causeCode: 'identity_assertion', cause
  })
}
