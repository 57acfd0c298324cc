import type { Adapter } from 'oidc-provider'
import type { JWK } from 'jose'
import type { Storage } from './adapter.ts'
import type { Fault } from './faults.ts'
import type { EnterpriseRule } from './enterprise-rule.ts'
import type { DevUser, Quirks } from './quirks.ts'

/** The state that all parts of the development provider share. */
export interface ProviderState {
  issuer: string
  clientId: string
  clientSecret: string
  /** `aud` of access tokens. */
  audience: string
  algorithm: 'RS256' | 'ES256'
  accessTokenTtlSeconds: number
  /** Undefined allows any redirect URI on loopback. */
  fixedRedirectUris: string[] | undefined
  /** Public keys of the client that authenticates with `private_key_jwt`. */
  clientPublicJwks: { keys: JWK[] } | undefined
  /** The policy by which ID-JAGs are issued. May change while the provider runs. */
  enterpriseRules: EnterpriseRule[]
  /** May change while the provider runs, like `quirks`. */
  users: DevUser[]
  quirks: Quirks
  /** By endpoint. */
  faults: Map<string, Fault>
  /** Private keys; the first one signs. */
  keys: JWK[]
  storage: Storage
  /** Access tokens that are JWTs, by `jti`, next to the opaque ones of `oidc-provider`. */
  accessTokens: Adapter
  /** Parameters of authorization requests, by the code that they led to. */
  authorizationRequests: Adapter
  /** `sid` of each user's last sign-in. */
  lastSids: Map<string, unknown>
}

/** Scopes that clients may request. */
export const SCOPES = ['openid', 'profile', 'email', 'groups', 'offline_access', 'mcp:read', 'mcp:write', 'mcp:admin']

/**
 * Levels of authentication (`acr`). The password stands for all of them: whoever asks for one with `acr_values` gets it
 * at the next sign-in, and a sign-in without `acr_values` has the first.
 */
export const LEVELS = ['urn:seed:dev:password', 'urn:seed:dev:second-factor']

/** All access tokens are for the first resource, or for the second if they have to be opaque. */
export const RESOURCE = 'urn:seed:dev'
export const OPAQUE_RESOURCE = 'urn:seed:dev:opaque'

export const LOOPBACK_HOSTS = ['127.0.0.1', 'localhost', '[::1]']

export function findUser ({ users }: ProviderState, login: string): DevUser | undefined {
  return users.find((user) => user.login === login)
}

/** The `iss` of tokens. */
export function tokenIssuer ({ issuer, quirks }: ProviderState): string {
  if (quirks.issuerTemplate !== undefined) return `${issuer}/${quirks.issuerTemplate}/v2.0`
  return quirks.trailingSlashIssuer ? `${issuer}/` : issuer
}

/** Claims of all users, whatever the scopes. JSON leaves out those that are undefined. */
export function standingClaims ({ quirks }: ProviderState): Record<string, unknown> {
  return { hd: quirks.hostedDomain, tid: quirks.issuerTemplate }
}
