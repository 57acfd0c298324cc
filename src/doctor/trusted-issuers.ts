import type { Config } from '../config/config.ts'
import { createKeySet } from '../provider/key-set.ts'
import { KEYS_ADVICE, fetchIssuerKeys } from '../workloads/issuer-keys.ts'
import { question } from './finding.ts'
import type { Finding } from './finding.ts'
import { REQUEST_MS, within } from './within.ts'

/** Fetches the keys of each issuer of TRUSTED_ISSUERS whose keys are not in the setting itself. */
export async function checkTrustedIssuers ({ oauth }: Config): Promise<Finding[]> {
  const issuers = oauth.trustedIssuers.filter(({ jwks }) => jwks === undefined)
  const findings = await Promise.all(issuers.map(async (issuer) => await within('trusted-issuers.keys', async () => {
    const about = question('trusted-issuers.keys', `GET the keys of ${issuer.name}`)
    try {
      const { size } = createKeySet(await fetchIssuerKeys(issuer, { timeoutMs: REQUEST_MS }), KEYS_ADVICE)
      return [about.ok(`${size} key(s)`, `Tokens of ${issuer.name} can be verified`)]
    } catch (err) {
      const { message } = err as Error
      const setting = message.includes('NODE_EXTRA_CA_CERTS') ? 'NODE_EXTRA_CA_CERTS' : 'TRUSTED_ISSUERS'
      const meaning = `No token of ${issuer.name} can be verified: its workloads get none here`
      return [about.error(message, meaning, { setting })]
    }
  })))
  return findings.flat()
}
