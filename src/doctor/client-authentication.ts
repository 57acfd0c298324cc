import type { Config } from '../config/config.ts'
import { authenticationMethods } from '../provider/client-authentication.ts'
import type { ClientAuthenticationMethod } from '../provider/client-authentication.ts'
import type { ProviderMetadata } from '../provider/discovery.ts'
import { question } from './finding.ts'
import type { Finding, Remedy } from './finding.ts'
import { madeUp, methodsToTry } from './token-endpoint.ts'
import type { ProbeAnswer, TokenEndpointProbes } from './token-endpoint.ts'

export interface ClientAuthenticationResult {
  findings: Finding[]
  /** The method that the provider accepts; undefined if there is none, or none is known to be. */
  accepted: ClientAuthenticationMethod | undefined
}

/**
 * Redeems a made-up code with the configured method, and where that is refused with the others (OpenID Connect Core 1.0
 * section 9): `invalid_grant` accepts the client, `invalid_client` refuses it.
 */
export async function checkClientAuthentication (
  config: Config, metadata: ProviderMetadata, probes: TokenEndpointProbes
): Promise<ClientAuthenticationResult> {
  const { configured, others } = await methodsToTry(config, metadata)
  const about = question('provider.client-authentication',
    `POST ${metadata.tokenEndpoint} with a made-up code, as ${config.oidc.clientId} (${configured.setting})`)
  const answer = await probes.code(configured)
  if (answer.isAccepted === undefined) {
    const finding = about.unknown(answer.text, 'Whether the provider accepts the client is not known')
    return { findings: [finding], accepted: undefined }
  }
  if (answer.isAccepted) {
    const finding = await acceptsAnything(config, metadata, probes)
      ? about.unknown(answer.text, 'The provider accepts a wrong secret as well until a code is real: only a sign-in ' +
        'shows whether the client is right')
      : about.ok(answer.text, `The provider accepts the client (${configured.setting})`)
    return { findings: [finding], accepted: configured }
  }
  for (const method of others) {
    const second = await probes.code(method)
    if (second.isAccepted !== true) continue
    return { findings: [otherMethod(config, method, { about, answer, second })], accepted: method }
  }
  return { findings: [about.error(answer.text, ...refusedClient(config))], accepted: undefined }
}

/** Whether a secret that is certainly wrong is accepted too: the answer then says nothing. */
async function acceptsAnything (
  { oidc }: Config, { tokenEndpointAuthMethods }: ProviderMetadata, probes: TokenEndpointProbes
): Promise<boolean> {
  if (oidc.clientSecret === undefined) return false
  const [wrong] = await authenticationMethods({ ...oidc, clientSecret: madeUp() }, tokenEndpointAuthMethods)
  return (await probes.code(wrong!)).isAccepted === true
}

interface OtherMethodAnswers {
  about: ReturnType<typeof question>
  answer: ProbeAnswer
  second: ProbeAnswer
}

function otherMethod (
  { oidc }: Config, { setting: text }: ClientAuthenticationMethod, { about, answer, second }: OtherMethodAnswers
): Finding {
  const [setting, value] = text.split('=') as [string, string]
  const answered = `${answer.text}; with ${text}: ${second.text}`
  if (value === 'none') {
    const credential = oidc.clientKey === undefined ? 'OIDC_CLIENT_SECRET' : 'OIDC_CLIENT_KEY'
    return about.error(answered, `The client is public there: remove ${credential}, or make the client confidential`,
      { setting: credential })
  }
  const isSet = setting === 'OIDC_CLIENT_AUTH' ? oidc.clientAuth !== undefined : oidc.assertionAudience !== undefined
  return isSet
    ? about.error(answered, `The provider accepts the client with ${text} only`, { setting, value })
    : about.warning(answered, `The provider accepts the client with ${text}: set that to save the first attempt`,
      { setting, value })
}

function refusedClient ({ oidc }: Config): [meaning: string, remedy: Remedy] {
  const refused = `The provider refuses the client: check that OIDC_CLIENT_ID (${oidc.clientId}) is its id there`
  if (oidc.clientKey !== undefined) {
    return [`${refused}, that it has the public key of OIDC_CLIENT_KEY and, if it names one, that its kid is ` +
      'OIDC_CLIENT_KEY_ID', { setting: 'OIDC_CLIENT_KEY' }]
  }
  if (oidc.clientSecret !== undefined) {
    return [`${refused}, and OIDC_CLIENT_SECRET its secret. Quotes around the value, a "#" in it and an expired ` +
      'secret are usual causes', { setting: 'OIDC_CLIENT_SECRET' }]
  }
  return [`${refused}, and that it is public there; if it is confidential, set OIDC_CLIENT_SECRET`,
    { setting: 'OIDC_CLIENT_SECRET' }]
}
