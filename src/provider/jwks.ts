import { createPublicKey } from 'node:crypto'
import { createLocalJWKSet } from 'jose'
import type { CryptoKey, JWK, JWSHeaderParameters } from 'jose'
import type { fetchJson } from '../net/fetch.ts'
import { ProviderUnavailableError } from './discovery.ts'
import type { ProviderLog } from './discovery.ts'

/**
 * The provider's signing keys, kept so that neither its outage nor a storm of bad tokens reaches anyone else.
 *
 * - Known keys answer from memory, refreshed in the background; when the provider is down the last good set
 *   serves on, up to `staleMs`. (jose's remote set refuses every token once its cache has aged.)
 * - A token with an unknown `kid` forces a refresh, one for everybody and at most every `forcedRefreshMs`.
 *   It waits for one that began after it came instead of being refused: its key may be newer than what was
 *   fetched before.
 * - A `kid` that a fresh set did not hold is refused at once for as long, in a bounded table.
 * - Symmetric, encryption and weak keys are never taken in, and private members are dropped (RFC 8725 section 3.5).
 */
export interface Jwks {
  /** The key a token's header asks for. @throws KeyNotFoundError, ProviderUnavailableError */
  getKey (header: JWSHeaderParameters): Promise<CryptoKey>
  /** For readiness: undefined when tokens can be verified, otherwise the reason. */
  problem (): string | undefined
  start (): void
  close (): void
}

/** No key of the provider's fits the token's header. */
export class KeyNotFoundError extends Error {
  override readonly name = 'KeyNotFoundError'
}

export interface JwksOptions {
  /** The current key set's URL. @throws ProviderUnavailableError before discovery */
  jwksUri: () => string
  fetchJson: typeof fetchJson
  log: ProviderLog
  /** Called when the set of keys has changed: what was verified with a withdrawn key must be forgotten. */
  onChange: () => void
  /** Monotonic clock in milliseconds. */
  now?: () => number
  refreshMs?: number
  forcedRefreshMs?: number
  staleMs?: number
}

const MAX_KEYS = 100
const MAX_WAITING = 1_000

interface KeySet {
  resolve: ReturnType<typeof createLocalJWKSet>
  /** What was resolved, by `alg` and `kid`: only keys of the set get in. */
  resolved: Map<string, CryptoKey>
  size: number
  kids: Set<string | undefined>
  fingerprint: string
  loadedAt: number
}

export function createJwks (options: JwksOptions): Jwks {
  const { log, now = () => performance.now(), refreshMs = 300_000, forcedRefreshMs = 5_000, staleMs = 86_400_000 } = options
  let keys: KeySet | undefined
  let problem: string | undefined = 'the signing keys have not been fetched yet'
  let failing = false
  let lastAttemptAt = -Infinity
  let refreshing: Promise<void> | undefined
  let waiters: Array<() => void> = []
  let waiting = 0
  let timer: NodeJS.Timeout | undefined
  let closed = false
  /** Filled by those who waited for one refresh, emptied by the next: never more than MAX_WAITING. */
  const unknownUntil = new Map<string | undefined, number>()

  /** Fetches the set; never rejects. Single flight. Serves those who waited for it to begin. */
  function refresh (): void {
    if (refreshing !== undefined) return
    const served = waiters
    waiters = []
    refreshing = fetchKeys().finally(() => {
      refreshing = undefined
      for (const serve of served) serve()
    })
  }

  async function fetchKeys (): Promise<void> {
    lastAttemptAt = now()
    try {
      const uri = options.jwksUri()
      take(usableKeys(await options.fetchJson(uri)))
      if (failing) log.info({ uri }, "The provider's signing keys can be fetched again")
      failing = false
      problem = undefined
    } catch (err) {
      problem = (err as Error).message
      if (!failing && !(err instanceof ProviderUnavailableError)) {
        log.error({ reason: problem, keysKept: keys?.size ?? 0 }, "The provider's signing keys cannot be fetched; the last good ones serve on")
        failing = true
      }
    }
    schedule(problem === undefined ? refreshMs : Math.min(forcedRefreshMs, refreshMs))
  }

  function take (jwks: JWK[]): void {
    const fingerprint = JSON.stringify(jwks)
    const changed = keys !== undefined && keys.fingerprint !== fingerprint
    keys = {
      resolve: createLocalJWKSet({ keys: jwks }),
      resolved: new Map(),
      size: jwks.length,
      kids: new Set(jwks.map((jwk) => jwk.kid)),
      fingerprint,
      loadedAt: now()
    }
    unknownUntil.clear()
    if (changed) {
      log.info({ kids: [...keys.kids] }, "The provider's signing keys have changed")
      options.onChange()
    }
  }

  function schedule (ms: number): void {
    clearTimeout(timer)
    if (closed) return
    timer = setTimeout(refresh, ms)
    timer.unref()
  }

  /** Resolves when a refresh that begins from now on has ended, whatever began it; forces one if none is due within `forcedRefreshMs` of the last. */
  function nextRefresh (): Promise<void> {
    if (closed) return Promise.resolve()
    schedule(Math.max(0, lastAttemptAt + forcedRefreshMs - now()))
    return new Promise((resolve) => { waiters.push(resolve) })
  }

  async function lookUpUnknown (kid: string | undefined): Promise<void> {
    if ((unknownUntil.get(kid) ?? 0) > now()) throw new KeyNotFoundError(`no key "${kid}" in the provider's key set`)
    if (waiting >= MAX_WAITING) throw new ProviderUnavailableError('too many tokens with unknown keys are waiting for the key set')
    waiting++
    try {
      // One under way may have been answered before the key was published: its yes counts, its no does not.
      if (refreshing !== undefined) await refreshing
      if (!holds(kid)) await nextRefresh()
    } finally {
      waiting--
    }
    if (holds(kid)) return
    if (closed) throw new ProviderUnavailableError('the server is shutting down')
    if (problem !== undefined) throw new ProviderUnavailableError(problem)
    unknownUntil.set(kid, now() + forcedRefreshMs)
    throw new KeyNotFoundError(`no key "${kid}" in the provider's key set`)
  }

  /** Without a `kid` only a set of one key is unambiguous (OpenID Connect Core 1.0 section 10.1). */
  function holds (kid: string | undefined): boolean {
    return keys !== undefined && (kid === undefined ? keys.size === 1 : keys.kids.has(kid))
  }

  /** Why no token can be judged now; undefined when they can. */
  function unusable (): string | undefined {
    if (keys === undefined) return problem
    if (now() - keys.loadedAt <= staleMs) return undefined
    return `the signing keys are older than ${staleMs / 3_600_000} hours (${problem ?? 'a refresh is due'})`
  }

  return {
    async getKey (header) {
      if (keys !== undefined && !holds(header.kid)) await lookUpUnknown(header.kid)
      const reason = unusable()
      if (reason !== undefined) throw new ProviderUnavailableError(reason)
      const { resolve, resolved } = keys!
      const name = `${header.alg} ${header.kid}`
      const known = resolved.get(name)
      if (known !== undefined) return known
      try {
        const key = await resolve(header) as CryptoKey
        resolved.set(name, key)
        return key
      } catch (err) {
        throw new KeyNotFoundError(`no key "${header.kid}" fits algorithm ${header.alg}`, { cause: err })
      }
    },
    problem: unusable,
    start: refresh,
    close () {
      closed = true
      clearTimeout(timer)
      for (const release of waiters.splice(0)) release()
    }
  }
}

/** The keys of a JWK Set (RFC 7517 section 5) that may verify a signature; at most 100, the first of each `kid`. */
function usableKeys (document: Record<string, unknown>): JWK[] {
  if (!Array.isArray(document['keys'])) throw new Error('the key set has no "keys" array')
  const usable: JWK[] = []
  for (const candidate of document['keys'].slice(0, MAX_KEYS)) {
    const jwk = publicSigningKey(candidate)
    if (jwk === undefined || !isSound(jwk)) continue
    if (jwk.kid === undefined || !usable.some(({ kid }) => kid === jwk.kid)) usable.push(jwk)
  }
  if (usable.length === 0) {
    throw new Error('the key set holds no usable signing key (authentik: select a Signing Key in the provider; HS256 with the client secret is not accepted)')
  }
  return usable
}

/** The public members of a key that says it is one for signatures; undefined for any other. */
function publicSigningKey (candidate: unknown): JWK | undefined {
  if (typeof candidate !== 'object' || candidate === null) return undefined
  const { kty, kid, use, key_ops: operations, alg, n, e, crv, x, y } = candidate as JWK
  if (use !== undefined && use !== 'sig') return undefined
  if (operations !== undefined && !(Array.isArray(operations) && operations.includes('verify'))) return undefined
  if (kid !== undefined && typeof kid !== 'string') return undefined
  const common = { ...(kid !== undefined && { kid }), ...(typeof alg === 'string' && { alg }) }
  if (kty === 'RSA') return { kty, n: n!, e: e!, ...common }
  if (kty === 'EC' && ['P-256', 'P-384', 'P-521'].includes(crv ?? '')) return { kty, crv: crv!, x: x!, y: y!, ...common }
  if (kty === 'OKP' && crv === 'Ed25519') return { kty, crv, x: x!, ...common }
  return undefined
}

/** Whether it is a key at all, and no weak one: RSA of 2,048 bits, with an exponent that does not give signatures away. */
function isSound (jwk: JWK): boolean {
  try {
    const { modulusLength = 2_048, publicExponent = 3n } = createPublicKey({ key: jwk, format: 'jwk' }).asymmetricKeyDetails!
    return modulusLength >= 2_048 && publicExponent >= 3n
  } catch {
    return false
  }
}
