import { hash } from 'node:crypto'
import { Type } from 'typebox'
import type { Static } from 'typebox'
import { Compile } from 'typebox/compile'

/**
 * Clients configured ahead (OAUTH_CLIENTS or OAUTH_CLIENTS_FILE): a JSON array. They need no registration, and may
 * have a secret or a key.
 */
const ConfiguredClientSchema = Type.Object({
  client_id: Type.String({ minLength: 1, maxLength: 256, pattern: '^[\\x21-\\x7e]+$' }),
  client_name: Type.Optional(Type.String({ minLength: 1, maxLength: 200 })),
  redirect_uris: Type.Array(Type.String({ minLength: 1, maxLength: 2048 }), { minItems: 1, maxItems: 50 }),
  client_secret: Type.Optional(Type.String({ minLength: 16, maxLength: 512 })),
  token_endpoint_auth_method: Type.Optional(Type.Enum(['none', 'client_secret_basic', 'client_secret_post', 'private_key_jwt'])),
  jwks: Type.Optional(Type.Object({ keys: Type.Array(Type.Object({ kty: Type.String() }, { additionalProperties: true }), { minItems: 1 }) }))
}, { additionalProperties: false })

const ConfiguredClientsSchema = Type.Array(ConfiguredClientSchema)
const configuredClients = Compile(ConfiguredClientsSchema)

export interface ConfiguredClient {
  id: string
  name: string | undefined
  redirectUris: readonly string[]
  authMethod: 'none' | 'client_secret_basic' | 'client_secret_post' | 'private_key_jwt'
  /** SHA-256 of the secret, base64url; the secret itself is not kept. */
  secretHash: string | undefined
  jwks: { keys: Array<{ kty: string }> } | undefined
}

/** Reads OAUTH_CLIENTS; what is wrong is added to `problems`, without ever repeating a value. */
export function readConfiguredClients (text: string | undefined, problems: string[]): ConfiguredClient[] {
  if (text === undefined) return []
  const given = parse(text)
  if (!configuredClients.Check(given)) {
    const [first] = configuredClients.Errors(given)
    const why = given === undefined ? 'is no JSON' : first?.keyword === 'boolean' ? 'is not a member that clients have' : first?.message
    problems.push(`OAUTH_CLIENTS must be a JSON array of clients, each with client_id and redirect_uris: ${first?.instancePath || 'the whole'} ${why}`)
    return []
  }
  const ids = given.map(({ client_id: id }) => id)
  if (new Set(ids).size < ids.length) problems.push('OAUTH_CLIENTS names a client_id twice')
  return given.map((client) => toClient(client, problems))
}

function parse (text: string): unknown {
  try {
    return JSON.parse(text)
  } catch {
    return undefined
  }
}

function toClient (client: Static<typeof ConfiguredClientSchema>, problems: string[]): ConfiguredClient {
  const { client_id: id, client_secret: secret, jwks } = client
  const authMethod = client.token_endpoint_auth_method ?? (secret !== undefined ? 'client_secret_basic' : jwks !== undefined ? 'private_key_jwt' : 'none')
  if (id.startsWith('seed-') || id.includes('://')) problems.push(`OAUTH_CLIENTS: the client_id "${id}" is of a form that Seed gives to others (seed-…, or a URL); choose another`)
  if (authMethod.startsWith('client_secret') !== (secret !== undefined)) problems.push(`OAUTH_CLIENTS: client "${id}" with ${authMethod} ${secret === undefined ? 'needs a' : 'may have no'} client_secret`)
  if ((authMethod === 'private_key_jwt') !== (jwks !== undefined)) problems.push(`OAUTH_CLIENTS: client "${id}" with ${authMethod} ${jwks === undefined ? 'needs a' : 'may have no'} jwks`)
  return {
    id,
    name: client.client_name,
    redirectUris: client.redirect_uris,
    authMethod,
    secretHash: secret === undefined ? undefined : hash('sha256', secret, 'base64url'),
    jwks
  }
}
