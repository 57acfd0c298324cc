import { LimitError } from '../../errors/http-error.ts'
import { OAuthError } from '../../errors/oauth-error.ts'
import type { RegisterBody, RegisteredClient } from '../../schemas/register.ts'
import { stripControlCharacters } from '../clients/client-name.ts'
import type { ClientMetadata, Registrations } from '../clients/registrations.ts'
import { registrableRedirectUris } from '../protocol/redirect-uri.ts'

export interface RegistrationServices {
  registrations: Registrations
  /** REDIRECT_URI_SCHEMES */
  redirectUriSchemes: readonly string[]
}

export interface RegistrationLimits {
  /** Counts a new registration of an address (DCR_LIMIT_PER_ADDRESS). @throws LimitError */
  countAddress (): Promise<void>
  /** Counts a new record in the store (DCR_LIMIT_TOTAL). @throws LimitError */
  countRecord (): Promise<void>
}

/**
 * The client registration endpoint (RFC 7591 section 3).
 *
 * The same metadata gets the same client while that lives, because hosted clients register at every attempt, for many
 * people from one address, and native ones with another port each time. Sharing is safe: registered clients are public
 * and have no secret. Redirect URIs that are not acceptable are left out, as long as one remains.
 *
 * Strangers at many addresses can use up DCR_LIMIT_TOTAL. It limits records in the store and nothing else: beyond it a
 * client gets an id that contains its registration.
 *
 * @throws OAuthError, LimitError, StoreUnavailableError
 */
export async function register (
  body: RegisterBody,
  services: RegistrationServices,
  limits: RegistrationLimits
): Promise<RegisteredClient> {
  checkSoftwareStatement(body)
  for (const name of ['client_uri', 'logo_uri', 'tos_uri', 'policy_uri'] as const) checkWebPage(name, body[name])
  const redirectUris = registrableRedirectUris(body.redirect_uris, services.redirectUriSchemes)
  const metadata = readMetadata({ ...body, redirect_uris: redirectUris })
  const known = await services.registrations.findByMetadata(metadata)
  if (known !== undefined) return { ...known, redirect_uris: redirectUris }
  await limits.countAddress()
  try {
    await limits.countRecord()
  } catch (err) {
    const client = err instanceof LimitError ? await services.registrations.registerWithoutRecord(metadata) : undefined
    if (client === undefined) throw err
    return client
  }
  return await services.registrations.register(metadata)
}

/** Software statements are signed claims about a client (RFC 7591 section 2.3). Seed trusts no issuer of them. */
function checkSoftwareStatement ({ software_statement: statement }: RegisterBody): void {
  if (statement === undefined) return
  throw new OAuthError('invalid_software_statement', 'Software statements are not accepted')
}

/** Links for people must not be scripts or local files. Nothing behind them is fetched. */
function checkWebPage (name: string, value: string | undefined): void {
  if (value !== undefined && !/^https?:\/\/[^\s]+$/i.test(value)) {
    throw new OAuthError('invalid_client_metadata', `${name} must be an http(s) URL`)
  }
}

/** Returns the metadata to store. RFC 7591 section 3.2.1 lets a server replace requested values. */
function readMetadata (body: RegisterBody): ClientMetadata {
  const grantTypes = body.grant_types ?? ['authorization_code', 'refresh_token']
  checkIncludes('grant_types', grantTypes, 'authorization_code')
  checkIncludes('response_types', body.response_types ?? ['code'], 'code')
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

function checkIncludes (name: string, values: readonly string[], required: string): void {
  if (!values.includes(required)) throw new OAuthError('invalid_client_metadata', `${name} must include ${required}`)
}

/** Without application_type, a client with a redirect URI on this machine is native, whatever the default says. */
function readApplicationType ({ application_type: type, redirect_uris: uris }: RegisterBody): 'native' | 'web' {
  if (type === undefined) return uris.every((uri) => uri.startsWith('https:')) ? 'web' : 'native'
  if (type === 'native' || type === 'web') return type
  throw new OAuthError('invalid_client_metadata', 'application_type must be native or web')
}
