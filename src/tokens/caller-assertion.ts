import { sign } from 'node:crypto'
import { randomId } from '../crypto/hash.ts'
import { KIND_CLAIM } from './principal.ts'
import type { Principal } from './principal.ts'
import type { SigningKeys } from './signing-keys.ts'

/** The type of these assertions, in their header (RFC 8725 section 3.11): no access token has it, nor an ID token. */
export const CALLER_ASSERTION_TYPE = 'caller-assertion+jwt'

/** The longest assertion to send: servers limit the headers of a request, Node's to 16 KiB. */
export const MAX_ASSERTION_LENGTH = 8_192

/** Long enough for a request on its way and for clocks that differ a little. */
const LIFETIME_SECONDS = 60

export interface CallerAssertionOptions {
  signingKeys: Pick<SigningKeys, 'current'>
  /** BASE_URL */
  issuer: string
  /** Wall clock in milliseconds. */
  now?: () => number
}

export interface CallerAssertionRequest {
  /** The server that gets the assertion. */
  audience: string
  /** Claims about the caller, by name, that go into it where they are known. */
  claims?: readonly string[]
}

export type IssueCallerAssertion = ReturnType<typeof createCallerAssertions>

/** Claims that Seed alone sets, and those by which other tokens are bound or named. */
const OWN_CLAIMS = /^(iss|sub|aud|exp|nbf|iat|jti|sub_id|client_id|azp|act|may_act|cnf|grant|sid|seed_.*)$/

/** Tells whether a claim of this name may be put into assertions. */
export function isPassableClaim (name: string): boolean {
  return !OWN_CLAIMS.test(name)
}

/** Tells whether an audience is Seed itself, which accepts no assertion. @param baseUrl BASE_URL */
export function isOwnAudience (audience: string, baseUrl: string): boolean {
  return audience === baseUrl || audience.startsWith(`${baseUrl}/`)
}

/**
 * Returns a function that says, signed by Seed, who calls another server: a JWT (RFC 7519, ES256) about a caller for
 * one audience, with the claims of an assertion (RFC 7523 section 3) and the `client_id` of RFC 8693 section 4.3.
 *
 * A `sub` is unique at its issuer only, so `sub_id` names both (RFC 9493 section 3.2.3): services of TRUSTED_ISSUERS
 * choose theirs without this server. An assertion without a caller is about Seed itself: `sub` is `iss`.
 */
export function createCallerAssertions ({ signingKeys, issuer, now = Date.now }: CallerAssertionOptions) {
  return (caller: Principal | undefined, { audience, claims = [] }: CallerAssertionRequest): string => {
    const { kid, privateKey } = signingKeys.current()
    const issuedAt = Math.floor(now() / 1_000)
    const subject = caller?.subject ?? issuer
    const contents = {
      ...(caller !== undefined && claimsOf(caller, claims)),
      iss: issuer,
      sub: subject,
      sub_id: { format: 'iss_sub', iss: caller?.issuer ?? issuer, sub: subject },
      aud: audience,
      client_id: caller?.clientId,
      [KIND_CLAIM]: caller?.kind ?? 'service',
      jti: randomId(16),
      iat: issuedAt,
      exp: issuedAt + LIFETIME_SECONDS
    }
    const input = [{ alg: 'ES256', typ: CALLER_ASSERTION_TYPE, kid }, contents].map(encode).join('.')
    // Node's own crypto: WebCrypto, which jose uses, takes twice as long, and each call of a tool needs a signature.
    const signature = sign('sha256', Buffer.from(input), { key: privateKey, dsaEncoding: 'ieee-p1363' })
    return `${input}.${signature.toString('base64url')}`
  }
}

function encode (part: object): string {
  return Buffer.from(JSON.stringify(part)).toString('base64url')
}

/** Returns claims of a caller. Name, email and groups are those that tools see, however the provider calls them. */
function claimsOf ({ claims, name, email, groups }: Principal, names: readonly string[]): Record<string, unknown> {
  const known: Record<string, unknown> = { ...claims, name, email, groups }
  return Object.fromEntries(names
    .filter((claim) => isPassableClaim(claim) && Object.hasOwn(known, claim))
    .map((claim) => [claim, known[claim]]))
}
