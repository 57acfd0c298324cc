import { hash } from 'node:crypto'
import { JWT_BEARER } from '../oauth/protocol/grant-types.ts'
import { Type } from 'typebox'
import type { Static } from 'typebox'
import { Compile } from 'typebox/compile'
import { firstJsonError, readJsonSetting } from './json-setting.ts'
import { JwksSchema, hasPrivateKey, isSafeUrl } from './public-keys.ts'
import {
  SERVICE_MEMBERS, ServiceNameSchema, isIdOfOtherClients, reservedClaims, toServiceRights
} from './service-rights.ts'
import type { ServiceRights } from './service-rights.ts'

const SecretSchema = Type.String({ minLength: 16, maxLength: 512 })

/**
 * A pre-configured client (OAUTH_CLIENTS), in the members of RFC 7591 section 2: it need not register, and may have a
 * secret or keys. With the grant type client_credentials it is a service, and `groups` and `claims` are its own.
 */
const ConfiguredClientSchema = Type.Object({
  client_id: ServiceNameSchema,
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
  jwks: Type.Optional(JwksSchema),
  jwks_uri: Type.Optional(Type.String({ maxLength: 2048 })),
  ...SERVICE_MEMBERS
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

/** Returns the clients of a valid OAUTH_CLIENTS. */
export function readConfiguredClients (text: string | undefined): ConfiguredClient[] {
  const clients = readJsonSetting(configuredClients, text)
  return clients === undefined ? [] : clients.map(toClient)
}

/**
 * Returns the problems of OAUTH_CLIENTS, none of which repeats a secret.
 * @param mode OAUTH_MODE
 */
export function checkConfiguredClients (text: string | undefined, mode: 'proxy' | 'broker'): string[] {
  if (text === undefined) return []
  const clients = readJsonSetting(configuredClients, text)
  if (clients === undefined) {
    return [`must be a JSON array of clients, each with client_id: ${firstJsonError(configuredClients, text)}`]
  }
  const ids = clients.map(({ client_id: id }) => id)
  const twice = new Set(ids).size < ids.length ? ['lists a client_id twice'] : []
  return [...twice, ...clients.flatMap((client) => [
    ...checkId(client), ...checkCredentials(client), ...checkGrantTypes(client, mode), ...checkRights(client)
  ])]
}

function checkId ({ client_id: id }: Client): string[] {
  if (!isIdOfOtherClients(id)) return []
  return [`must not use the client_id "${id}": ids of that form are for other clients`]
}

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
  if (jwks !== undefined && hasPrivateKey(jwks.keys)) {
    problems.push(`has a client "${id}" whose jwks has a private key: the client alone may know that one`)
  }
  return problems
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

function checkRights (client: Client): string[] {
  const { client_id: id, scope, groups, claims = {} } = client
  const names = Object.keys(claims)
  const reserved = reservedClaims(claims)
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
  const { client_id: id, client_secret: secret = [] } = client
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
    service: grantTypes.includes('client_credentials') ? toServiceRights(client) : undefined
  }
}
