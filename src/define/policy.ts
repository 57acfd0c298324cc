import type { PrincipalKind } from '../tokens/principal.ts'

/**
 * Says who may use a tool, prompt or resource. All rules that are set must match. The same policy decides what is
 * listed and what may be called: to a caller who may not use something, it does not exist.
 *
 * Scopes differ in one point. A caller who lacks nothing but scopes sees the definition in lists; a call is answered
 * with HTTP 403 `insufficient_scope`, so that the client can ask for the missing scopes (step-up authorization).
 *
 * A definition with a policy needs a signed-in caller. With `AUTH_REQUIRED=false` it is not offered.
 */
export interface Policy {
  /** Scopes of the access token. It must have all of them, or ones that include them (`SCOPE_HIERARCHY`). */
  scopes?: readonly string[]
  /** Groups of the caller (`OIDC_GROUPS_CLAIM`). The caller must be in at least one of them. */
  groups?: readonly string[]
  /**
   * Claims of the access token, by name or path (`realm_access.roles`). Each must equal the value, or one of the
   * values; a claim that is a list must contain one.
   */
  claims?: Readonly<Record<string, ClaimValue | readonly ClaimValue[]>>
  /** `person`: not for services, such as one that approves something. `service`: not for people. Both without. */
  principalKind?: PrincipalKind
}

export type ClaimValue = string | number | boolean
