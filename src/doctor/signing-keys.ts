import type { Config } from '../config/config.ts'
import { FetchError, fetchJson } from '../net/fetch.ts'
import type { ProviderMetadata } from '../provider/discovery.ts'
import { createKeySet } from '../provider/key-set.ts'
import { question } from './finding.ts'
import type { Finding } from './finding.ts'
import { REQUEST_MS } from './within.ts'

/** Key types, and the algorithms that they verify. */
const ALGORITHMS: Record<string, RegExp> = { RSA: /^[RP]S/, EC: /^ES/, OKP: /^Ed/ }

/** Fetches the provider's key set (RFC 7517 section 5). */
export async function checkSigningKeys ({ oidc }: Config, { jwksUri }: ProviderMetadata): Promise<Finding[]> {
  const about = question('provider.signing-keys', `GET ${jwksUri}`)
  try {
    const document = await fetchJson(jwksUri, { timeoutMs: REQUEST_MS })
    createKeySet(document)
    const keys = document['keys'] as Array<Record<string, unknown>>
    const text = keys.map(({ kty, alg = 'any alg', kid }) => `${kty} ${alg} ${kid}`).join(', ')
    const verifies = (kty: unknown, alg: string): boolean => ALGORITHMS[`${kty}`]?.test(alg) === true
    const isUsable = keys.some(({ kty }) => oidc.algorithms.some((algorithm) => verifies(kty, algorithm)))
    return [isUsable
      ? about.ok(text, `Signatures can be verified: ${text}`)
      : about.error(text, `No key fits OIDC_ALGORITHMS (${oidc.algorithms.join()})`, { setting: 'OIDC_ALGORITHMS' })]
  } catch (err) {
    const { message } = err as Error
    const isCertificate = err instanceof FetchError && message.includes('NODE_EXTRA_CA_CERTS')
    return [about.error(message, 'No token of the provider can be verified: nobody can sign in',
      isCertificate ? { setting: 'NODE_EXTRA_CA_CERTS' } : {})]
  }
}
