import { hash } from 'node:crypto'
import { isLoopbackHost } from '../net/addresses.ts'
import { Type } from 'typebox'
import type { Static } from 'typebox'
import { Compile } from 'typebox/compile'

const JWT_BEARER = 'urn:ietf:params:oauth:grant-type:jwt-bearer'

const SecretSchema = Type.String({ minLength: 16, maxLength: 512 })

/**
 * A pre-configured client (OAUTH_CLIENTS), in the members of RFC 7591 section 2: it need not register, and may have a
 * secret or keys. With the grant type client_credentials it is a service, and `groups` and `claims` are its own.
 */
const ConfiguredClientSchema = Type.Object({
  client_id: Type.String({ minLength: 1, maxLength: 256, pattern: '^[\\x21-\\x7e]+$' }),
  client_name: Type.Optional(Type.String({ minLength: 1, maxLength: 200 })),
  redirect_uris: Type.Optional(
    Type.Array(Type.String({ minLength: 1, maxLength: 2048 }), { minItems: 1, maxItems: 50 })
  ),
  grant_types: Type.Optional(Type.Array(Type.Enum([
    'authorization_code', 'refresh_token', 'client_credentials', JWT_BEARER
  ]), { minItems: 1 })),
  /** During a change of the secret both are accepted. */
  client_secret: Type.Optional(
    Type.Union([SecretSchema, Type.Array(SecretSchema, { minItems: 1, maxItems: 2 })])
  ),
  token_endpoint_auth_method: Type.Optional(
    Type.Enum(['none', 'client_secret_basic', 'client_secret_post', 'private_key_jwt'])
  ),
  jwks: Type.Optional(Type.Object({
    keys: Type.Array(Type.Object({ kty: Type.String() }, { additionalProperties: true }), { minItems: 1 })
  })),
  jwks_uri: Type.Optional(Type.String({ maxLength: 2048 })),
  scope: Type.Optional(Type.String({ maxLength: 4096, pattern: '^[\\x21\\x23-\\x5b\\x5d-\\x7e ]*$' })),
  groups: Type.Optional(Type.Array(Type.String({ minLength: 1, maxLength: 256 }), { maxItems: 100 })),
  claims: Type.Optional(Type.Object({}, { additionalProperties: true }))
}, { additionalProperties: false })

type Client = Static<typeof ConfiguredClientSchema>
const configuredClients = Compile(Type.Array(ConfiguredClientSchema))

export interface ConfiguredClient {
  id: string
  name: string | undefined
  redirectUris: readonly string[]
  authMethod: 'none' | 'client_secret_basic' | 'client_secret_post' | 'private_key_jwt'
  grantTypes: readonly string[]
  /** The SHA-256 of each accepted secret, base64url. The secrets themselves are not kept. */
  secretHashes: readonly string[]
  jwks: { keys: Array<{ kty: string }> } | undefined
  /** The URL of its keys, if they are not in `jwks`. */
  jwksUri: string | undefined
  /** Set if the client is a service: it may use client_credentials. */
  service: ServiceRights | undefined
}

/** The rights of a service, as the operator wrote them. */
export interface ServiceRights {
  scopes: readonly string[]
  /** The claims of its access tokens, its groups among them. */
  claims: Readonly<Record<string, unknown>>
}

/** Returns the clients of a valid OAUTH_CLIENTS. */
export function readConfiguredClients (text: string | undefined): ConfiguredClient[] {
  const clients = parseClients(text)
  return clients === undefined ? [] : clients.map(toClient)
}

/**
 * Returns the problems of OAUTH_CLIENTS, none of which repeats a secret.
 * @param mode OAUTH_MODE
 */
export function checkConfiguredClients (text: string | undefined, mode: 'proxy' | 'broker'): string[] {
  if (text === undefined) return []
  const clients = parseClients(text)
  if (clients === undefined) {
    return [`must be a JSON array of clients, each with client_id: ${firstError(text)}`]
  }
  const ids = clients.map(({ client_id: id }) => id)
  const twice = new Set(ids).size < ids.length ? ['lists a client_id twice'] : []
  return [...twice, ...clients.flatMap((client) => [
    ...checkId(client), ...checkCredentials(client), ...checkGrantTypes(client, mode), ...checkRights(client)
  ])]
}

function parseClients (text: string | undefined): Client[] | undefined {
  const given = parseJson(text ?? '')
  return configuredClients.Check(given) ? given : undefined
}

function parseJson (text: string): unknown {
  try {
    return JSON.parse(text)
  } catch {
    return undefined
  }
}

function firstError (text: string): string {
  const given = parseJson(text)
  if (given === undefined) return 'the value is not JSON'
  const { instancePath, keyword, message } = configuredClients.Errors(given)[0]!
  const place = instancePath === '' ? 'the value' : instancePath
  return `${place} ${keyword === 'boolean' ? 'is not a known member' : message}`
}

function checkId ({ client_id: id }: Client): string[] {
  if (!id.startsWith('seed-') && !id.includes('://')) return []
  return [`must not use the client_id "${id}": ids of that form are for other clients`]
}

/** Members of private and of symmetric keys (RFC 7518 sections 6.2.2, 6.3.2 and 6.4). */
const PRIVATE_MEMBERS = ['d', 'p', 'q', 'dp', 'dq', 'qi', 'oth', 'k']

function checkCredentials (client: Client): string[] {
  const { client_id: id, client_secret: secret, jwks, jwks_uri: jwksUri } = client
  const hasKeys = jwks !== undefined || jwksUri !== undefined
  const authMethod = authMethodOf(client)
  const method = `has a client "${id}" whose method ${authMethod}`
  const problems: string[] = []
  if (authMethod.startsWith('client_secret') !== (secret !== undefined)) {
    problems.push(`${method} ${secret === undefined ? 'needs a' : 'allows no'} client_secret`)
  }
  if ((authMethod === 'private_key_jwt') !== hasKeys) {
    problems.push(`${method} ${hasKeys ? 'allows no jwks or jwks_uri' : 'needs jwks or jwks_uri'}`)
  }
  if (jwks !== undefined && jwksUri !== undefined) {
    problems.push(`has a client "${id}" with jwks and jwks_uri: it may have one of them`)
  }
  if (jwksUri !== undefined && !isSafeUrl(jwksUri)) {
    problems.push(`has a client "${id}" whose jwks_uri must be an https URL without user, password and fragment ` +
      '(http on this machine only)')
  }
  if (jwks?.keys.some((key) => PRIVATE_MEMBERS.some((member) => Object.hasOwn(key, member)))) {
    problems.push(`has a client "${id}" whose jwks has a private key: the client alone may know that one`)
  }
  return problems
}

function isSafeUrl (text: string): boolean {
  if (!URL.canParse(text)) return false
  const { protocol, hostname, username, password, hash: fragment } = new URL(text)
  if (username !== '' || password !== '' || fragment !== '') return false
  return protocol === 'https:' || (protocol === 'http:' && isLoopbackHost(hostname))
}

function checkGrantTypes (client: Client, mode: 'proxy' | 'broker'): string[] {
  const { client_id: id, redirect_uris: redirectUris } = client
  const grantTypes = grantTypesOf(client)
  const needsRedirectUris = grantTypes.includes('authorization_code')
  const problems: string[] = []
  if (needsRedirectUris !== (redirectUris !== undefined)) {
    problems.push(`has a client "${id}" whose grant_types ${needsRedirectUris ? 'need' : 'allow no'} redirect_uris`)
  }
  if (grantTypes.includes('refresh_token') && !needsRedirectUris) {
    problems.push(`has a client "${id}" whose grant_types have refresh_token without authorization_code`)
  }
  if (mode === 'proxy' && grantTypes.includes(JWT_BEARER)) {
    problems.push(`has a client "${id}" whose grant_types have ${JWT_BEARER}, which needs OAUTH_MODE=broker: ` +
      'with OAUTH_MODE=proxy it gets its access tokens from the provider (docs/proxy-mode.md)')
  }
  if (!grantTypes.includes('client_credentials')) return problems
  if (authMethodOf(client) === 'none') {
    problems.push(`has a client "${id}" whose grant_types have client_credentials: ` +
      'it needs client_secret, jwks or jwks_uri')
  }
  if (mode === 'proxy') {
    problems.push(`has a client "${id}" whose grant_types have client_credentials, which needs OAUTH_MODE=broker: ` +
      'with OAUTH_MODE=proxy let the service get its token from the provider (docs/proxy-mode.md)')
  }
  return problems
}

/** Claims that Seed writes itself, or that would make a token another kind of token (src/tokens/claims.ts). */
const RESERVED_CLAIMS = [
  'iss', 'sub', 'aud', 'exp', 'nbf', 'iat', 'jti', 'client_id', 'scope', 'scp', 'grant', 'groups', 'azp', 'cnf', 'act',
  'typ', 'token_use', 'events', 'nonce', 'at_hash', 'c_hash'
]

function checkRights (client: Client): string[] {
  const { client_id: id, scope, groups, claims = {} } = client
  const names = Object.keys(claims)
  const reserved = names.filter((name) => RESERVED_CLAIMS.includes(name) || name.startsWith('seed_'))
  const isService = grantTypesOf(client).includes('client_credentials')
  const hasRights = scope !== undefined || groups !== undefined || names.length > 0
  return [
    ...(reserved.length > 0 ? [`has a client "${id}" whose claims may not be ${reserved.join(', ')}`] : []),
    ...(hasRights && !isService
      ? [`has a client "${id}" with scope, groups or claims, which only client_credentials in grant_types allows`]
      : [])
  ]
}

function authMethodOf (client: Client): ConfiguredClient['authMethod'] {
  if (client.token_endpoint_auth_method !== undefined) return client.token_endpoint_auth_method
  if (client.client_secret !== undefined) return 'client_secret_basic'
  return client.jwks !== undefined || client.jwks_uri !== undefined ? 'private_key_jwt' : 'none'
}

function grantTypesOf ({ grant_types: grantTypes = ['authorization_code', 'refresh_token'] }: Client): string[] {
  return grantTypes
}

function toClient (client: Client): ConfiguredClient {
  const { client_id: id, client_secret: secret = [], groups = [], claims, scope = '' } = client
  const grantTypes = grantTypesOf(client)
  return {
    id,
    name: client.client_name,
    redirectUris: client.redirect_uris ?? [],
    authMethod: authMethodOf(client),
    grantTypes,
    secretHashes: [secret].flat().map((one) => hash('sha256', one, 'base64url')),
    jwks: client.jwks,
    jwksUri: client.jwks_uri,
    service: grantTypes.includes('client_credentials')
      ? { scopes: scope.split(' ').filter((name) => name !== ''), claims: { ...claims, groups } }
      : undefined
  }
}
