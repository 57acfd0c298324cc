import type { Config } from '../config/config.ts'
import type { ClientAuthenticationMethod } from '../provider/client-authentication.ts'
import type { ProviderMetadata } from '../provider/discovery.ts'
import { question } from './finding.ts'
import type { Finding } from './finding.ts'
import { methodsToTry } from './token-endpoint.ts'
import type { TokenEndpointProbes } from './token-endpoint.ts'

/** Asks for tokens with a refresh token that does not exist (RFC 6749 section 6). */
export async function checkRefresh (
  { tokenEndpoint }: ProviderMetadata, probes: TokenEndpointProbes, method: ClientAuthenticationMethod
): Promise<Finding> {
  const about = question('provider.refresh', `POST ${tokenEndpoint} with a made-up refresh token`)
  const { isAccepted, error, text } = await probes.refreshToken(method)
  if (isAccepted === undefined) return about.unknown(text, 'How the provider answers a dead refresh token is not known')
  if (error === 'unsupported_grant_type' || error === 'unauthorized_client') {
    return about.warning(text, 'The provider gives this client no refresh tokens: people sign in again when their ' +
      'access token ends. Allow the refresh_token grant for the client there')
  }
  if (!isAccepted) {
    return about.warning(text, 'The provider accepts the client with a code, and refuses it ' +
    'at a refresh')
  }
  return error === 'invalid_grant'
    ? about.ok(text, 'A refresh token that has ended is called invalid_grant')
    : about.ok(text, 'A refresh token that has ended is not called invalid_grant; Seed recognizes this answer too')
}

/** Revokes a token that does not exist (RFC 7009 section 2.2: that is a success). */
export async function checkRevocation (
  config: Config, metadata: ProviderMetadata, probes: TokenEndpointProbes, method: ClientAuthenticationMethod
): Promise<Finding[]> {
  const { revocationEndpoint } = metadata
  if (revocationEndpoint === undefined) return []
  const about = question('provider.revocation-request', `POST ${revocationEndpoint} with a made-up token`)
  const { status, isAccepted, text } = await probes.revocation(method)
  if (isAccepted === undefined) return [about.unknown(text, 'Whether tokens can be revoked is not known')]
  if (isAccepted && status !== 404) return [about.ok(text, 'The revocation endpoint accepts the client')]
  // A provider that accepts any secret at its token endpoint shows only here which method it wants.
  for (const other of (await methodsToTry(config, metadata)).others) {
    if (other.name === 'none' || (await probes.revocation(other)).isAccepted !== true) continue
    const [setting, value] = other.setting.split('=')
    return [about.warning(text, `The provider accepts the client with ${other.setting}: set that to save the first ` +
      'attempt', { setting, value })]
  }
  return [about.warning(text, 'What ends here lives on at the provider: its revocation endpoint refuses this client. ' +
    'It may want a confidential client', {
    setting: status === 404 ? 'OAUTH_REVOCATION_URL' : 'OIDC_CLIENT_SECRET'
  })]
}
