import { isIPv6 } from 'node:net'
import type { RegisterBody, RegisteredClient } from '../schemas/register.ts'
import { keys } from '../store/keys.ts'
import type { Store } from '../store/store.ts'
import type { ClientMetadata, Clients } from './clients.ts'
import { OAuthError } from './errors.ts'
import { checkRegistrableRedirectUri } from './redirect-uri.ts'

/** Dynamic client registration (RFC 7591 section 3): the request's checks, one after another, then the record. */
export interface RegistrationServices {
  clients: Clients
  store: Store
  /** Registrations an hour. */
  limitPerAddress: number
  limitTotal: number
  /** REDIRECT_URI_SCHEMES */
  redirectUriSchemes: readonly string[]
}

const HOUR_SECONDS = 3_600

/**
 * @param address the caller's, as TRUST_PROXY lets it be known
 * @throws OAuthError; StoreUnavailableError
 */
export async function register (body: RegisterBody, address: string, services: RegistrationServices): Promise<RegisteredClient> {
  checkSoftwareStatement(body)
  for (const uri of body.redirect_uris) checkRegistrableRedirectUri(uri, services.redirectUriSchemes)
  for (const name of ['client_uri', 'logo_uri', 'tos_uri', 'policy_uri'] as const) checkWebPage(name, body[name])
  const metadata = readMetadata(body)
  await checkRegistrationLimits(address, services)
  return await services.clients.register(metadata)
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
  const name = printable(body.client_name ?? '')
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

/** A name is shown to people: no control, format or direction characters. */
function printable (name: string): string {
  return name.replace(/[\p{Cc}\p{Cf}\p{Zl}\p{Zp}]/gu, '').trim()
}

/** 10 an hour for one address, 1,000 for all by default; counted in the store, so for all replicas together. */
async function checkRegistrationLimits (address: string, { store, limitPerAddress, limitTotal }: RegistrationServices): Promise<void> {
  for (const [key, limit] of [
    [keys.registrationsOf(addressBucket(address)), limitPerAddress],
    [keys.registrations(), limitTotal]
  ] as const) {
    const { count, resetSeconds } = await store.increment(key, HOUR_SECONDS)
    if (count > limit) {
      throw new OAuthError('temporarily_unavailable', `Too many registrations; try again in ${resetSeconds} seconds`, {
        status: 429,
        retryAfterSeconds: resetSeconds,
        detail: `${count} registrations this hour, the limit is ${limit} (DCR_LIMIT_PER_ADDRESS, DCR_LIMIT_TOTAL, TRUST_PROXY)`
      })
    }
  }
}

/**
 * One household or host holds a whole /64 of IPv6, so that is what is counted. Some proxies put the caller's port
 * behind the address in X-Forwarded-For; it changes with each connection and does not count.
 */
export function addressBucket (given: string): string {
  const address = given.replace(/^(\d+\.\d+\.\d+\.\d+):\d+$/, '$1').replace(/^\[(.*)\](:\d+)?$/, '$1')
  const mapped = /^::ffff:(\d+\.\d+\.\d+\.\d+)$/i.exec(address)
  if (mapped !== null) return mapped[1]!
  if (!isIPv6(address)) return address
  const [head = '', tail] = address.split('%')[0]!.split('::')
  const left = head === '' ? [] : head.split(':')
  const right = tail === undefined || tail === '' ? [] : tail.split(':')
  const groups = tail === undefined ? left : [...left, ...Array<string>(Math.max(0, 8 - left.length - right.length)).fill('0'), ...right]
  return `${groups.slice(0, 4).map((group) => parseInt(group, 16).toString(16)).join(':')}::/64`
}
