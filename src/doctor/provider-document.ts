import type { Config } from '../config/config.ts'
import { FetchError, fetchJson } from '../net/fetch.ts'
import { fetchMetadata, isPermanent } from '../provider/discovery.ts'
import type { ProviderMetadata } from '../provider/discovery.ts'
import { findMetadataProblems } from '../provider/metadata-problems.ts'
import type { MetadataProblem } from '../provider/metadata-problems.ts'
import { question } from './finding.ts'
import type { Finding, Remedy } from './finding.ts'
import { REQUEST_MS } from './within.ts'

/** Fetches the discovery document (OpenID Connect Discovery 1.0 section 4) as the server does. */
export async function checkDiscovery (
  { oidc }: Config
): Promise<{ findings: Finding[], metadata: ProviderMetadata | undefined }> {
  const about = question('provider.discovery', `GET ${oidc.discoveryUrl}, without following redirects`)
  try {
    const fetch: typeof fetchJson = async (url) => await fetchJson(url, { timeoutMs: REQUEST_MS })
    const metadata = await fetchMetadata({ ...oidc, fetchJson: fetch })
    return { findings: [about.ok('a discovery document', `The provider is ${metadata.issuer}`)], metadata }
  } catch (err) {
    const { message } = err as Error
    const meaning = err instanceof FetchError && !isPermanent(err)
      ? 'The provider cannot be reached from here: nobody can sign in until it can'
      : 'The provider cannot be used: nobody can sign in'
    return { findings: [about.error(message, meaning, discoveryRemedy(err as Error))], metadata: undefined }
  }
}

/** The setting that the error is about. */
export function discoveryRemedy (err: Error): Remedy {
  const { message } = err
  const [, issuer] = /issuer is "([^"]+)", but OIDC_ISSUER/.exec(message) ?? []
  if (issuer !== undefined) return { setting: 'OIDC_ISSUER', value: issuer }
  if (message.includes('NODE_EXTRA_CA_CERTS')) return { setting: 'NODE_EXTRA_CA_CERTS' }
  const [, target] = /a redirect to (\S+?),.*set OIDC_DISCOVERY_URL/.exec(message) ?? []
  if (target !== undefined) return { setting: 'OIDC_DISCOVERY_URL', value: target }
  return { setting: 'OIDC_ISSUER' }
}

const LABELS: Record<MetadataProblem['subject'], string> = {
  pkce: 'PKCE with S256 can be used',
  scopes: 'All of OIDC_SCOPES are listed, or the provider lists none',
  'id-token-algorithms': 'An algorithm for ID tokens is one of OIDC_ALGORITHMS, or none is listed',
  'pushed-authorization-requests': 'Authorization requests are pushed, or need not be',
  revocation: 'Tokens can be revoked at the provider',
  iss: 'The document promises no "iss" that clients would refuse'
}

/** Judges the document by itself: no request is sent. */
export function checkDocument ({ oauth: { mode }, oidc }: Config, metadata: ProviderMetadata): Finding[] {
  const problems = findMetadataProblems(metadata, { ...oidc, mode })
  const findings = Object.entries(LABELS).map(([subject, label]) => {
    const about = question(`provider.${subject}`, 'the discovery document')
    const problem = problems.find((candidate) => candidate.subject === subject)
    if (problem === undefined) return about.ok('nothing against it', label)
    const { severity, fields, message, setting, value } = problem
    return about[severity](JSON.stringify(fields), message, { setting, value })
  })
  return [...findings, checkBackchannelLogout(metadata)]
}

function checkBackchannelLogout ({ logsOut }: ProviderMetadata): Finding {
  const about = question('provider.back-channel-logout', 'the discovery document')
  return logsOut
    ? about.ok('backchannel_logout_supported', 'A logout there can end sign-ins here: register ' +
      'BASE_URL/oauth/backchannel-logout as the logout URI of the client')
    : about.unknown('no backchannel_logout_supported', 'A logout at the provider may not end sign-ins here: in ' +
      'broker ' +
      'mode they end at the next refresh that the provider refuses')
}
