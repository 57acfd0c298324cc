import type { RegisterBody, RegisteredClient } from '../../schemas/register.ts'
import { OAuthError } from '../../errors/oauth-error.ts'
import { checkRegistrableRedirectUri } from '../protocol/redirect-uri.ts'
import { stripControlCharacters } from '../clients/client-name.ts'
import type { ClientMetadata, Registrations } from '../clients/registrations.ts'

/**
 * Dynamic client registration (RFC 7591 section 3): the request's checks, one after another, then the record. Who
 * registers the same metadata again gets the same client while it lives: hosted clients register at each attempt, for
 * many people from one address. That is safe, as every registered client is public and nobody gets a secret.
 */
export interface RegistrationServices {
  registrations: Registrations
  /** REDIRECT_URI_SCHEMES */
  redirectUriSchemes: readonly string[]
}

/**
 * @param limitNew counts a new registration (DCR_LIMIT_PER_ADDRESS, DCR_LIMIT_TOTAL). @throws LimitError
 * @throws OAuthError; StoreUnavailableError
 */
export async function register (
  body: RegisterBody, services: RegistrationServices, limitNew: () => Promise<void>
): Promise<RegisteredClient> {
  checkSoftwareStatement(body)
  for (const uri of body.redirect_uris) checkRegistrableRedirectUri(uri, services.redirectUriSchemes)
  for (const name of ['client_uri', 'logo_uri', 'tos_uri', 'policy_uri'] as const) checkWebPage(name, body[name])
  const metadata = readMetadata(body)
  const known = await services.registrations.findByMetadata(metadata)
  if (known !== undefined) return known
  await limitNew()
  return await services.registrations.register(metadata)
}

/** Statements are signed claims about a client (RFC 7591 section 2.3); Seed trusts no issuer of them, so it believes none. */
function checkSoftwareStatement ({ software_statement: statement }: RegisterBody): void {
  if (statement !== undefined) throw new OAuthError('invalid_software_statement', 'Software statements are not accepted')
}

/** Links that a person may be shown: never a script or a local file. Nothing behind them is fetched. */
function checkWebPage (name: string, value: string | undefined): void {
  if (value !== undefined && !/^https?:\/\/[^\s]+$/i.test(value)) {
    throw new OAuthError('invalid_client_metadata', `${name} must be an http(s) URL`)
  }
}

/** Settles what the client asked for and what it gets (RFC 7591 section 3.2.1 lets a server replace values). */
function readMetadata (body: RegisterBody): ClientMetadata {
  const grantTypes = body.grant_types ?? ['authorization_code', 'refresh_token']
  if (!grantTypes.includes('authorization_code')) throw new OAuthError('invalid_client_metadata', 'grant_types must include authorization_code')
  if (!(body.response_types ?? ['code']).includes('code')) throw new OAuthError('invalid_client_metadata', 'response_types must include code')
  const name = stripControlCharacters(body.client_name ?? '')
  return {
    redirect_uris: body.redirect_uris,
    ...(name !== '' && { client_name: name }),
    ...(body.client_uri !== undefined && { client_uri: body.client_uri }),
    grant_types: grantTypes.filter((type) => type === 'authorization_code' || type === 'refresh_token'),
    response_types: ['code'],
    token_endpoint_auth_method: 'none',
    application_type: readApplicationType(body),
    ...(body.scope !== undefined && { scope: body.scope })
  }
}

/** Clients that leave it out and redirect to this machine are native, whatever RFC 7591's default says. */
function readApplicationType ({ application_type: type, redirect_uris: uris }: RegisterBody): 'native' | 'web' {
  if (type === undefined) return uris.every((uri) => uri.startsWith('https:')) ? 'web' : 'native'
  if (type !== 'native' && type !== 'web') throw new OAuthError('invalid_client_metadata', 'application_type must be native or web')
  return type
}
