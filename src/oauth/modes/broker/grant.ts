import { Type } from 'typebox'
import type { Static } from 'typebox'
import type { UpstreamTokens } from '../../../provider/token-response.ts'
import { defineRecord } from '../../../store/record.ts'
import { ClientAuthMethodSchema, ClientKindSchema } from '../../clients/clients.ts'
import type { Client } from '../../clients/clients.ts'

/**
 * The person's authentication (Authentication in src/tokens). JSON leaves out members that are undefined. Grants of
 * earlier releases have none, as if the provider had said nothing.
 */
const AuthenticationSchema = Type.Object({
  authenticatedAt: Type.Optional(Type.Union([Type.Integer(), Type.Undefined()])),
  acr: Type.Optional(Type.Union([Type.String(), Type.Undefined()])),
  amr: Type.Optional(Type.Union([Type.ReadonlyObject(Type.Array(Type.String())), Type.Undefined()]))
})

export const GrantSchema = Type.Object({
  id: Type.String(),
  clientId: Type.String(),
  /** The client as it was at the sign-in: a grant is never used by a client that proves less (see isSameClient). */
  clientKind: ClientKindSchema,
  clientAuthMethod: ClientAuthMethodSchema,
  /** The name that the person saw on the consent page. Grants of earlier versions do not have it. */
  clientName: Type.Optional(Type.Union([Type.String(), Type.Undefined()])),
  /** `sub` at the provider. */
  subject: Type.String(),
  /** The name of its MCP endpoint (SEED_ENDPOINTS). Grants for `/mcp`, and of earlier versions, have none. */
  endpoint: Type.Optional(Type.Union([Type.String(), Type.Undefined()])),
  /** Space-separated. */
  scope: Type.String(),
  /** The provider's claims about the person, for access rules and access tokens. */
  claims: Type.Record(Type.String(), Type.Unknown()),
  /** Names of those that userinfo returned. Grants of earlier versions do not have them. */
  userinfoClaims: Type.Optional(Type.Array(Type.String())),
  /** The person's authentication at the sign-in; refreshing does not change it. */
  authentication: Type.Optional(Type.Union([AuthenticationSchema, Type.Undefined()])),
  /** The session at the provider, for back-channel logout. */
  sid: Type.Optional(Type.Union([Type.String(), Type.Undefined()])),
  /** Leads to the steps of the sign-in (src/trace). Grants of earlier versions have none. */
  reference: Type.Optional(Type.Union([Type.String(), Type.Undefined()])),
  /** Whether the client gets refresh tokens. */
  refreshes: Type.Boolean(),
  /** Seconds since the epoch. */
  createdAt: Type.Integer(),
  /** Seconds since the epoch; refreshing does not move it. */
  expiresAt: Type.Integer(),
  /** The provider's tokens (StoredTokens), sealed. */
  upstream: Type.String(),
  /** Makes the MACs of its refresh tokens unpredictable to holders of SEED_SECRET alone. */
  salt: Type.String(),
  /** Number of the current refresh token; each rotation adds one. */
  number: Type.Integer(),
  /** Id of the key that made the current refresh token. */
  keyId: Type.String(),
  /** SHA-256 of the current refresh token. */
  currentHash: Type.String(),
  /** Milliseconds since the epoch: when the current refresh token replaced the one before. */
  rotatedAt: Type.Integer()
})

/**
 * A person's permission for a client to act on their behalf, from the sign-in until it is revoked or expires. Access
 * tokens and refresh tokens are issued from it. It also holds the provider's own tokens, sealed.
 */
export type Grant = Static<typeof GrantSchema>

export const grantRecord = defineRecord('grant', GrantSchema)

/** The properties of a client that its grants are bound to. */
export type GrantClient = Pick<Client, 'id' | 'kind' | 'authMethod'>

/**
 * Returns whether a client is the one that a grant was made for. A client that was removed from OAUTH_CLIENTS must not
 * go on as a public one, nor one with a key use its grants without it.
 */
export function isSameClient (
  { clientId, clientKind, clientAuthMethod }: Pick<Grant, 'clientId' | 'clientKind' | 'clientAuthMethod'>,
  { id, kind, authMethod }: GrantClient
): boolean {
  return clientId === id && clientKind === kind && clientAuthMethod === authMethod
}

/** A grant as it was read. `record` is its text in the store, for a compare-and-set. */
export interface StoredGrant {
  grant: Grant
  record: string
}

/** The provider's tokens of a grant: never sent to a client, never logged. */
export interface StoredTokens {
  accessToken: string
  refreshToken: string | undefined
  /** Expiry of the access token, in seconds since the epoch; undefined if the provider did not say. */
  accessExpiresAt?: number | undefined
}

/** @param now wall clock in milliseconds */
export function toStoredTokens (tokens: UpstreamTokens, now: number): StoredTokens {
  const { accessToken, refreshToken, expiresInSeconds } = tokens
  const accessExpiresAt = expiresInSeconds === undefined ? undefined : Math.floor(now / 1_000) + expiresInSeconds
  return { accessToken, refreshToken, accessExpiresAt }
}
