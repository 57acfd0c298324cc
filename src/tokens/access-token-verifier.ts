import { hash } from 'node:crypto'
import type { KeyObject } from 'node:crypto'
import type { CryptoKey, JWSHeaderParameters, JWTPayload } from 'jose'
import { LRUCache } from 'lru-cache'
import type { MaybePromise } from '../async/maybe-async.ts'
import { KeyNotFoundError } from '../provider/key-set.ts'
import { checkClaims, checkIssuer } from './claims.ts'
import type { ClaimRules } from './claims.ts'
import { parseJwt } from './jwt.ts'
import { ClaimError, toPrincipal } from './principal.ts'
import type { GroupOptions, Principal } from './principal.ts'
import type { Revocation } from './revocations.ts'
import { isSignedBy } from './verify-signature.ts'
import type { VerifyServiceToken } from './service-tokens.ts'
import { RevokedTokenError, TokenError } from './token-error.ts'

export interface VerifierOptions extends ClaimRules, GroupOptions {
  algorithms: readonly string[]
  /** Returns the key that a header asks for, made for its `alg`. @throws KeyNotFoundError, ProviderUnavailableError */
  getKey (header: JWSHeaderParameters): Promise<CryptoKey> | KeyObject
  revocation?: RevocationCheck
  /** Asked first when a token is seen for the first time; undefined for a token that is none of its own. */
  verifyServiceToken?: VerifyServiceToken | undefined
  /** Returns the resource that a token with these claims is for. */
  resourceOf (claims: Readonly<JWTPayload>): string | undefined
  /** Throws unless the caller may use the resource; called when a token is first seen and again each minute. */
  checkAccess?: ((principal: Principal) => void) | undefined
  /** Wall clock in milliseconds. */
  now?: () => number
}

/** Asked when a token is first seen, and again each minute. */
export interface RevocationCheck {
  keys (claims: Readonly<Record<string, unknown>>, token: string): string[]
  isRevoked (revocationKeys: string[], issuedAt: number): Promise<boolean>
  onRevoked (listener: (revocation: Pick<Revocation, 'revocationKeys'> | undefined) => void): void
}

export type Verifier = ReturnType<typeof createVerifier>

interface VerifiedToken {
  principal: Principal
  /** Wall clock in milliseconds. */
  until: number
}

const MAX_CACHED = 10_000
const MAX_CACHED_MS = 60_000

/**
 * Verifies bearer JWTs (RFC 8725, RFC 9068 section 4).
 *
 * Everything that needs no key is checked first, so that a token of somebody else makes Seed fetch nothing. Verified
 * tokens are cached under their SHA-256, never past `exp` nor for longer than a minute. The cache is emptied when the
 * provider's keys change; a revoked token leaves it at once.
 */
export function createVerifier (options: VerifierOptions) {
  const { now = Date.now, revocation } = options
  // Read with peek: an entry lives for a minute at most, so keeping those in use is not worth its cost to each request.
  const cache = new LRUCache<string, VerifiedToken>({ max: MAX_CACHED })
  const keysOf = new WeakMap<Principal, readonly string[]>()
  /** Counts what was removed from the cache: a verification that began before must not add to it. */
  let evictions = 0

  function clearCache (): void {
    evictions++
    cache.clear()
  }

  function evictRevoked (revokedKeys: readonly string[]): void {
    evictions++
    const revoked: string[] = []
    cache.forEach(({ principal }, digest) => {
      if (keysOf.get(principal)!.some((key) => revokedKeys.includes(key))) revoked.push(digest)
    })
    for (const digest of revoked) cache.delete(digest)
  }

  revocation?.onRevoked((revoked) => {
    if (revoked === undefined) clearCache()
    else evictRevoked(revoked.revocationKeys)
  })

  async function checkRevoked (principal: Principal, token: string): Promise<void> {
    const revocationKeys = revocation?.keys(principal.claims, token) ?? []
    keysOf.set(principal, revocationKeys)
    if (revocationKeys.length > 0 && await revocation!.isRevoked(revocationKeys, principal.claims['iat'] as number)) {
      throw new RevokedTokenError()
    }
  }

  async function verifyUncached (token: string, digest: string): Promise<Principal> {
    const evictionsBefore = evictions
    const principal = await (options.verifyServiceToken?.(token) ?? verifyJwt(token, options, now))
    await checkRevoked(principal, token)
    options.checkAccess?.(principal)
    if (evictions === evictionsBefore) {
      cache.set(digest, { principal, until: Math.min(principal.expiresAt * 1_000, now() + MAX_CACHED_MS) })
    }
    return principal
  }

  return {
    /**
     * Returns the caller that a token stands for: without a promise if the token is in the cache.
     *
     * Rejects with TokenError (the token is bad), ProviderUnavailableError (it cannot be verified now), or whatever
     * `checkAccess` throws.
     */
    verify (token: string): MaybePromise<Principal> {
      const digest = hash('sha256', token, 'base64url')
      const cached = cache.peek(digest)
      if (cached !== undefined) {
        if (cached.until > now()) return cached.principal
        cache.delete(digest)
      }
      return verifyUncached(token, digest)
    },

    clearCache,

    /** The keys by which the token of a principal can be revoked; none for a principal that is not from `verify`. */
    revocationKeys: (principal: Principal): readonly string[] => keysOf.get(principal) ?? []
  }
}

async function verifyJwt (token: string, options: VerifierOptions, now: () => number): Promise<Principal> {
  const { header, claims } = parseJwt(token, options.algorithms)
  checkIssuer(claims, options)
  try {
    if (!isSignedBy(await options.getKey(header), header.alg, token)) {
      throw new TokenError('invalid_token', "The access token's signature is not valid")
    }
    checkClaims(claims, header.typ, options, now())
    return toPrincipal(claims, { ...options, resource: options.resourceOf(claims) })
  } catch (err) {
    if (err instanceof ClaimError) {
      throw new TokenError('invalid_claim', 'The access token has claims of a wrong type', err.message)
    }
    if (err instanceof KeyNotFoundError) {
      throw new TokenError('invalid_token', 'The access token is signed with a key that is not known', err.message)
    }
    throw err
  }
}
