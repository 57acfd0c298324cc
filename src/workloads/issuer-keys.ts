import type { CryptoKey, JWSHeaderParameters } from 'jose'
import { isSafeUrl } from '../config/public-keys.ts'
import type { TrustedIssuer } from '../config/trusted-issuers.ts'
import type { Log } from '../logging/log.ts'
import { FetchError, fetchJson } from '../net/fetch.ts'
import type { FetchLimits } from '../net/fetch.ts'
import { createJwks } from '../provider/jwks.ts'
import type { KeysLog } from '../provider/jwks.ts'
import { createKeySet } from '../provider/key-set.ts'

export interface IssuerKeysOptions {
  log: Log
  /** Called when an issuer has other keys: tokens that a withdrawn one has verified must leave the caches. */
  onChange?: (() => void) | undefined
  /** Shortest time between fetches that unknown keys force; 5 seconds by default. */
  forcedRefreshMs?: number | undefined
}

/** What helps where an issuer has no usable key. */
export const KEYS_ADVICE = 'it needs the public RSA key of at least 2,048 bits, or the EC or Ed25519 key, with which ' +
  'the issuer signs'

/** The keys of one issuer. No other issuer's key is ever among them, whatever its `kid` is. */
export interface IssuerKeys {
  /** @throws KeyNotFoundError, ProviderUnavailableError */
  getKey (header: JWSHeaderParameters): Promise<CryptoKey>
  /** Begins fetching; returns at once. */
  start (): void
  close (): void
}

/**
 * Makes the keys of an issuer: those of its entry, or those at its `jwks_uri` or the one of its discovery document.
 * The latter two are kept like the provider's (src/provider/jwks.ts).
 */
export function createIssuerKeys (
  issuer: TrustedIssuer, { log, onChange, forcedRefreshMs }: IssuerKeysOptions
): IssuerKeys {
  if (issuer.jwks !== undefined) {
    const { getKey } = createKeySet(toSigningKeys(issuer, issuer.jwks))
    return { getKey, start () {}, close () {} }
  }
  return createJwks({
    jwksUri: () => issuer.jwksUri ?? discoveryUrl(issuer),
    fetchJson: async () => await fetchIssuerKeys(issuer),
    log,
    advice: KEYS_ADVICE,
    keysLog: createKeysLog(log, issuer.name),
    onChange,
    forcedRefreshMs
  })
}

/**
 * Fetches the key set of an issuer, by way of its discovery document (OpenID Connect Discovery 1.0 section 4) unless
 * the operator wrote its URL.
 *
 * @throws FetchError
 */
export async function fetchIssuerKeys (
  issuer: TrustedIssuer, limits: FetchLimits = {}
): Promise<Record<string, unknown>> {
  const uri = issuer.jwksUri ?? await discoverKeys(issuer, limits)
  return toSigningKeys(issuer, await fetchJson(uri, limits))
}

function discoveryUrl ({ issuer }: TrustedIssuer): string {
  return `${issuer!.replace(/\/$/, '')}/.well-known/openid-configuration`
}

async function discoverKeys (issuer: TrustedIssuer, limits: FetchLimits): Promise<string> {
  const url = discoveryUrl(issuer)
  const { issuer: named, jwks_uri: uri } = await fetchJson(url, limits)
  if (named !== issuer.issuer) throw new FetchError(`${url} is the document of another issuer`)
  if (typeof uri === 'string' && isSafeUrl(uri)) return uri
  throw new FetchError(`${url} has no usable jwks_uri (an https URL)`)
}

/** SPIFFE marks the keys of a bundle with a `use` of its own (SPIFFE Trust Domain and Bundle section 4.2.2). */
function toSigningKeys ({ preset }: TrustedIssuer, document: { keys?: unknown }): Record<string, unknown> {
  if (preset !== 'spiffe' || !Array.isArray(document.keys)) return { ...document }
  return { keys: document.keys.map((key) => key?.use === 'jwt-svid' ? { ...key, use: 'sig' } : key) }
}

function createKeysLog (log: Log, issuer: string): KeysLog {
  return {
    changed (kids) {
      log.info({ event: 'issuer.keys_changed', issuer, kids }, 'A trusted issuer has other keys')
    },
    unavailable (reason, keysKept) {
      log.error({ event: 'issuer.keys_unavailable', issuer, reason, keysKept }, keysKept === 0
        ? 'The keys of a trusted issuer cannot be fetched: its workloads get no tokens until they can (TRUSTED_ISSUERS)'
        : 'The keys of a trusted issuer cannot be fetched; the last good ones stay in use (TRUSTED_ISSUERS)')
    },
    available (uri) {
      log.info({ event: 'issuer.keys_available', issuer, uri }, 'The keys of a trusted issuer can be fetched again')
    }
  }
}
