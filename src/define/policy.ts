import type { AuthenticationRequirement } from '../tokens/authentication.ts'
import type { PrincipalKind } from '../tokens/principal.ts'

/**
 * Says who may use a tool, prompt or resource. All rules that are set must match. The same policy decides what is
 * listed and what may be called: to a caller who may not use something, it does not exist.
 *
 * Scopes, `maxAge` and `acr` differ in one point: another token of the same person may satisfy them. A caller who lacks
 * nothing else sees the definition in lists. A call is answered with HTTP 403 `insufficient_scope`, so that the client
 * can ask for the missing scopes (step-up authorization), or with HTTP 401 `insufficient_user_authentication`
 * (RFC 9470), so that the client sends the person to sign in again.
 *
 * A definition with a policy needs a signed-in caller. With `AUTH_REQUIRED=false` it is not offered.
 */
export interface Policy extends AuthenticationRequirement {
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
  /**
   * Seconds that may have passed since the person signed in at the provider, 60 or more. A refresh of tokens is no
   * sign-in. Not for services, which do not sign in.
   */
  maxAge?: number | undefined
  /**
   * Accepted levels of the person's authentication: values of `acr` that the provider gives, without spaces. One of
   * them is enough. List every level that is strong enough: their order is the provider's to know. Not for services.
   */
  acr?: readonly string[] | undefined
}

export type ClaimValue = string | number | boolean

/** Has every rule, which the compiler checks. */
const RULES: Readonly<Record<keyof Policy, true>> = {
  principalKind: true, scopes: true, groups: true, claims: true, maxAge: true, acr: true
}

/** The names of all rules that a policy may have. */
export const POLICY_RULES = Object.keys(RULES) as ReadonlyArray<keyof Policy>

/** Returns the rules of a definition or of a part of a settings file, without its other members. */
export function policyOf (source: object): Policy {
  const members = source as Policy
  return Object.fromEntries(POLICY_RULES
    .map((rule) => [rule, members[rule]])
    .filter(([, value]) => value !== undefined))
}
