import { Type } from 'typebox'
import { Compile } from 'typebox/compile'
import { timingSafeEquals } from '../../crypto/hash.ts'
import type { Keyring } from '../../crypto/keyring.ts'
import { parseJson } from '../../json/parse-json.ts'
import { RegisterResponseSchema } from '../../schemas/register.ts'
import type { RegisteredClient } from '../../schemas/register.ts'

/** Prefix of the client ids that Seed issues. No other kind of client may use it. */
export const REGISTERED_PREFIX = 'seed-'

/** Clients send their id in URLs. Those that exist register with 300 to 800 characters. */
const MAX_LENGTH = 1_024

/** Characters of the MAC: 128 bits. */
const MAC_LENGTH = 22

const FORM = /^seed-([\w-]+)\.([\w-]+)\.([\w-]{22})$/

type Registration = Omit<RegisteredClient, 'client_id'>

const registration = Compile(Type.Omit(RegisterResponseSchema, ['client_id']))

/**
 * Makes a client id that contains its own registration, which then needs no record in the store:
 * `seed-<key id>.<metadata>.<MAC>`. The metadata is no secret; the MAC shows that it was validated here.
 *
 * @returns undefined if the id would be too long
 */
export function makeSelfContainedId (keyring: Keyring, client: Registration): string | undefined {
  const { id: keyId } = keyring.generations[0]!
  const content = Buffer.from(JSON.stringify(client)).toString('base64url')
  const clientId = `${REGISTERED_PREFIX}${keyId}.${content}.${macOf(keyring, keyId, content)}`
  return clientId.length > MAX_LENGTH ? undefined : clientId
}

/** Returns true for an id of this form, whether it was issued here or not. */
export function isSelfContainedId (clientId: string): boolean {
  return FORM.test(clientId)
}

/** Returns the registration in a client id of this form; undefined for one that was not issued here. */
export function readSelfContainedId (keyring: Keyring, clientId: string): RegisteredClient | undefined {
  const [keyId, content, mac] = clientId.slice(REGISTERED_PREFIX.length).split('.') as [string, string, string]
  const expected = macOf(keyring, keyId, content)
  if (expected === undefined || !timingSafeEquals(mac, expected)) return undefined
  const client = parseJson(registration, Buffer.from(content, 'base64url').toString())
  return client === undefined ? undefined : { ...client, client_id: clientId }
}

function macOf (keyring: Keyring, keyId: string, content: string): string | undefined {
  return keyring.mac(keyId, `client-id:${content}`)?.slice(0, MAC_LENGTH)
}
