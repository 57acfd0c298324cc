import { hash } from 'node:crypto'
import { Type } from 'typebox'
import type { Static } from 'typebox'
import { Compile } from 'typebox/compile'

/** A pre-configured client (OAUTH_CLIENTS): it need not register, and may have a secret or a key. */
const ConfiguredClientSchema = Type.Object({
  client_id: Type.String({ minLength: 1, maxLength: 256, pattern: '^[\\x21-\\x7e]+$' }),
  client_name: Type.Optional(Type.String({ minLength: 1, maxLength: 200 })),
  redirect_uris: Type.Array(Type.String({ minLength: 1, maxLength: 2048 }), { minItems: 1, maxItems: 50 }),
  client_secret: Type.Optional(Type.String({ minLength: 16, maxLength: 512 })),
  token_endpoint_auth_method: Type.Optional(
    Type.Enum(['none', 'client_secret_basic', 'client_secret_post', 'private_key_jwt'])
  ),
  jwks: Type.Optional(Type.Object({
    keys: Type.Array(Type.Object({ kty: Type.String() }, { additionalProperties: true }), { minItems: 1 })
  }))
}, { additionalProperties: false })

type Client = Static<typeof ConfiguredClientSchema>
const configuredClients = Compile(Type.Array(ConfiguredClientSchema))

export interface ConfiguredClient {
  id: string
  name: string | undefined
  redirectUris: readonly string[]
  authMethod: 'none' | 'client_secret_basic' | 'client_secret_post' | 'private_key_jwt'
  /** The SHA-256 of the secret, base64url. The secret itself is not kept. */
  secretHash: string | undefined
  jwks: { keys: Array<{ kty: string }> } | undefined
}

/** Returns the clients of a valid OAUTH_CLIENTS. */
export function readConfiguredClients (text: string | undefined): ConfiguredClient[] {
  const clients = parseClients(text)
  return clients === undefined ? [] : clients.map(toClient)
}

/** Returns the problems of OAUTH_CLIENTS, none of which repeats a secret. */
export function checkConfiguredClients (text: string | undefined): string[] {
  if (text === undefined) return []
  const clients = parseClients(text)
  if (clients === undefined) {
    return [`must be a JSON array of clients, each with client_id and redirect_uris: ${firstError(text)}`]
  }
  const ids = clients.map(({ client_id: id }) => id)
  const twice = new Set(ids).size < ids.length ? ['lists a client_id twice'] : []
  return [...twice, ...clients.flatMap(checkClient)]
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

function checkClient (client: Client): string[] {
  const { client_id: id, client_secret: secret, jwks } = client
  const authMethod = authMethodOf(client)
  const method = `has a client "${id}" whose method ${authMethod}`
  const problems: string[] = []
  if (id.startsWith('seed-') || id.includes('://')) {
    problems.push(`must not use the client_id "${id}": ids of that form are for other clients`)
  }
  if (authMethod.startsWith('client_secret') !== (secret !== undefined)) {
    problems.push(`${method} ${secret === undefined ? 'needs a' : 'allows no'} client_secret`)
  }
  if ((authMethod === 'private_key_jwt') !== (jwks !== undefined)) {
    problems.push(`${method} ${jwks === undefined ? 'needs' : 'allows no'} jwks`)
  }
  return problems
}

function authMethodOf (client: Client): ConfiguredClient['authMethod'] {
  if (client.token_endpoint_auth_method !== undefined) return client.token_endpoint_auth_method
  if (client.client_secret !== undefined) return 'client_secret_basic'
  return client.jwks !== undefined ? 'private_key_jwt' : 'none'
}

function toClient (client: Client): ConfiguredClient {
  const { client_id: id, client_secret: secret } = client
  return {
    id,
    name: client.client_name,
    redirectUris: client.redirect_uris,
    authMethod: authMethodOf(client),
    secretHash: secret === undefined ? undefined : hash('sha256', secret, 'base64url'),
    jwks: client.jwks
  }
}
